package behind

import (
	"context"
	"slices"
	"sync"
	"time"
)

// queue is what waits in memory for the store, oldest first. It may be used concurrently.
type queue[T any] struct {
	// size is how much room an item takes; nil when each takes one.
	size func(T) int
	// limit is how much room put fills; 0 for no bound.
	limit int
	wake  chan struct{} // of the worker that takes

	mu     sync.Mutex
	list   []T
	weight int // the sizes of all items
}

// put adds an item at the end and wakes the worker. It returns false, and adds nothing, when the item finds no room.
func (q *queue[T]) put(item T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.sizeOf(item)
	// An item without a size carries nothing that could fill the memory, so it always finds room.
	if n > 0 && q.limit > 0 && q.weight+n > q.limit {
		return false
	}
	q.add(item, n)
	return true
}

// force is put without the bound, for the end of something whose beginning was let in.
func (q *queue[T]) force(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(item, q.sizeOf(item))
}

// add appends an item. The caller holds the lock.
func (q *queue[T]) add(item T, size int) {
	q.list = append(q.list, item)
	q.weight += size
	signal(q.wake)
}

// take removes the oldest items and returns them: as many as it takes to reach a size, and all when there are fewer.
func (q *queue[T]) take(size int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, sum := 0, 0
	for n < len(q.list) && sum < size {
		sum += q.sizeOf(q.list[n])
		n++
	}
	batch := q.list[:n:n]
	q.list = q.list[n:]
	q.weight -= sum
	if len(q.list) == 0 {
		q.list = nil // an empty queue keeps no memory
	}
	return batch
}

// back returns items that were taken, in front of the others. It does not wake the worker, which is the one that calls it.
func (q *queue[T]) back(items []T) {
	if len(items) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(slices.Clip(items), q.list...)
	for _, item := range items {
		q.weight += q.sizeOf(item)
	}
}

// each calls f for every item, oldest first. f must not call the queue.
func (q *queue[T]) each(f func(T)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, item := range q.list {
		f(item)
	}
}

// filled is the sizes of all items.
func (q *queue[T]) filled() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.weight
}

func (q *queue[T]) sizeOf(item T) int {
	if q.size == nil {
		return 1
	}
	return q.size(item)
}

// worker writes what waits in queues: step by step while something is there, and again after a rest when the store refuses.
type worker struct {
	wake chan struct{}
	// step writes one batch. It returns false when nothing waits, and an error when the store did not take the batch.
	step func(ctx context.Context) (bool, error)
	rest time.Duration
	// last is how long what is left at the end may take; 0 for as long as it takes.
	last time.Duration
	// tick, if set, is called in between, once in every. It may run while the store refuses.
	tick  func(ctx context.Context)
	every time.Duration

	stuck bool // the store did not take the last batch
}

// run writes until ctx ends, and then what is left. It returns false when some of that could not be written.
func (w *worker) run(ctx context.Context) bool {
	again := time.NewTimer(w.rest)
	again.Stop()
	var tick <-chan time.Time // never, without a tick
	if w.tick != nil {
		ticker := time.NewTicker(w.every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		wake := w.wake
		if w.stuck {
			wake = nil // a store that refuses is not asked again for every item that comes
		}
		select {
		case <-ctx.Done():
			again.Stop()
			return w.finish(ctx)
		case <-tick:
			w.tick(ctx)
			continue
		case <-wake:
		case <-again.C:
		}
		if w.write(ctx); w.stuck {
			again.Reset(w.rest)
		}
	}
}

// write writes everything that waits, or as much as the store takes.
func (w *worker) write(ctx context.Context) {
	for {
		more, err := w.step(ctx)
		w.stuck = err != nil
		if w.stuck || !more {
			return
		}
	}
}

// finish writes what is left.
func (w *worker) finish(ctx context.Context) bool {
	ctx = context.WithoutCancel(ctx)
	if w.last > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.last)
		defer cancel()
	}
	for w.write(ctx); w.stuck; w.write(ctx) {
		again := time.NewTimer(w.rest)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return false
		}
	}
	return true
}

// signal wakes whoever waits for the channel, which has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
