package bus

import (
	"context"
	"encoding/json"
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
	// token that was the newest just before returns the remembered answer as long as it is kept, and changes nothing: what
	// the first one had said may have been lost. Returns ErrTokenNotFound.
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

// Revocations keeps since when tokens are refused. They are negative facts, whose loss would let in whom they keep out: a store
// keeps them as durably as it keeps anything, and knows since when they are complete.
type Revocations interface {
	// Revoke refuses tokens of the subject issued up to the time, or up to now by the store's clock when that is zero. It remembers
	// that for ttl, and appends it to the log of the address Revoked, as a message whose data is the JSON of a Revocation, in the
	// same step. A later time wins. Returns ErrNotReached when the revocation is in effect, but is not known to be as durable as
	// the strictest namespace asks for; it may be repeated.
	Revoke(ctx context.Context, s Subject, before time.Time, ttl time.Duration) error
	// RevokedBefore returns the time of each subject by index, zero where there is none, in one round trip. The time of
	// SubjectLost is never zero: a store that has lost it, or never had one, sets it to now.
	RevokedBefore(ctx context.Context, subjects []Subject) ([]time.Time, error)
	// RevocationsSeen is told by those who follow the log of revocations how far they had come when it did not go on from there.
	// When the log does not have that any more, and no loss was noted since, revocations may be lost: it revokes SubjectLost.
	RevocationsSeen(ctx context.Context, at Position) error
}

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

// RevocationLog is how the log of revocations is kept: longer than any token lives, and so that a follower that was away
// for long asks about the tokens it knows instead of reading it all.
var RevocationLog = Retention{Length: 100_000, Age: 400 * 24 * time.Hour}
