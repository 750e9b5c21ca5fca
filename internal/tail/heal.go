package tail

import (
	"context"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// heal reads the log from the topic's position to its end.
func (t *Tail) heal(ctx context.Context, topics []*topic) {
	for _, tp := range topics {
		t.readOn(ctx, tp)
	}
}

func (t *Tail) readOn(ctx context.Context, tp *topic) {
	for {
		l, ok := tp.startLook()
		if !ok {
			return
		}
		call, cancel := context.WithTimeout(ctx, readTime)
		p, err := t.readPage(call, place{tp.address, l.from}, t.cfg.HealPage)
		cancel()
		w := tp.read(l, p, err)
		if w.failed {
			t.cfg.Log.Warn("cannot read the log to heal an address, trying on",
				slog.String("address", tp.address.String()), slog.String("error", err.Error()))
		}
		if w.kind != nextPage {
			t.queue(tp, w)
			return
		}
	}
}

// locate compares topics that are in doubt with the tops of their logs.
func (t *Tail) locate(ctx context.Context, topics []*topic) {
	call, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var failed error
	n := 0
	t.ask(call, topics, (*topic).startLook, func(tp *topic, l look, top bus.Position, err error) {
		if err != nil {
			failed = err
			n++
		}
		t.queue(tp, tp.located(l, top, err))
	})
	if failed != nil {
		t.cfg.Log.Warn("cannot ask where logs end, trying on", slog.Int("addresses", n), slog.String("error", failed.Error()))
	}
}

// ask asks for the tops of topics that begin says so of, some in a call, and hands the answers on one by one.
func (t *Tail) ask(ctx context.Context, topics []*topic, begin func(*topic) (look, bool), answer func(*topic, look, bus.Position, error)) {
	for len(topics) > 0 {
		n := min(len(topics), topBatch)
		looks := make([]look, 0, n)
		asked := make([]*topic, 0, n)
		addresses := make([]bus.Address, 0, n)
		for _, tp := range topics[:n] {
			if l, ok := begin(tp); ok {
				looks, asked, addresses = append(looks, l), append(asked, tp), append(addresses, tp.address)
			}
		}
		topics = topics[n:]
		if len(asked) == 0 {
			continue
		}
		tops, errs := t.log.Tops(ctx, addresses)
		for i, tp := range asked {
			if errs != nil && errs[i] != nil {
				answer(tp, looks[i], bus.Position{}, errs[i])
			} else {
				answer(tp, looks[i], tops[i], nil)
			}
		}
	}
}

// gapBefore describes what is missing between from and the page that the log answered with.
func gapBefore(a bus.Address, from bus.Position, p bus.Page) bus.Gap {
	g := bus.Gap{Address: a, From: from, To: p.Next, Reason: bus.GapTrimmed}
	if len(p.Messages) > 0 {
		first := p.Messages[0].Position
		g.To = bus.Position{Epoch: first.Epoch, Offset: first.Offset - 1}
	}
	switch {
	case p.Unproved:
		g.Reason = bus.GapTailUnknown
	case from.Epoch != g.To.Epoch && !p.Forked: // a fork goes on with the same log
		g.Reason = bus.GapEpoch
	case from.Offset > g.To.Offset:
		g.Reason = bus.GapStoreReset // the log has lost its end
	}
	return g
}

// checkLoop is the slow round: in each interval a part of the quiet addresses is compared with the log.
func (t *Tail) checkLoop(ctx context.Context) error {
	ticker := time.NewTicker(t.cfg.CheckInterval)
	defer ticker.Stop()
	var quiet []*topic
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

// nextPart notes some topics of which nothing may come until the next round.
func (t *Tail) nextPart(part []*topic) []*topic {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range min(len(t.ring), (len(t.ring)+t.cfg.CheckParts-1)/t.cfg.CheckParts) {
		if t.at++; t.at >= len(t.ring) {
			t.at = 0
		}
		if tp := t.ring[t.at]; tp.wait() {
			part = append(part, tp)
		}
	}
	return part
}

func (t *Tail) check(ctx context.Context, topics []*topic) {
	for len(topics) > 0 && ctx.Err() == nil {
		n := min(len(topics), topBatch)
		var still []*topic
		var addresses []bus.Address
		for _, tp := range topics[:n] {
			if tp.still() {
				still, addresses = append(still, tp), append(addresses, tp.address)
			}
		}
		topics = topics[n:]
		if len(still) == 0 {
			continue
		}
		tops, errs := t.log.Tops(ctx, addresses)
		for i, tp := range still {
			if errs == nil || errs[i] == nil { // otherwise the next round asks again
				t.queue(tp, tp.compare(tops[i]))
			}
		}
	}
}
