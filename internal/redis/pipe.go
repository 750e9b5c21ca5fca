package redis

import (
	"context"
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
	cmds []redis.Cmder
	done chan struct{}
}

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
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	b := &batch{cmds: cmds, done: make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, b)
	if p.flights == 0 || p.flights < maxFlights && p.another() {
		p.flights++
		p.started = time.Now()
		p.running.Go(p.fly)
	}
	p.mu.Unlock()
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
}

// another says whether another pipeline is worth while. In a Cluster it always is: one that waits for a node that has died holds up the
// other nodes' commands. The caller holds the lock.
func (p *pipes) another() bool {
	return p.store.cluster != nil || len(p.waiting) >= fullFlight || time.Since(p.started) > slowFlight
}

// fly sends pipelines until nobody waits.
func (p *pipes) fly() {
	for {
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
		batches := p.waiting[:n:n]
		p.waiting = p.waiting[n:]
		p.mu.Unlock()
		p.send(batches, size)
		for _, b := range batches {
			close(b.done)
		}
	}
}

func (p *pipes) send(batches []*batch, size int) {
	cmds := make([]redis.Cmder, 0, size)
	for _, b := range batches {
		cmds = append(cmds, b.cmds...)
	}
	for try := 0; ; try++ {
		p.exec(cmds)
		cmds = p.moved(cmds)
		if len(cmds) == 0 || try == maxMoves {
			return
		}
		// The slots are being moved: go-redis learns where to.
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(try+1)*20*time.Millisecond)
		p.store.cluster.ReloadState(ctx)
		<-ctx.Done()
		cancel()
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
			c.SetErr(nil)
			again = append(again, c)
		}
	}
	return again
}
