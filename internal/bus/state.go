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
	// Revision is that of the state that the change was made from.
	Revision uint64
	Value    []byte
	// TTL is how long the state is kept after its last change.
	TTL time.Duration
}

// NoRevision is the Revision of a change that is not to be made any more: a repeat of one that was made has its first
// answer, and anything else is ErrRevisionMismatch.
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
