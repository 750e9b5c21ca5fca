package redis

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// State returns the state of an address.
func (s *Store) State(ctx context.Context, a bus.Address) (bus.State, error) {
	cmd := redis.NewSliceCmd(ctx, "hmget", s.keys.state(a), "v", "r", "t")
	if err := s.do(ctx, cmd); err != nil {
		return bus.State{}, err
	}
	h := pairs(cmd.Val(), "v", "r", "t")
	if h["r"] == "" {
		return bus.State{}, nil
	}
	revision, err := strconv.ParseUint(h["r"], 10, 64)
	if err != nil {
		return bus.State{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	return bus.State{Value: []byte(h["v"]), Revision: revision, Updated: timeOf(h["t"])}, nil
}

// SetState writes the next revision of a state and publishes its message.
func (s *Store) SetState(ctx context.Context, in bus.AdmittedState) (bus.State, error) {
	c := in.Change()
	s.stamp(&c.Publication, s.Now())
	call := s.publishCall(&c.Publication, true) // older programs know of no states
	call.script = stateScript
	call.keys = append(call.keys, s.keys.state(c.Message.To))
	call.args = append(call.args, strconv.FormatUint(c.Revision, 10), c.Value, c.TTL.Milliseconds())
	cmd, err := s.run(ctx, call.script, call.keys, call.args...)
	if err != nil {
		return bus.State{}, unavailable(err)
	}
	answer, err := cmd.StringSlice()
	if err != nil {
		return bus.State{}, failure(err)
	}
	if at(answer, 0) == "revision" {
		return bus.State{}, bus.ErrRevisionMismatch.With("", map[string]string{"address": c.Message.To.String(), "revision": at(answer, 1)})
	}
	var r bus.Receipt
	if err := readReceipt(cmd, &c.Publication, &r); err != nil {
		return bus.State{}, err
	}
	return bus.State{Value: c.Value, Revision: c.Revision + 1, Updated: r.Published}, nil
}

// DeleteState removes the state of an address.
func (s *Store) DeleteState(ctx context.Context, in bus.AdmittedState) error {
	return s.do(ctx, redis.NewIntCmd(ctx, "del", s.keys.state(in.Change().Message.To)))
}
