package redis

import (
	"bytes"
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
	// Without a revision there is no state: it is empty, at revision 0.
	if h["r"] == "" {
		return bus.State{}, nil
	}
	revision, err := strconv.ParseUint(h["r"], 10, 64)
	value := []byte(h["v"])
	if err != nil || !s.stateful(a, value) {
		// As one that is empty, at its revision: the next change writes it anew.
		s.garbage.drop(unreadState, a.String())
		value = nil
		if err != nil { // which it is too where the number is too large
			revision = 0
		}
	}
	return bus.State{Value: value, Revision: revision, Updated: timeOf(h["t"])}, nil
}

// stateful says whether a value may be that of a state.
func (s *Store) stateful(a bus.Address, value []byte) bool {
	object := bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{"))
	return object && sound(&bus.Message{ID: "state", ContentType: bus.JSON, Data: value}) && s.fits(&bus.Message{To: a, Data: value})
}

// SetState writes the next revision of a state and publishes its message.
func (s *Store) SetState(ctx context.Context, in bus.AdmittedState) (bus.State, error) {
	c := in.Change()
	if c.Message.To.IsZero() {
		return bus.State{}, bus.ErrInternal
	}
	s.stamp(&c.Publication, s.Now())
	call := s.publishCall(&c.Publication)
	call.script = stateScript
	call.keys = append(call.keys, s.keys.state(c.Message.To))
	call.args = append(call.args, strconv.FormatUint(c.Revision, 10), c.Value, c.TTL.Milliseconds())
	cmd, err := s.change(ctx, &c.Publication, call)
	if err != nil {
		return bus.State{}, err
	}
	answer, err := cmd.StringSlice()
	if err != nil || at(answer, 0) != "state" {
		return bus.State{Value: c.Value, Revision: c.Revision + 1, Updated: timeOf(at(answer, 3))}, err
	}
	// A repeat has the first answer.
	value := []byte(at(answer, 2))
	revision, err := strconv.ParseUint(at(answer, 1), 10, 64)
	if err != nil || !s.stateful(c.Message.To, value) {
		return bus.State{}, s.misread(nil, c.Message.To.String())
	}
	return bus.State{Value: value, Revision: revision, Updated: timeOf(at(answer, 3))}, nil
}

// DeleteState removes the state of an address.
func (s *Store) DeleteState(ctx context.Context, in bus.AdmittedState) error {
	p := in.Change().Publication
	if p.Message.To.IsZero() {
		return bus.ErrInternal
	}
	require := ""
	if p.RequireChannel {
		require = "1"
	}
	keys := []string{s.keys.state(p.Message.To), s.keys.channel(p.Message.To)}
	_, err := s.change(ctx, &p, call{deleteStateScript, keys, []any{require}})
	return err
}

// change runs a script that changes a state, and waits for as many copies of that as the publication asks for.
func (s *Store) change(ctx context.Context, p *bus.Publication, c call) (*redis.Cmd, error) {
	ps, receipts := []bus.Publication{*p}, make([]bus.Receipt, 1)
	if strict := strictest(ps); strict != nil {
		b := s.strictly(ctx, ps, []call{c}, receipts, strict)
		return b.cmds[0], b.errs[0]
	}
	cmd, err := s.run(ctx, c.script, c.keys, c.args...)
	if err != nil {
		return nil, unavailable(err)
	}
	return cmd, s.readReceipt(cmd, p, &receipts[0])
}
