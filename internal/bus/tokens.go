package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tokens keeps opaque tokens, those of older systems. Ids are digests made by the caller; a token itself never
// reaches the store.
type Tokens interface {
	// SaveToken keeps a value for ttl. Returns ErrTokenExists when the id is there.
	SaveToken(ctx context.Context, id string, value []byte, ttl time.Duration) error
	// Token returns the value, or ErrTokenNotFound.
	Token(ctx context.Context, id string) ([]byte, error)
	// DropToken forgets a token; one that is not there is no error.
	DropToken(ctx context.Context, id string) error
}

// Families keeps refresh tokens. A family is the tokens that descend from one sign-in; exactly one of them is the
// newest. The store knows them by digests made by the caller.
type Families interface {
	// SaveFamily begins a family with its newest token, and keeps it for ttl. Returns ErrTokenExists when it is there.
	SaveFamily(ctx context.Context, family, newest string, value []byte, ttl time.Duration) error
	// Family returns the value, or ErrTokenNotFound.
	Family(ctx context.Context, family string) ([]byte, error)
	// Exchange makes another token the newest, and remembers the answer to that, in one atomic step. A repeat with the
	// token that was the newest just before returns the remembered answer as long as it is kept, and changes nothing. The first
	// answer may have been lost. Returns ErrTokenNotFound.
	Exchange(ctx context.Context, family string, x Exchange) (Exchanged, error)
}

// Exchange replaces the newest token of a family.
type Exchange struct {
	// Old is the digest of the token that was shown, and New that of its successor.
	Old, New string
	// Value is the new value of the family, kept for TTL from now on.
	Value []byte
	TTL   time.Duration
	// Answer is kept for Window. It is sealed, so that only the holder of the old token can read it.
	Answer []byte
	Window time.Duration
}

// Exchanged says what became of an Exchange.
type Exchanged struct {
	Outcome ExchangeOutcome
	// Answer is the remembered one of a repeat.
	Answer []byte
}

// ExchangeOutcome is one of the three ways in which an exchange ends.
type ExchangeOutcome int

// The outcomes. The zero value is not one of them.
const (
	// ExchangeDone is an exchange that was carried out.
	ExchangeDone ExchangeOutcome = iota + 1
	// ExchangeRepeated is one that had been carried out a moment ago.
	ExchangeRepeated
	// ExchangeStale is one with a token that is not the newest any more, or that never belonged to the family.
	ExchangeStale
)

// Subject is something that can be revoked: kind is token, client, session, user, family or all; or lost.
type Subject struct {
	Kind string
	ID   string
}

// Clone returns a subject that shares no memory with what it was cut out of.
func (s Subject) Clone() Subject { return Subject{strings.Clone(s.Kind), strings.Clone(s.ID)} }

// Revocations keeps since when tokens are refused. They are negative facts, whose loss would let in the clients that they keep
// out. So a store keeps them as durably as it keeps anything, and knows since when they are complete.
type Revocations interface {
	// Revoke refuses tokens of the subject issued up to the time, or up to now by the store's clock when that is zero. It remembers
	// that for ttl. In the same step it appends it to the log of the address Revoked, as a message whose data is the JSON of a
	// Revocation. A later time wins. Returns ErrNotReached when the revocation is in effect, but is not known to be as durable as
	// the strictest namespace asks for. It may be repeated.
	Revoke(ctx context.Context, s Subject, before time.Time, ttl time.Duration) error
	// RevokedBefore returns the time of each subject by index, zero where there is none, in one round trip. The time of
	// SubjectLost is never zero: a store that has lost it, or never had one, sets it to now. The time is RevocationUnreadable where
	// the store has something else in the place of one.
	RevokedBefore(ctx context.Context, subjects []Subject) ([]time.Time, error)
	// RevocationsSeen is told by those who follow the log of revocations how far they had come when it did not go on from there.
	// When the log does not have that any more, and no loss was noted since, revocations may be lost: it revokes SubjectLost.
	RevocationsSeen(ctx context.Context, at Position) error
}

// RevocationUnreadable stands for a time that the store cannot read, and will not read later. Nobody can say who is revoked, so
// everybody of that subject is refused with ErrStoredForeign. No time of a revocation is as late.
var RevocationUnreadable = time.UnixMilli(253_402_300_800_000)

// Revocation is the announcement of a Revoke.
type Revocation struct {
	Kind   string
	ID     string
	Before time.Time
}

type revocationJSON struct {
	Before int64  `json:"before"`
	Kind   string `json:"kind"`
	ID     string `json:"id"`
}

