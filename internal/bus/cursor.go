package bus

import (
	"context"
	"time"
)

// Cursors keeps how far readers have come in a log, and lends each reader's place to one process at a time.
type Cursors interface {
	// Claim makes owner the holder for ttl and returns the position; zero when there is none yet. Its holder prolongs it by
	// claiming again. held is false, and the position zero, while somebody else holds it.
	Claim(ctx context.Context, name, owner string, ttl time.Duration) (at Position, held bool, err error)
	// Advance notes a position and prolongs the claim. held is false, and nothing was noted, when owner does not hold it.
	Advance(ctx context.Context, name, owner string, at Position, ttl time.Duration) (held bool, err error)
	// Release ends the claim of owner, if it holds it.
	Release(ctx context.Context, name, owner string) error
}
