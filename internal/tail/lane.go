package tail

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// lane is the addresses that wait for one kind of work, each with a time of its own, and bounds how many workers there are. An address
// is in one lane at most. What failed goes into another lane than what is new, so that it never stands in the way.
type lane struct {
	batch int           // how many addresses a worker takes
	quick chan struct{} // places of workers that have not been at it for long
	all   chan struct{} // places of all workers
	wake  chan struct{}

	mu    sync.Mutex
	ready []*followed // in order
	later schedule
}

// lanes are what a Tail has to do: addresses whose log is read, addresses whose top is asked for, and each again for what failed.
type lanes struct{ reads, rereads, tops, retops *lane }

const (
	// topBatch is how many tops one call asks for.
	topBatch = 512
	// readers and askers are how many calls a lane has under way, while they take no longer than slowCall. Slower calls make room
	// for others, up to slowRoom times as many.
	readers  = 8
	askers   = 4
	slowCall = 500 * time.Millisecond
	slowRoom = 4
)

func newLanes() lanes {
	return lanes{
		reads: newLane(1, readers), rereads: newLane(1, readers),
		tops: newLane(topBatch, askers), retops: newLane(topBatch, askers),
	}
}

func newLane(batch, workers int) *lane {
	return &lane{
		batch: batch, quick: make(chan struct{}, workers), all: make(chan struct{}, workers*slowRoom), wake: make(chan struct{}, 1),
	}
}

// queue gives an address to the lane that sees to what it needs.
func (l lanes) queue(f *followed, w work) {
	switch {
	case w.kind == readLog && w.failed:
		l.rereads.push(w.pause, f)
	case w.kind == readLog:
		l.reads.push(w.pause, f)
	case w.kind == askTop && w.failed:
		l.retops.push(w.pause, f)
	case w.kind == askTop:
		l.tops.push(w.pause, f)
	}
}

func (l *lane) push(pause time.Duration, list ...*followed) {
	l.mu.Lock()
	if pause <= 0 {
		l.ready = append(l.ready, list...)
	} else {
		for _, f := range list {
			heap.Push(&l.later, appointment{time.Now().Add(pause), f})
		}
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// serve hands addresses to workers until ctx ends, and waits for them.
func (l *lane) serve(ctx context.Context, do func(context.Context, []*followed)) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for l.enter(ctx, l.all) && l.enter(ctx, l.quick) {
		batch := l.take(ctx)
		if batch == nil {
			return
		}
		workers.Go(func() {
			defer func() { <-l.all }()
			makeRoom := sync.OnceFunc(func() { <-l.quick })
			defer makeRoom()
			// A server that answers slowly must not hold up addresses of another.
			timer := time.AfterFunc(slowCall, makeRoom)
			defer timer.Stop()
			do(ctx, batch)
		})
	}
}

func (l *lane) enter(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// take waits for addresses whose time has come; nil when ctx has ended.
func (l *lane) take(ctx context.Context) []*followed {
	for {
		batch, wait := l.due()
		if len(batch) > 0 {
			return batch
		}
		timer := time.NewTimer(wait)
		select {
		case <-l.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// due returns what can be seen to, or how long there is nothing.
func (l *lane) due() ([]*followed, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for len(l.later) > 0 && !l.later[0].at.After(now) {
		l.ready = append(l.ready, heap.Pop(&l.later).(appointment).what) //nolint:forcetypeassert // it holds nothing else
	}
	if n := min(len(l.ready), l.batch); n > 0 {
		batch := l.ready[:n:n]
		if l.ready = l.ready[n:]; len(l.ready) == 0 {
			l.ready = nil
		}
		return batch, 0
	}
	if len(l.later) > 0 {
		return nil, l.later[0].at.Sub(now)
	}
	// A push wakes the lane; this only bounds the timer.
	return nil, time.Hour
}

// schedule is a heap of addresses by time.
type schedule []appointment

type appointment struct {
	at   time.Time
	what *followed
}

// Len is part of a heap.
func (s schedule) Len() int { return len(s) }

// Less is part of a heap.
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }

// Swap is part of a heap.
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push is part of a heap.
func (s *schedule) Push(x any) { *s = append(*s, x.(appointment)) } //nolint:forcetypeassert // it holds nothing else

// Pop is part of a heap.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	(*s)[last] = appointment{}
	*s = (*s)[:last]
	return x
}
