package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/jose"
)

// Claims names the claims of an issuer that mean something here. A name may be one of several levels with dots between them, such
// as realm_access.roles. What is empty means nothing, whatever a token says, but for User.
type Claims struct {
	// User is the claim that has the user; sub by default.
	User string
	// Client is the claim that has the client id. Without it, one is derived.
	Client string
	// Session is the claim that has the session.
	Session string
	// Groups is the claim that has a list of groups, or one group.
	Groups string
	// Grants is the claim that has a list of grants, in the form of our own tokens.
	Grants string
}

// maxGroups is how many groups a token may have. Microsoft's has up to 200.
const maxGroups = 256

// Check returns an error that names the first setting that cannot be meant.
func (c Claims) Check() error {
	for _, s := range []struct {
		setting, claim string
		many           bool
	}{{"user", c.User, false}, {"client", c.Client, false}, {"session", c.Session, false}, {"groups", c.Groups, true}, {"grants", c.Grants, true}} {
		if err := checkName(s.claim); err != nil {
			return fmt.Errorf("claims.%s: %q %w", s.setting, s.claim, err)
		}
		if !s.many && slices.Contains(shared, s.claim) {
			return fmt.Errorf("claims.%s: %s is the same for everybody", s.setting, s.claim)
		}
	}
	return nil
}

// shared are claims that name the issuer or an application, and no person or device.
var shared = []string{"iss", "aud", "azp", "client_id", "appid"}

func checkName(name string) error {
	switch {
	case name == "":
		return nil
	case len(name) > 255:
		return errors.New("is longer than 255 bytes")
	case strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("has spaces at an end, or control characters")
	case name == "exp" || name == "nbf" || name == "iat":
		return errors.New("is a time")
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, ".."):
		return errors.New("has an empty part between dots")
	}
	return nil
}

// ClaimError is a claim that is refused.
type ClaimError struct {
	// Claim is its name, as in the settings.
	Claim string
	// Value is what it has, and Want what it should have.
	Value any
	Want  string
}

// Error says which claim it is, what it has and what it should have.
func (e *ClaimError) Error() string {
	return fmt.Sprintf("claim %s is %v, want %s", e.Claim, e.Value, e.Want)
}

// Subject is what the claims of a token say about whom it stands for. Names are raw.
type Subject struct {
	Client, User, Session, TokenID string
	// Derived says that the client id was made here.
	Derived bool
	Groups  []string
	// Grants is the mapped claim as it stands; nil for none.
	Grants any
}

// Subject reads who a verified token stands for. Every name begins with the issuer's prefix. The text is the token itself.
func (i *Issuer) Subject(o jose.Object, text string) (*Subject, error) {
	r := reader{claims: o}
	s := &Subject{User: r.name(i.userClaim()), Client: r.name(i.Claims.Client), Session: r.name(i.Claims.Session)}
	s.Groups = r.names(i.Claims.Groups)
	if i.Claims.Grants != "" {
		s.Grants = r.value(i.Claims.Grants)
	}
	if s.User == "" && i.Claims.User != "" {
		r.fail(i.Claims.User, nil, "the user; it is missing")
	}
	if i.userClaim() == "email" && !verified(o["email_verified"]) {
		r.fail("email_verified", o["email_verified"], "true, as email is the user")
	}
	jti, _ := o.Text("jti")
	if s.TokenID = i.UserPrefix + jti; jti == "" || bus.CheckName("jti", s.TokenID) != nil {
		s.TokenID = bus.TokenDigest(text)[:32]
	}
	if s.Client == "" {
		s.Derived, s.Client = true, i.derive(s)
	}
	i.prefix(s)
	return s, r.err
}

func (i *Issuer) userClaim() string {
	if i.Claims.User == "" {
		return "sub"
	}
	return i.Claims.User
}

// verified says whether an address that is a user is one that the issuer has not called into question.
func verified(claim any) bool { return claim == nil || claim == true || claim == "true" }

// derive makes the client id of a token that names none: that of its user's session, or of the token alone. Two users never have the
// same one.
func (i *Issuer) derive(s *Subject) string {
	device := "token\n" + s.TokenID
	if s.Session != "" {
		device = "session\n" + s.Session
	}
	text, _ := json.Marshal([]string{i.Issuer, s.User, device}) // strings are always encoded
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// prefix begins every name with the issuer's prefix.
func (i *Issuer) prefix(s *Subject) {
	for _, name := range []*string{&s.Client, &s.User, &s.Session} {
		if *name != "" {
			*name = i.UserPrefix + *name
		}
	}
	for n := range s.Groups {
		s.Groups[n] = i.UserPrefix + s.Groups[n]
	}
}

// reader reads mapped claims and keeps the first error.
type reader struct {
	claims jose.Object
	err    error
}

func (r *reader) fail(claim string, value any, want string) {
	if r.err == nil {
		r.err = &ClaimError{Claim: claim, Value: value, Want: want}
	}
}

func (r *reader) value(claim string) any {
	value, _, err := r.claims.Lookup(claim)
	if err != nil {
		r.fail(claim, "", "a name that is read in one way: "+err.Error())
	}
	return value
}

// name returns the text of a claim, or a whole number as text; empty when it is missing.
func (r *reader) name(claim string) string {
	if claim == "" {
		return ""
	}
	value := r.value(claim)
	if value == nil {
		return ""
	}
	text, ok := nameOf(value)
	if !ok || claim == "sub" && value != any(text) {
		r.fail(claim, value, "a text that is not empty")
	}
	return text
}

// names returns the texts of a claim that is a list of them, or one of them.
func (r *reader) names(claim string) []string {
	if claim == "" {
		return nil
	}
	value := r.value(claim)
	list, ok := value.([]any)
	if !ok {
		if value == nil {
			return nil
		}
		list = []any{value}
	}
	if len(list) > maxGroups {
		r.fail(claim, len(list), fmt.Sprintf("at most %d entries", maxGroups))
		return nil
	}
	names := make([]string, 0, len(list))
	for _, v := range list {
		text, ok := nameOf(v)
		if !ok {
			r.fail(claim, v, "a list of texts")
			return nil
		}
		names = append(names, text)
	}
	return names
}

// nameOf returns the text of a value, or a whole number as it is written.
func nameOf(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, v != ""
	case json.Number:
		return v.String(), !strings.ContainsAny(v.String(), ".eE") && v.String() != "-0"
	}
	return "", false
}
