package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// SaveToken keeps a token's value.
func (s *Store) SaveToken(ctx context.Context, id string, value []byte, ttl time.Duration) error {
	return s.begin(ctx, saveTokenScript, s.keys.token(id), value, ttl.Milliseconds())
}

// Token returns a token's value.
func (s *Store) Token(ctx context.Context, id string) ([]byte, error) {
	return s.valueOf(ctx, s.keys.token(id))
}

// DropToken forgets a token.
func (s *Store) DropToken(ctx context.Context, id string) error {
	return s.do(ctx, redis.NewIntCmd(ctx, "del", s.keys.token(id)))
}

// SaveFamily begins a family of refresh tokens.
func (s *Store) SaveFamily(ctx context.Context, family, newest string, value []byte, ttl time.Duration) error {
	return s.begin(ctx, saveFamilyScript, s.keys.family(family), newest, value, ttl.Milliseconds())
}

// begin runs a script that makes a key unless it is there.
func (s *Store) begin(ctx context.Context, sc *redis.Script, key string, args ...any) error {
	cmd, err := s.run(ctx, sc, []string{key}, args...)
	if err != nil {
		return unavailable(err)
	}
	if n, err := cmd.Int(); err != nil {
		return failure(err)
	} else if n == 0 {
		return bus.ErrTokenExists
	}
	return nil
}

// Family returns a family's value.
func (s *Store) Family(ctx context.Context, family string) ([]byte, error) {
	return s.valueOf(ctx, s.keys.family(family))
}

// valueOf returns the value of a token or a family.
func (s *Store) valueOf(ctx context.Context, key string) ([]byte, error) {
	cmd := redis.NewStringCmd(ctx, "hget", key, "v")
	if err := s.do(ctx, cmd); err != nil {
		return nil, err
	}
	// What has expired cannot be told from what never was.
	if errors.Is(cmd.Err(), redis.Nil) {
		return nil, bus.ErrTokenNotFound
	}
	return []byte(cmd.Val()), nil
}

// Exchange replaces the newest token of a family.
func (s *Store) Exchange(ctx context.Context, family string, x bus.Exchange) (bus.Exchanged, error) {
	cmd, err := s.run(ctx, exchangeScript, []string{s.keys.family(family), s.keys.familyAnswer(family)},
		x.Old, x.New, x.Value, x.TTL.Milliseconds(), x.Answer, x.Window.Milliseconds())
	// A family that is not known, or whose time is over.
	if errors.Is(err, redis.Nil) {
		return bus.Exchanged{}, bus.ErrTokenNotFound
	}
	if err != nil {
		return bus.Exchanged{}, unavailable(err)
	}
	answer, err := cmd.StringSlice()
	if errors.Is(err, redis.Nil) {
		return bus.Exchanged{}, bus.ErrTokenNotFound
	}
	if err != nil {
		return bus.Exchanged{}, failure(err)
	}
	return s.exchanged(answer)
}

func (s *Store) exchanged(answer []string) (bus.Exchanged, error) {
	switch {
	case len(answer) == 1 && answer[0] == "done":
		return bus.Exchanged{Outcome: bus.ExchangeDone}, nil
	case len(answer) == 2 && answer[0] == "again":
		return bus.Exchanged{Outcome: bus.ExchangeRepeated, Answer: []byte(answer[1])}, nil
	case len(answer) == 1 && answer[0] == "stale":
		return bus.Exchanged{Outcome: bus.ExchangeStale}, nil
	}
	return bus.Exchanged{}, s.misread(nil, "a family of tokens")
}
