package pipes

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// Pipe sends the commands of all callers to one master, in pipelines. A command that comes while a pipeline is under way goes
// with the next one, unless that pipeline takes long or many wait. Batches grow with the load, which is what saves work, and a
// single command waits for nobody. Each master has a pipe of its own, so that nobody waits for another's.
type Pipe struct {
	client  *redis.Client
	timeout time.Duration
	told    func(redis.Cmder) // of answers that are errors
	reload  func()            // learns again which master has which slot; nil where there is one master
	running *sync.WaitGroup
	stop    <-chan struct{} // closed when the store is
	refused prometheus.Counter
	used    atomic.Int64 // when it was last given to a caller, in Unix nanoseconds

	durable chan struct{} // those who wait for replicas or the disk hold a place in it
	syncs   server.Syncs

	mu      sync.Mutex
	waiting []*batch
	flights int
	started time.Time // when the last one was
	silence silence
}

// batch is the commands of one caller for one master; they stay together and in order.
type batch struct {
	cmds  []redis.Cmder
	one   [1]redis.Cmder
	since time.Time
	done  chan struct{} // gets one when all have an answer or an error
}

var batches = sync.Pool{New: func() any { return &batch{done: make(chan struct{}, 1)} }}

func newBatch() *batch {
	return batches.Get().(*batch) //nolint:forcetypeassert // the pool has nothing else
}

func (b *batch) free() {
	// The pool must not keep the messages of a caller in memory.
	b.cmds, b.one[0] = nil, nil
	batches.Put(b)
}

const (
	// maxFlights is how many pipelines to one master are under way at once. There is a second one when the last has taken
	// longer than slowFlight, or fullFlight callers wait.
	maxFlights = 4
	slowFlight = 4 * time.Millisecond
	fullFlight = 128
	// maxPipeline is how many commands go into one, about.
	maxPipeline = 512
	// durableFlights is how many pipelines to one master wait for replicas or the disk at once. They hold a connection each, and
	// the master's pool has to have others for callers that do not wait.
	durableFlights = 8
	// PoolSize is how many connections to one master there may be at once. They are for those that wait, for those that do not, and for
	// single commands. By the library's own rule a process with one core has so few that those that wait could take nearly all.
	PoolSize = durableFlights + maxFlights + 20
	// idlePipe is after how long a pipe that nobody uses may be forgotten.
	idlePipe = time.Minute
	// maxWaiting is how many batches wait for one master; beyond it callers are refused at once.
	maxWaiting = 1 << 16
)

// errQueued is the error of a command that was not sent.
var errQueued = errors.New("not sent: the commands before it have taken too long")

// Client returns the client of the master, for what does not go in line.
func (p *Pipe) Client() *redis.Client { return p.client }

// enter puts a batch in line. It returns false when nothing is sent now; its commands have an error then.
func (p *Pipe) enter(b *batch) bool {
	b.since = time.Now()
	p.mu.Lock()
	if p.silence == silent || len(p.waiting) >= maxWaiting {
		err := errQueued
		if p.silence == silent {
			err = ErrSilent
		}
		p.mu.Unlock()
		p.refuse(b, err)
		return false
	}
	p.waiting = append(p.waiting, b)
	if p.flights == 0 || p.flights < maxFlights && p.another(b.since) {
		p.flights++
		p.started = b.since
		p.running.Go(p.fly)
	}
	p.mu.Unlock()
	return true
}

// wait returns when a batch has its answers. When ctx ends before, the outcome is unknown and the commands must not be read.
func (p *Pipe) wait(ctx context.Context, b *batch) error {
	if deadline, ok := ctx.Deadline(); ok && deadline.Sub(b.since) > p.patience() {
		<-b.done // which comes before the deadline, so that there is no need for a timer
	} else {
		select {
		case <-b.done:
		case <-ctx.Done():
			// The batch does not go back to the pool, because its pipeline still writes to it.
			return bus.ErrStoreUnavailable.Wrap(ctx.Err())
		}
	}
	b.free()
	return nil
}

