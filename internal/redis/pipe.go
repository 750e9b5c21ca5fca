package redis

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// pipes sends the commands of all callers in pipelines. A command that comes while a pipeline is under
// way goes with the next one, unless that pipeline takes long or many wait: batches grow with the load, which is what saves
// work, and a single command waits for nobody.
type pipes struct {
	store   *Store
	running sync.WaitGroup

	mu      sync.Mutex
	waiting []*batch
	flights int
	started time.Time // when the last one was
}

// batch is the commands of one caller; they stay together and in order.
type batch struct {
	cmds  []redis.Cmder
	one   [1]redis.Cmder
	since time.Time
	done  chan struct{} // gets one when all have an answer or an error
}

var batches = sync.Pool{New: func() any { return &batch{done: make(chan struct{}, 1)} }}

const (
	// maxFlights is how many pipelines are under way at once. There is a second one when the last has taken
	// longer than slowFlight, or fullFlight callers wait.
	maxFlights = 4
	slowFlight = 4 * time.Millisecond
	fullFlight = 128
	// maxPipeline is how many commands go into one, about.
	maxPipeline = 512
	// maxMoves is how often a command follows a slot.
	maxMoves = 4
)

func newPipes(s *Store) *pipes { return &pipes{store: s} }

func (p *pipes) wait() { p.running.Wait() }

// do carries out commands and returns when all have an answer or an error. When ctx ends before,
// the outcome is unknown and the commands must not be read.
func (p *pipes) do(ctx context.Context, cmds []redis.Cmder) error {
	b := batches.Get().(*batch) //nolint:forcetypeassert // the pool has nothing else
	b.cmds = cmds
	return p.enter(ctx, b)
}

// doOne is do for a single command.
func (p *pipes) doOne(ctx context.Context, cmd redis.Cmder) error {
	b := batches.Get().(*batch) //nolint:forcetypeassert // the pool has nothing else
	b.one[0] = cmd
	b.cmds = b.one[:]
	return p.enter(ctx, b)
}

func (p *pipes) enter(ctx context.Context, b *batch) error {
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	b.since = time.Now()
	p.mu.Lock()
	p.waiting = append(p.waiting, b)
	if p.flights == 0 || p.flights < maxFlights && p.another(b.since) {
		p.flights++
		p.started = b.since
		p.running.Go(p.fly)
	}
	p.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok && deadline.Sub(b.since) > p.patience() {
		<-b.done // which comes before the deadline, so that there is no need for a timer
	} else {
		select {
		case <-b.done:
		case <-ctx.Done():
			return bus.ErrStoreUnavailable.Wrap(ctx.Err())
		}
	}
	b.cmds, b.one[0] = nil, nil
	batches.Put(b)
	return nil
}

// patience is how long a batch takes at the most: one that has waited longer than a pipeline may take is not sent, and nothing is
// sent again to another node once a pipeline has taken that long.
func (p *pipes) patience() time.Duration { return 3 * p.store.cfg.Timeout }

// another says whether another pipeline is worth while. In a Cluster it always is: one that waits for a node that has died holds up the
// other nodes' commands. The caller holds the lock.
func (p *pipes) another(now time.Time) bool {
	return p.store.cluster != nil || len(p.waiting) >= fullFlight || now.Sub(p.started) > slowFlight
}

// fly sends pipelines until nobody waits.
func (p *pipes) fly() {
	var cmds []redis.Cmder
	for {
		runtime.Gosched() // who is about to publish joins
		p.mu.Lock()
		n, size := 0, 0
		for n < len(p.waiting) && (n == 0 || size+len(p.waiting[n].cmds) <= maxPipeline) {
			size += len(p.waiting[n].cmds)
			n++
		}
		if n == 0 {
			p.flights--
			p.mu.Unlock()
			return
		}
		p.started = time.Now()
		now := p.started
		batches := p.waiting[:n:n]
		p.waiting = p.waiting[n:]
		p.mu.Unlock()
		cmds = p.timely(cmds[:0], batches, now)
		if len(cmds) > 0 {
			p.send(cmds, now)
		}
		for _, b := range batches {
			b.done <- struct{}{}
		}
		clear(batches) // they are used again
	}
}

// timely returns the commands of the batches that have not waited for too long. The others are refused.
func (p *pipes) timely(cmds []redis.Cmder, batches []*batch, now time.Time) []redis.Cmder {
	for _, b := range batches {
		if now.Sub(b.since) <= p.store.cfg.Timeout {
			cmds = append(cmds, b.cmds...)
			continue
		}
		for _, c := range b.cmds {
			c.SetErr(errQueued)
		}
	}
	return cmds
}

// errQueued is the error of a command that was not sent.
var errQueued = errors.New("not sent: the commands before it have taken too long")

func (p *pipes) send(cmds []redis.Cmder, start time.Time) {
	for try := 0; ; try++ {
		p.exec(cmds)
		if cmds = p.moved(cmds); len(cmds) == 0 || try == maxMoves || time.Since(start) > p.store.cfg.Timeout {
			return
		}
		// The slots are being moved: go-redis learns where to.
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(try+1)*20*time.Millisecond)
		p.store.cluster.ReloadState(ctx)
		<-ctx.Done()
		cancel()
		for _, c := range cmds {
			c.SetErr(nil)
		}
	}
}

func (p *pipes) exec(cmds []redis.Cmder) {
	ctx, cancel := context.WithTimeout(context.Background(), p.store.cfg.Timeout)
	defer cancel()
	pipe := p.store.client.Pipeline()
	for _, c := range cmds {
		if err := pipe.Process(ctx, c); err != nil {
			c.SetErr(err)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
}

// moved returns the commands that were refused because their slot is elsewhere.
func (p *pipes) moved(cmds []redis.Cmder) []redis.Cmder {
	if p.store.cluster == nil {
		return nil
	}
	var again []redis.Cmder
	for _, c := range cmds {
		if moved(c.Err()) || refusedBefore(c.Err()) {
			again = append(again, c)
		}
	}
	return again
}
