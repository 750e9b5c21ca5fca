package tail

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// jobs is the queue of topics that wait for a healer. A topic is in it at most once.
type jobs struct {
	mu    sync.Mutex
	queue []*topic
	wake  chan struct{}
}

func newJobs() *jobs { return &jobs{wake: make(chan struct{}, 1)} }

func (j *jobs) push(tp *topic) {
	j.mu.Lock()
	j.queue = append(j.queue, tp)
	j.mu.Unlock()
	j.signal()
}

func (j *jobs) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// pop waits for a topic; nil when ctx has ended.
func (j *jobs) pop(ctx context.Context) *topic {
	for {
		j.mu.Lock()
		if len(j.queue) > 0 {
			tp := j.queue[0]
			j.queue = j.queue[1:]
			more := len(j.queue) > 0
			j.mu.Unlock()
			if more {
				j.signal()
			}
			return tp
		}
		j.mu.Unlock()
		select {
		case <-j.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *Tail) healLoop(ctx context.Context) error {
	for {
		tp := t.jobs.pop(ctx)
		if tp == nil {
			return nil
		}
		t.heal(ctx, tp)
	}
}

// heal reads the log from the topic's position to its top, as often as the store needs to answer.
func (t *Tail) heal(ctx context.Context, tp *topic) {
	for try := 0; ctx.Err() == nil; try++ {
		from, ok := tp.startRead()
		if !ok {
			return
		}
		if err := t.readOn(ctx, tp, from); err != nil {
			if try == 0 {
				t.cfg.Log.Warn("cannot read the log to heal an address, trying on", slog.String("error", err.Error()))
			}
			pause(ctx, try)
			continue
		}
		if tp.endRead(t.sink) {
			t.jobs.push(tp)
		}
		return
	}
}

func (t *Tail) readOn(ctx context.Context, tp *topic, from bus.Position) error {
	for more := true; more; {
		p, err := t.readPage(ctx, place{tp.address, from})
		if err != nil {
			return err
		}
		if p.Gap != nil {
			t.sink.Gap(*p.Gap)
			tp.healed(p.Gap.To)
		}
		for _, m := range p.Messages {
			t.sink.Deliver(m)
		}
		tp.healed(p.Next)
		from, more = p.Next, p.More
	}
	return nil
}

// gapBefore describes what is missing between from and the page that the log answered with.
func gapBefore(a bus.Address, from bus.Position, p bus.Page) bus.Gap {
	g := bus.Gap{Address: a, From: from, To: p.Next, Reason: bus.GapTrimmed}
	if len(p.Messages) > 0 {
		first := p.Messages[0].Position
		g.To = bus.Position{Epoch: first.Epoch, Offset: first.Offset - 1}
	}
	switch {
	case from.Epoch != g.To.Epoch:
		g.Reason = bus.GapEpoch
	case from.Offset > g.To.Offset:
		g.Reason = bus.GapStoreReset // the log has lost its end
	}
	return g
}

// pause waits between tries: full jitter up to 2 s.
func pause(ctx context.Context, try int) {
	limit := min(50*time.Millisecond<<min(try, 6), 2*time.Second)
	timer := time.NewTimer(rand.N(limit)) //nolint:gosec // jitter, not a secret
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// checkChunk is how many positions one check asks for.
const checkChunk = 512

func (t *Tail) checkLoop(ctx context.Context) error {
	ticker := time.NewTicker(t.cfg.CheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			t.check(ctx)
		}
	}
}

// check compares the positions of quiet addresses with the tops of their logs.
func (t *Tail) check(ctx context.Context) {
	var quiet []*topic
	t.mu.RLock()
	for _, tp := range t.topics {
		if tp.checkable() {
			quiet = append(quiet, tp)
		}
	}
	t.mu.RUnlock()
	for len(quiet) > 0 && ctx.Err() == nil {
		n := min(len(quiet), checkChunk)
		t.checkSome(ctx, quiet[:n])
		quiet = quiet[n:]
	}
}

func (t *Tail) checkSome(ctx context.Context, topics []*topic) {
	addresses := make([]bus.Address, len(topics))
	for i, tp := range topics {
		addresses[i] = tp.address
	}
	tops, err := t.log.Tops(ctx, addresses)
	if err != nil {
		return // the next round asks again
	}
	for i, tp := range topics {
		if tp.lags(tops[i]) {
			t.suspect(tp)
		}
	}
}
