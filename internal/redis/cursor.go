package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// cursorTTL is how long a reader's place outlives its last use: longer than any log is kept.
const cursorTTL = 400 * 24 * time.Hour

// Claim lends a reader's place.
func (s *Store) Claim(ctx context.Context, name, owner string, ttl time.Duration) (bus.Position, bool, error) {
	cmd, err := s.run(ctx, claimScript, []string{s.keys.cursor(name)}, owner, ttl.Milliseconds(), cursorTTL.Milliseconds())
	if err != nil {
		return bus.Position{}, false, unavailable(err)
	}
	answer, err := cmd.StringSlice()
	if err != nil {
		return bus.Position{}, false, failure(err)
	}
	held := at(answer, 0) == "1"
	offset, err := strconv.ParseUint(at(answer, 2), 10, 64)
	if epoch := at(answer, 1); err == nil && (epochText(epoch) || epoch == "" && offset == 0) {
		return bus.Position{Epoch: epoch, Offset: offset}, held, nil
	}
	// A place in no log is behind whatever is kept: its reader is given that once more, and misses nothing.
	s.garbage.drop(unreadCursor, name)
	return bus.Position{Epoch: "none", Offset: 1}, held, nil
}

// Advance notes a position.
func (s *Store) Advance(ctx context.Context, name, owner string, to bus.Position, ttl time.Duration) (bool, error) {
	cmd, err := s.run(ctx, advanceScript, []string{s.keys.cursor(name)},
		owner, ttl.Milliseconds(), cursorTTL.Milliseconds(), to.Epoch, strconv.FormatUint(to.Offset, 10))
	if err != nil {
		return false, unavailable(err)
	}
	// Somebody else may have the place by now, and then the position is theirs to note.
	n, err := cmd.Int()
	return n == 1, failure(err)
}

// Release ends a claim.
func (s *Store) Release(ctx context.Context, name, owner string) error {
	_, err := s.run(ctx, releaseScript, []string{s.keys.cursor(name)}, owner)
	return unavailable(err)
}