// MarshalJSON writes the time in milliseconds, first.
func (r Revocation) MarshalJSON() ([]byte, error) {
	return json.Marshal(revocationJSON{Before: r.Before.UnixMilli(), Kind: r.Kind, ID: r.ID})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (r *Revocation) UnmarshalJSON(data []byte) error {
	var j revocationJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*r = Revocation{Kind: j.Kind, ID: j.ID, Before: time.UnixMilli(j.Before)}
	return nil
}

// Names says whether the revocation names something that tokens are revoked by: a kind that there is, and whom of that kind.
func (r Revocation) Names() bool {
	switch r.Kind {
	case SubjectAll, SubjectLost:
		return r.ID == ""
	case SubjectToken, SubjectClient, SubjectSession, SubjectUser, SubjectFamily:
		return r.ID != ""
	}
	return false
}

// RevocationLog is how the log of revocations is kept: longer than any token lives. Its length is bounded, so a follower that was
// away for long asks about the tokens it knows instead of reading it all.
var RevocationLog = Retention{Length: 100_000, Age: 400 * 24 * time.Hour}

// TokenDigest returns what a store keeps of a token: nobody can make the token from it.
func TokenDigest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// BearerToken returns the token of an authorization header (RFC 6750, section 2.1); empty when it has none.
func BearerToken(header string) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// OpaqueToken is what the store keeps of a token of an older system, by the token's digest.
type OpaqueToken struct {
	Client  string        `json:"client"`
	User    string        `json:"user,omitempty"`
	Session string        `json:"session,omitempty"`
	Groups  []string      `json:"groups,omitempty"`
	Grants  []OpaqueGrant `json:"grants,omitempty"`
	Issued  time.Time     `json:"issued"`
	Expires time.Time     `json:"expires"`
}

// OpaqueGrant is a Grant as it is kept.
type OpaqueGrant struct {
	Pattern string `json:"pattern"`
	Actions Action `json:"actions"`
}

// Sound says whether it can be what was kept. Its client, user, session and groups are then names in their canonical form, and its
// times can be told. Two spellings of a name would be two people.
func (t OpaqueToken) Sound() bool {
	names := append([]string{t.Client}, t.Groups...)
	for _, name := range []string{t.User, t.Session} {
		if name != "" {
			names = append(names, name)
		}
	}
	return InTime(t.Issued) && InTime(t.Expires) && !slices.ContainsFunc(names, func(name string) bool {
		canonical, err := ParseName("name", name)
		return err != nil || canonical != name
	})
}

// Identity returns who the token stands for; id is the token's. A grant whose pattern cannot be read grants nothing.
func (t OpaqueToken) Identity(id string) *Identity {
	who := &Identity{
		Client: t.Client, User: t.User, Session: t.Session, Groups: t.Groups, TokenID: id, Issued: t.Issued, Expires: t.Expires,
	}
	for _, g := range t.Grants {
		if p, err := ParsePattern(g.Pattern); err == nil {
			who.Grants = append(who.Grants, Grant{Pattern: p, Actions: g.Actions})
		}
	}
	return who
}

// sessionScheme begins the credential of a session of an older system.
const sessionScheme = "session:"

// MaxSessionKey is the longest key of a session, in bytes.
const MaxSessionKey = 128

// SessionCredential returns the token that stands for the session of an older system; its key is the value of a cookie.
func SessionCredential(key string) string { return sessionScheme + key }

// SessionKey returns the key of a credential; false when it is none of a session.
func SessionKey(token string) (string, bool) {
	key, ok := strings.CutPrefix(token, sessionScheme)
	return key, ok && key != "" && len(key) <= MaxSessionKey
}

// SessionIdentity is a session of an older system: its names, since when and for how long it holds, and what it may do. No grants
// means to publish to all facilities of broadcast, its user, its groups and itself.
func SessionIdentity(key, session, user string, groups []string, grants []OpaqueGrant, since time.Time, ttl time.Duration) OpaqueToken {
	// Later than the end of a session before, however soon.
	now := since.Truncate(time.Millisecond).Add(time.Millisecond)
	t := OpaqueToken{
		Client: "s-" + TokenDigest(SessionCredential(key))[:32], User: user, Session: session, Groups: groups, Grants: grants,
		Issued: now, Expires: now.Add(ttl),
	}
	if len(grants) > 0 {
		return t
	}
	patterns := []string{"broadcast/topics/*", "sessions/" + session + "/topics/*"}
	if user != "" {
		patterns = append(patterns, "users/"+user+"/topics/*")
	}
	for _, g := range groups {
		patterns = append(patterns, "groups/"+g+"/topics/*")
	}
	for _, p := range patterns {
		t.Grants = append(t.Grants, OpaqueGrant{Pattern: p, Actions: Publish})
	}
	return t
}

// SessionResolver says whose a session of an older system is that nobody has registered. It may be called concurrently.
type SessionResolver interface {
	// ResolveSession returns ErrTokenInvalid for a session that there is not, and ErrAuthUnavailable when that cannot be
	// found out.
	ResolveSession(ctx context.Context, key string) (OpaqueToken, error)
}

// MaxToken is how many bytes a token may have, at every door.
const MaxToken = 16 << 10

// CheckToken returns ErrMessageTooLarge, with the length and the limit, for a token that no door takes.
func CheckToken(token string) error {
	if len(token) <= MaxToken {
		return nil
	}
	return ErrMessageTooLarge.With(fmt.Sprintf("the token has %d bytes, the limit is %d", len(token), MaxToken),
		map[string]string{"size": strconv.Itoa(len(token)), "limit": strconv.Itoa(MaxToken)})
}