// pass carries out commands at one master.
func pass(ctx context.Context, to *Pipe, cmds []redis.Cmder) error {
	b := newBatch()
	b.cmds = cmds
	if !to.enter(b) {
		b.free()
		return nil
	}
	return to.wait(ctx, b)
}

// patience is how long a batch takes at the most: one that has waited longer than a pipeline may take is not sent.
func (p *Pipe) patience() time.Duration { return 3 * p.timeout }

// another says whether another pipeline is worth while. The caller holds the lock.
func (p *Pipe) another(now time.Time) bool {
	return len(p.waiting) >= fullFlight || now.Sub(p.started) > slowFlight
}

// fly sends pipelines until nobody waits.
func (p *Pipe) fly() {
	var cmds []redis.Cmder
	for {
		runtime.Gosched() // a caller that is about to publish joins
		p.mu.Lock()
		n, size := 0, 0
		// The first one always goes: a batch that is larger than a pipeline would wait for ever.
		for n < len(p.waiting) && (n == 0 || size+len(p.waiting[n].cmds) <= maxPipeline) {
			size += len(p.waiting[n].cmds)
			n++
		}
		if n == 0 || p.silence != heard { // the goroutine that asks whether it answers goes on when it does
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
		late := len(cmds) > 0 && p.exec(cmds)
		for _, b := range batches {
			b.done <- struct{}{}
		}
		clear(batches) // they are used again
		// Asked only when the callers have their errors, because the answer may take a while.
		if late {
			p.suspect()
		}
	}
}

// timely returns the commands of the batches that have not waited for too long. The others are refused.
func (p *Pipe) timely(cmds []redis.Cmder, batches []*batch, now time.Time) []redis.Cmder {
	for _, b := range batches {
		// One that has waited longer is never sent, which is why wait mostly needs no timer.
		if now.Sub(b.since) <= p.timeout {
			cmds = append(cmds, b.cmds...)
			continue
		}
		p.refuse(b, errQueued)
	}
	return cmds
}

// refuse gives the commands of a batch an error instead of sending them.
func (p *Pipe) refuse(b *batch, err error) {
	p.refused.Inc()
	for _, c := range b.cmds {
		c.SetErr(err)
	}
}

// exec sends one pipeline, and says whether the server did not answer in time.
func (p *Pipe) exec(cmds []redis.Cmder) bool {
	// Not the context of a caller: one that gives up must not end the commands of the others.
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	pipe := p.client.Pipeline()
	for _, c := range cmds {
		if err := pipe.Process(ctx, c); err != nil {
			c.SetErr(err)
		}
	}
	return timedOut(p.carryOut(ctx, pipe))
}

// carryOut sends a pipeline; each of its commands has its own error then. A server may refuse the connection itself, as for a
// wrong password. Then go-redis leaves the commands without an error, and they would count as done although none was sent.
func (p *Pipe) carryOut(ctx context.Context, pipe redis.Pipeliner) error {
	cmds, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	answered := false
	for _, c := range cmds {
		if c.Err() == nil {
			continue
		}
		answered = true
		if p.told != nil {
			p.told(c)
		}
	}
	if answered {
		return err
	}
	for _, c := range cmds {
		c.SetErr(err)
	}
	return err
}

// length is how many batches wait.
func (p *Pipe) length() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// use notes that a caller is given the pipe.
func (p *Pipe) use() *Pipe {
	p.used.Store(time.Now().UnixNano())
	return p
}

// idle says whether nobody has used a pipe for a while.
func (p *Pipe) idle(now time.Time) bool {
	// A caller that was given it may not have put anything in line yet. Were it forgotten now, the caller's next command for the
	// same master would go in another line, and might overtake.
	if now.UnixNano()-p.used.Load() <= int64(idlePipe) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flights == 0 && len(p.waiting) == 0 && p.silence == heard && now.Sub(p.started) > idlePipe
}
