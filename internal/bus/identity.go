package bus

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Action is something that a grant allows on an address.
type Action uint8

// The actions, as bits, so that a grant holds several.
const (
	Subscribe Action = 1 << iota
	Publish
	History
	Presence
)

// String names the action as claims and errors spell it.
func (a Action) String() string {
	switch a {
	case Subscribe:
		return "subscribe"
	case Publish:
		return "publish"
	case History:
		return "history"
	case Presence:
		return "presence"
	}
	return "unknown"
}

// Pattern covers addresses: one address, or every address with a prefix. A prefix
// pattern ends with * right after / or : or an escape, or is * alone, which covers everything.
// It is canonical as addresses are. Matching is linear in the address.
type Pattern struct{ text string }

// ParsePattern reads a pattern. It returns an *Error with ErrAddressInvalid.
func ParsePattern(s string) (Pattern, error) {
	prefix, star := strings.CutSuffix(s, "*")
	if !star {
		a, err := ParseAddress(s)
		return Pattern{text: a.name}, err
	}
	if s == "*" {
		return Pattern{text: s}, nil
	}
	// A prefix is right when some address continues it.
	const more = "x"
	a, err := ParseAddress(prefix + more)
	if err != nil {
		return Pattern{}, err
	}
	prefix = strings.TrimSuffix(a.name, more)
	if !prefixEnds(prefix) {
		return Pattern{}, addressError(s, fmt.Errorf("a star may only stand at the end, right after a slash, a colon or an escaped character"))
	}
	return Pattern{text: prefix + "*"}, nil
}

// prefixEnds says whether a star may follow the prefix of a canonical address. So users/a* is not written for users/a:* by mistake.
func prefixEnds(prefix string) bool {
	n := len(prefix)
	return prefix[n-1] == '/' || prefix[n-1] == ':' || n > 3 && prefix[n-3] == '%'
}

// Covers says whether the pattern covers the address.
func (p Pattern) Covers(a Address) bool {
	if prefix, star := strings.CutSuffix(p.text, "*"); star {
		return strings.HasPrefix(a.name, prefix)
	}
	return p.text == a.name
}

// String returns the pattern in its canonical form.
func (p Pattern) String() string { return p.text }

// Grant allows actions on the addresses that a pattern covers.
type Grant struct {
	Pattern Pattern
	Actions Action
}

// Identity is who a validated token stands for. Its names are canonical. It is immutable once made.
type Identity struct {
	Client  string
	User    string
	Session string
	Groups  []string
	Grants  []Grant

	TokenID string
	// Peer is the network address of a stranger: somebody without a token, whom an open older protocol lets in. It is empty for
	// everybody who has one.
	Peer string
	// Family is shared by the tokens that descend from one refresh token.
	Family  string
	Issued  time.Time
	Expires time.Time
	// Tolerance is how far Issued may be off. It is zero where the store's clock has said it, and more for another issuer's.
	Tolerance time.Duration
	// DerivedClient says that the token names no client, and that Client was made for it.
	DerivedClient bool
	// OutlivesLoss lets the token live on when revocations that were made after it was issued may be lost.
	OutlivesLoss bool
}

// Own returns the addresses that the identity receives from without asking:
// its client, user, session and groups, and broadcast. Every part comes from a
// validated token, and a part that is no name is left out.
func (id Identity) Own() []Address {
	own := []Address{Broadcast}
	add := func(kind Kind, name string) {
		if name == "" {
			return
		}
		if a, err := NewAddress(kind, name); err == nil {
			own = append(own, a)
		}
	}
	add(KindClients, id.Client)
	add(KindUsers, id.User)
	add(KindSessions, id.Session)
	for _, g := range id.Groups {
		add(KindGroups, g)
	}
	return own
}

// Owns says whether the address, or the address its topic belongs to, is id's own.
func (id Identity) Owns(a Address) bool {
	switch a.Kind() {
	case KindBroadcast:
		return true
	case KindClients:
		return a.ID() == id.Client
	case KindUsers:
		return id.User != "" && a.ID() == id.User
	case KindSessions:
		return id.Session != "" && a.ID() == id.Session
	case KindGroups:
		for _, g := range id.Groups {
			if g == a.ID() {
				return true
			}
		}
	}
	return false
}

// Allows says whether the identity may do the action on the address. Receiving
// from its own addresses needs no grant; everything else does. It is the one
// rule behind every door, so that no surface allows more than another.
func (id Identity) Allows(action Action, a Address) bool {
	if a.Kind() == KindSystem {
		return false
	}
	if (action == Subscribe || action == History) && id.Owns(a) {
		return true
	}
	for _, g := range id.Grants {
		if g.Actions&action != 0 && g.Pattern.Covers(a) {
			return true
		}
	}
	return false
}

// Check returns nil when Allows does, and otherwise an *Error that names the address.
func (id Identity) Check(action Action, a Address) error {
	if id.Allows(action, a) {
		return nil
	}
	return Denied(action, a)
}

// Denied returns the refusal of an action on an address.
func Denied(action Action, a Address) error {
	e := map[Action]*Error{
		Subscribe: ErrSubscribeDenied, Publish: ErrPublishDenied,
		History: ErrHistoryDenied, Presence: ErrPresenceDenied,
	}[action]
	return e.With(fmt.Sprintf("these credentials do not grant %s on %s", action, a), map[string]string{"address": a.String()})
}

