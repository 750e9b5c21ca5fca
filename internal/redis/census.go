package redis

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// countChunk is how many addresses one script notes.
const countChunk = 1000

// mostDays bounds how many sketches are put together.
const mostDays = 366

// Count notes addresses, and returns about how many of the space are kept. An address counts for as long as its position is known.
func (s *Store) Count(ctx context.Context, in bus.Space, used []bus.Address) (int, error) {
	const day = 24 * time.Hour
	days := int((min(max(s.cfg.MetaTTL, in.Age), mostDays*day) + day - 1) / day)
	names := []string{s.keys.addresses(in.Name)}
	var calls []call
	for chunk := range slices.Chunk(used, countChunk) {
		args := []any{days}
		for _, a := range chunk {
			args = append(args, a.String())
		}
		calls = append(calls, call{countScript, names, args})
	}
	if len(calls) == 0 {
		calls = []call{{countScript, names, []any{days}}}
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		return 0, unavailable(err)
	}
	n := 0
	for _, cmd := range cmds {
		if n, err = cmd.Int(); err != nil {
			return 0, failure(err)
		}
	}
	return n, nil
}

// Keeps says whether anything of an address is kept.
func (s *Store) Keeps(ctx context.Context, a bus.Address) (bool, error) {
	found := redis.NewIntCmd(ctx, "exists", s.keys.meta(a), s.keys.state(a), s.keys.last(a))
	if err := s.do(ctx, found); err != nil {
		return false, err
	}
	return found.Val() > 0, nil
}
