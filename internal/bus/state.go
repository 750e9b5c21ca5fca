package bus

import (
	"context"
	"time"
)

// State is one JSON object that an address keeps.
type State struct {
	Value    []byte
	Revision uint64 // from 1; 0 when there is none
	Updated  time.Time
}

// StateChange is the next revision of a state, and the message that tells of it.
type StateChange struct {
	Publication
	// Revision is the revision that the change was made from.
	Revision uint64
	Value    []byte
	// TTL is how long the state is kept after its last change.
	TTL time.Duration
}

// NoRevision is the Revision of a change that is not to be made any more. A repeat of one that was made has its first answer, and
// anything else is ErrRevisionMismatch.
const NoRevision = ^uint64(0)

// States keeps the states of addresses.
type States interface {
	// State returns the state of an address; the zero State when there is none.
	State(ctx context.Context, a Address) (State, error)
	// SetState writes the next revision and publishes its message in one step. Returns ErrRevisionMismatch when the
	// state is not at the revision that the change was made from, and then nothing was published. A repeat of a change, which
	// its idempotency key tells, has the first answer whatever the revision is.
	SetState(ctx context.Context, c AdmittedState) (State, error)
	// DeleteState removes the state of the address that the change names; nothing else of the change counts.
	DeleteState(ctx context.Context, c AdmittedState) error
}

// The verbs of a ValueCommand, which do what the Redis commands of these names do.
const (
	ValueGet    = "GET"
	ValueSet    = "SET"
	ValueDel    = "DEL"
	ValueIncr   = "INCR"
	ValueExpire = "EXPIRE"
	ValueTTL    = "TTL"
)

// ValueCommand is one command on the values of an owner.
type ValueCommand struct {
	// Owner is whose values they are; nobody else's are reached.
	Owner string
	// Verb is one of the verbs above.
	Verb string
	// Keys is one key, and for DEL one or more.
	Keys []string
	// Value is what SET writes.
	Value string
	// TTL is when the key ends, for SET and EXPIRE; 0 in a SET for never. An EXPIRE that is not positive deletes.
	TTL time.Duration
	// Limit is how many keys the owner may have, and Keep how long all of them are kept after the last change.
	Limit int
	Keep  time.Duration
}

// ValueResult is the answer to a ValueCommand.
type ValueResult struct {
	// Text is the answer of GET.
	Text string
	// Number is the answer of DEL, INCR, EXPIRE and TTL, which is in seconds, -1 for never and -2 for no such key.
	Number int64
	// Missing says that GET found no such key.
	Missing bool
}

// Values keeps small values in spaces of their owners.
type Values interface {
	// Command carries out one command in one step. It returns ErrValueLimit when a new key would be one too many. It returns
	// ErrValueNotNumber when INCR finds what is not a number of 64 bits, or would leave their range.
	Command(ctx context.Context, c ValueCommand) (ValueResult, error)
}

// ValueOwner returns whose values the identity reaches by commands: its session's, or its client's when it has none.
func (id *Identity) ValueOwner() string {
	if id.Session != "" {
		return string(KindSessions) + "/" + id.Session
	}
	return string(KindClients) + "/" + id.Client
}
