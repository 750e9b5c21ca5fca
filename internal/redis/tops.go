package redis

import (
	"context"
	"slices"
	"strconv"

	"github.com/trunkline/trunkline/internal/bus"
)

// topKeys is how many addresses one script looks at.
const topKeys = 512

// Tops returns the newest positions. It writes nothing for an address that nothing was published to. It keeps what is known of
// the others from being forgotten: a process that asks follows them.
func (s *Store) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	t := &topsCall{store: s, addresses: addresses, tops: make([]bus.Position, len(addresses)), errs: make([]error, len(addresses))}
	t.read(ctx)
	t.look(ctx)
	t.begin(ctx)
	// Only what would be forgotten before long, so that most calls write nothing.
	s.prolong(ctx, t.old...)
	if bus.FirstError(t.errs) == nil {
		return t.tops, nil
	}
	return t.tops, t.errs
}

// topsCall is one Tops on its way.
type topsCall struct {
	store     *Store
	addresses []bus.Address
	tops      []bus.Position
	errs      []error
	old       []bus.Address // what would be forgotten before long
	garbled   []int         // whose meta hash cannot be read
}

// read reads the tops: many in one script, but in a Cluster one in each, as their slots differ.
func (t *topsCall) read(ctx context.Context) {
	size := topKeys
	if t.store.cluster != nil {
		size = 1
	}
	var calls []call
	for chunk := range slices.Chunk(t.addresses, size) {
		names := make([]string, len(chunk))
		for i, a := range chunk {
			names[i] = t.store.keys.meta(a)
		}
		calls = append(calls, call{topScript, names, []any{t.store.cfg.MetaTTL.Milliseconds()}})
	}
	cmds, err := t.store.runAll(ctx, calls)
	for c, first := 0, 0; c < len(calls); c++ {
		one := err
		var answer []string
		if one == nil {
			answer, one = cmds[c].StringSlice()
		}
		for i := range calls[c].keys {
			t.note(first+i, answer, 3*i, one)
		}
		// The chunks lie behind one another in the list of addresses.
		first += len(calls[c].keys)
	}
}

// note takes one top out of an answer.
func (t *topsCall) note(i int, answer []string, from int, err error) {
	if err != nil {
		t.errs[i] = unavailable(err)
		return
	}
	offset, err := strconv.ParseUint(at(answer, from+1), 10, 64)
	if err != nil {
		t.garbled = append(t.garbled, i)
		return
	}
	t.tops[i] = bus.Position{Epoch: t.store.epoch(at(answer, from)), Offset: offset}
	if at(answer, from+2) != "" {
		t.old = append(t.old, t.addresses[i])
	}
}

// look reads the logs whose meta hash cannot be read. That script goes by the newest entry, where there is one.
func (t *topsCall) look(ctx context.Context) {
	for _, i := range t.garbled {
		t.store.garbage.drop(unreadPosition, t.addresses[i].String())
		page, _, err := t.store.readOnce(ctx, t.addresses[i], bus.Retention{}, "latest", bus.Position{}, 1)
		if err != nil {
			t.errs[i] = err
			continue
		}
		t.tops[i] = page.Top
	}
}

// begin gives addresses that have no log the position from which they begin.
func (t *topsCall) begin(ctx context.Context) {
	var names []string
	var absent []int
	for i := range t.tops {
		if t.errs[i] == nil && t.tops[i].Epoch == "" {
			absent = append(absent, i)
			names = append(names, t.store.beginningKey(t.addresses[i]))
		}
	}
	if len(absent) == 0 {
		return
	}
	beginnings, err := t.store.beginnings(ctx, names)
	for j, i := range absent {
		if t.tops[i].Epoch = beginnings[names[j]]; t.tops[i].Epoch == "" {
			t.errs[i] = unavailable(err)
		}
	}
}
