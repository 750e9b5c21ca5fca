package redis

import (
	"context"

	"github.com/trunkline/trunkline/internal/bus"
)

// Tops returns the newest positions.
func (s *Store) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	t := &topsCall{store: s, addresses: addresses, tops: make([]bus.Position, len(addresses)), errs: make([]error, len(addresses))}
	all := make([]int, len(addresses))
	for i := range all {
		all[i] = i
	}
	t.run(ctx, all, func(a bus.Address) call {
		return call{topScript, []string{s.keys.meta(a)}, []any{s.cfg.MetaTTL.Milliseconds()}}
	})
	var absent []int
	for i, a := range addresses {
		if t.errs[i] == nil && t.tops[i].Epoch == "" && !a.HasInbox() {
			absent = append(absent, i)
		}
	}
	t.run(ctx, absent, s.beginCall)
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
}

func (t *topsCall) fail(places []int, err error) {
	for _, i := range places {
		t.errs[i] = unavailable(err)
	}
}

// run runs a script for each of the addresses; each answers with a top.
func (t *topsCall) run(ctx context.Context, places []int, make func(bus.Address) call) { //nolint:predeclared // what it does
	var calls []call
	for _, i := range places {
		calls = append(calls, make(t.addresses[i]))
	}
	if len(calls) == 0 {
		return
	}
	cmds, err := t.store.runAll(ctx, calls)
	if err != nil {
		t.fail(places, err)
		return
	}
	var old []bus.Address
	for j, i := range places {
		t.tops[i], t.errs[i] = readTop(cmds[j])
		if answer, err := cmds[j].StringSlice(); err == nil && at(answer, 2) == "1" {
			old = append(old, t.addresses[i])
		}
	}
	t.store.prolong(ctx, old...)
}
