package tail

import (
	"context"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// heal reads the log from the position of each address to its end.
func (t *Tail) heal(ctx context.Context, list []*followed) {
	for _, f := range list {
		t.readOn(ctx, f)
	}
}

func (t *Tail) readOn(ctx context.Context, f *followed) {
	for {
		l, ok := f.startLook()
		if !ok {
			return
		}
		call, cancel := context.WithTimeout(ctx, readTime)
		p, err := t.readPage(call, place{f.address, l.from, 0}, t.cfg.HealPage)
		cancel()
		w := f.read(l, p, err)
		if w.failed {
			t.cfg.Logger.Warn("cannot read the log to heal an address, trying on",
				slog.String("address", f.address.String()), slog.String("error", err.Error()))
		}
		// A worker stays with an address to the end of its log, so that no other reads the same pages.
		if w.kind != nextPage {
			t.lanes.queue(f, w)
			return
		}
	}
}

// locate compares addresses that are in doubt with the tops of their logs.
func (t *Tail) locate(ctx context.Context, list []*followed) {
	call, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var failed error
	n := 0
	t.ask(call, list, (*followed).startLook, func(f *followed, l look, top bus.Position, err error) {
		if err != nil {
			failed = err
			n++
		}
		t.lanes.queue(f, f.located(l, top, err))
	})
	if failed != nil {
		t.cfg.Logger.Warn("cannot ask where logs end, trying on", slog.Int("addresses", n), slog.String("error", failed.Error()))
	}
}

// ask asks for the tops of addresses that begin says so of, some in a call, and hands the answers on one by one.
func (t *Tail) ask(ctx context.Context, list []*followed, begin func(*followed) (look, bool), answer func(*followed, look, bus.Position, error)) {
	for len(list) > 0 {
		n := min(len(list), topBatch)
		looks := make([]look, 0, n)
		asked := make([]*followed, 0, n)
		addresses := make([]bus.Address, 0, n)
		for _, f := range list[:n] {
			if l, ok := begin(f); ok {
				looks, asked, addresses = append(looks, l), append(asked, f), append(addresses, f.address)
			}
		}
		list = list[n:]
		if len(asked) == 0 {
			continue
		}
		tops, errs := t.log.Tops(ctx, addresses)
		for i, f := range asked {
			if errs != nil && errs[i] != nil {
				answer(f, looks[i], bus.Position{}, errs[i])
			} else {
				answer(f, looks[i], tops[i], nil)
			}
		}
	}
}

// checkLoop is the slow round: in each interval a part of the quiet addresses is compared with the log.
func (t *Tail) checkLoop(ctx context.Context) error {
	ticker := time.NewTicker(t.cfg.CheckInterval)
	defer ticker.Stop()
	var quiet []*followed
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			t.check(ctx, quiet)
			quiet = t.nextPart(quiet[:0])
		}
	}
}

// nextPart notes some addresses of which nothing may come until the next round.
func (t *Tail) nextPart(part []*followed) []*followed {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range min(len(t.ring), (len(t.ring)+t.cfg.CheckParts-1)/t.cfg.CheckParts) {
		// The ring changes under the walk. An address that is missed in this round is met in the next.
		if t.at++; t.at >= len(t.ring) {
			t.at = 0
		}
		if f := t.ring[t.at]; f.wait() {
			part = append(part, f)
		}
	}
	return part
}

func (t *Tail) check(ctx context.Context, list []*followed) {
	for len(list) > 0 && ctx.Err() == nil {
		n := min(len(list), topBatch)
		var still []*followed
		var addresses []bus.Address
		for _, f := range list[:n] {
			// A push since then is proof enough, so only silent addresses are asked about.
			if f.still() {
				still, addresses = append(still, f), append(addresses, f.address)
			}
		}
		list = list[n:]
		if len(still) == 0 {
			continue
		}
		tops, errs := t.log.Tops(ctx, addresses)
		for i, f := range still {
			if errs == nil || errs[i] == nil { // otherwise the next round asks again
				t.lanes.queue(f, f.compare(tops[i]))
			}
		}
	}
}
