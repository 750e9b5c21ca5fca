package behind

import (
	"context"
	"time"
)

// Line is a queue of numbers, each of which has its own size, and the worker that writes it.
type Line struct {
	numbers queue[int]
	worker  worker
}

// NewLine returns an empty line whose worker writes batches of a size, rests for a second, and has ten at the end.
func NewLine(limit, batch int, write func(context.Context, []int) error) *Line {
	l := &Line{numbers: queue[int]{limit: limit, wake: make(chan struct{}, 1), size: func(n int) int { return n }}}
	l.worker = worker{wake: l.numbers.wake, rest: time.Second, last: 10 * time.Second, step: func(ctx context.Context) (bool, error) {
		taken := l.numbers.take(batch)
		if len(taken) == 0 {
			return false, nil
		}
		err := write(ctx, taken)
		if err != nil {
			l.numbers.back(taken)
		}
		return true, err
	}}
	return l
}

// Put adds a number, unless there is no room.
func (l *Line) Put(n int) bool { return l.numbers.put(n) }

// Force adds a number in any case.
func (l *Line) Force(n int) { l.numbers.force(n) }

// Filled is the sum of what waits.
func (l *Line) Filled() int { return l.numbers.filled() }

// Run writes until ctx ends, and says whether everything was written.
func (l *Line) Run(ctx context.Context) bool { return l.worker.run(ctx) }