// The kinds of Subject.
const (
	SubjectToken   = "token"
	SubjectClient  = "client"
	SubjectSession = "session"
	SubjectUser    = "user"
	SubjectFamily  = "family"
	SubjectAll     = "all"
	// SubjectLost stands for all tokens too. Its time is since when revocations are complete. What was revoked before then may be
	// lost, so tokens that were issued before are no longer believed.
	SubjectLost = "lost"
)

// Whole says whether revoking the subject ends all of its tokens, whenever they were issued. One token, or the family of
// one sign-in, has no later token that could be meant to live. Tokens of every other subject are judged by when they were issued.
func (s Subject) Whole() bool { return s.Kind == SubjectToken || s.Kind == SubjectFamily }

// maxSubjects is how many subjects an identity has at most.
const maxSubjects = 7

// Subjects returns what the identity's token can be revoked by.
func (id *Identity) Subjects() []Subject { return id.AppendSubjects(make([]Subject, 0, maxSubjects)) }

// AppendSubjects appends to dst what the identity's token can be revoked by.
func (id *Identity) AppendSubjects(dst []Subject) []Subject { return id.subjects(dst) }

func (id *Identity) subjects(dst []Subject) []Subject {
	dst = append(dst, Subject{Kind: SubjectAll}, Subject{Kind: SubjectToken, ID: id.TokenID}, Subject{Kind: SubjectClient, ID: id.Client})
	if id.Session != "" {
		dst = append(dst, Subject{Kind: SubjectSession, ID: id.Session})
	}
	if id.User != "" {
		dst = append(dst, Subject{Kind: SubjectUser, ID: id.User})
	}
	if id.Family != "" {
		dst = append(dst, Subject{Kind: SubjectFamily, ID: id.Family})
	}
	if !id.OutlivesLoss {
		dst = append(dst, Subject{Kind: SubjectLost})
	}
	return dst
}

// Refused returns why the identity's token is refused, nil when it is not. The reason is ErrTokenRevoked, or ErrTokenExpired when
// revocations that were made after the token was issued may be lost, or ErrStoredForeign for RevocationUnreadable. The function before returns the time of a subject's
// revocation, zero when there is none. A token that is not younger is refused, and so is every token of a subject that is revoked
// as a whole.
func (id *Identity) Refused(before func(Subject) time.Time) *Error {
	var buf [maxSubjects]Subject
	for _, s := range id.subjects(buf[:0]) {
		at := before(s)
		switch {
		case at.IsZero():
		case at.Equal(RevocationUnreadable):
			return ErrStoredForeign
		case s.Kind == SubjectLost: // the last one: that a token was revoked says more
			if id.Issued.Add(id.Tolerance).Before(at) {
				return ErrTokenExpired.With("revocations of this token may be lost; get a new one", nil)
			}
		// Revocations know milliseconds. What was issued in the same one may have been issued before.
		case s.Whole() || !id.Issued.Truncate(time.Millisecond).Add(-id.Tolerance).After(at):
			return ErrTokenRevoked
		}
	}
	return nil
}

// Connect is the action of opening a session. It is no grant: a valid token is enough, unless an Authorizer says no.
const Connect Action = 1 << 7

// Deliver is the action of handing a message that asks for an ack to a device. It needs no grant of its own: a client that may
// subscribe to the address may have it, unless an Authorizer says no.
const Deliver Action = 1 << 6

// Question asks whether an identity may do something that its token allows.
type Question struct {
	Identity *Identity
	Action   Action   // Connect, Subscribe, Publish or Deliver
	Address  Address  // zero for Connect
	Message  *Message // of Deliver
	Place    *Place   // what a socket has said of itself; nil over gRPC and REST
}

// Place is what a socket has said of itself in its handshake.
type Place struct {
	// Dialect is the protocol that it speaks.
	Dialect string
	// Facility is how the client of the facility protocol spells its facility. Wishes are what its query asks for, such as
	// "subscribe-broadcast". Both are empty in other protocols.
	Facility string
	Wishes   []string
}

// Authorizer decides what the grants of a token leave open. It may be called concurrently.
type Authorizer interface {
	// Authorize returns nil, the refusal of the action, or ErrAuthorizerAway.
	Authorize(ctx context.Context, q Question) error
}

// Authorize asks an authorizer; without one everything is allowed. An identity's own addresses are followed without being asked
// for, so nobody is asked about them. A topic of one is asked for, and asked about. The rule stands here and nowhere else, because
// every door of clients comes through here.
func Authorize(ctx context.Context, a Authorizer, q Question) error {
	if a == nil || q.Action == Subscribe && q.Address.Topic() == "" && q.Identity.Owns(q.Address) {
		return nil
	}
	return a.Authorize(ctx, q)
}

// DeliveryAuthorizer is what an Authorizer may be besides: one that is asked about Deliver too. It is discovered by type
// assertion.
type DeliveryAuthorizer interface {
	Authorizer
	// AsksDeliver says whether Deliver is asked about; the answer never changes.
	AsksDeliver() bool
}

// AsksDeliver says whether an authorizer is asked about Deliver.
func AsksDeliver(a Authorizer) bool {
	d, ok := a.(DeliveryAuthorizer)
	return ok && d.AsksDeliver()
}

// AuthorizeDelivery says whether a device may have a message that asks for an ack. The grants of its token decide and then, when it is asked
// about that, the authorizer. It returns nil, the refusal, or an error with RetryAfter when nobody can say.
func AuthorizeDelivery(ctx context.Context, a Authorizer, who *Identity, m *Message) error {
	if err := who.Check(Subscribe, m.To); err != nil {
		return err
	}
	if !AsksDeliver(a) {
		return nil
	}
	return a.Authorize(ctx, Question{Identity: who, Action: Deliver, Address: m.To, Message: m})
}
