// Package pipes carries commands to the masters of Redis. It does so in pipelines that all callers share, with one line of
// waiting callers for each master. It also follows a slot that is on its way to another master. It knows no keys and no scripts.
package pipes

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// Config is what pipes are told of the store that they belong to.
type Config struct {
	// Client is of a single server or of a Cluster. It is not closed.
	Client redis.UniversalClient
	// Timeout is for every pipeline.
	Timeout time.Duration
	// Never returns the name of a key that is never there, beside one that may be. In a Cluster every script names such a key last.
	Never func(beside string) string
	// Script returns the text of the script with a hash.
	Script func(hash string) string
	// Answered is told of each command that was answered with an error. It must not wait. Nil for nobody.
	Answered func(cmd redis.Cmder)
	// Metrics takes the metrics; none are registered without it.
	Metrics prometheus.Registerer
	// Log is told of slots that cannot be followed.
	Log *slog.Logger
}

// Pipes has a pipe for each master, and gives each command to that of its key's. All methods may be called at once.
type Pipes struct {
	cfg     Config
	single  *Pipe                // where there is one master
	cluster *redis.ClusterClient // where there are several
	running sync.WaitGroup
	stop    chan struct{}
	refused prometheus.Counter
	moves   moves

	mu    sync.RWMutex
	of    map[string]*Pipe // by address, of the masters that go-redis knows
	named map[string]*Pipe // by address, of those that other masters have named
}

// New returns pipes over a client. Close ends them.
func New(cfg Config) *Pipes {
	p := &Pipes{cfg: cfg, stop: make(chan struct{}), of: make(map[string]*Pipe), named: make(map[string]*Pipe)}
	p.moves.of = make(map[string]*move)
	p.refused = newMetrics(cfg.Metrics, p.waiting)
	switch client := cfg.Client.(type) {
	case *redis.Client:
		p.single = p.newPipe(client)
	case *redis.ClusterClient:
		p.cluster = client
	}
	return p
}

// Close ends what runs in the background and waits for the pipelines that are under way.
func (p *Pipes) Close() {
	close(p.stop)
	p.running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.named {
		_ = one.client.Close() // nothing is under way
	}
}

// Do carries out commands and returns when all have an answer or an error. When ctx ends before,
// the outcome is unknown and the commands must not be read.
func (p *Pipes) Do(ctx context.Context, cmds []redis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	if p.single != nil {
		return pass(ctx, p.single, cmds)
	}
	// Without a command there is no key, and so no master.
	if len(cmds) == 0 {
		return nil
	}
	return p.follow(ctx, cmds)
}

// DoOne is Do for a single command. It makes no list of one, because it is on the way of every live message.
func (p *Pipes) DoOne(ctx context.Context, cmd redis.Cmder) error {
	if p.single == nil {
		return p.Do(ctx, []redis.Cmder{cmd})
	}
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	b := newBatch()
	b.one[0] = cmd
	b.cmds = b.one[:]
	// The command has its error, which the caller reads as it reads an answer of Redis.
	if !p.single.enter(b) {
		b.free()
		return nil
	}
	return p.single.wait(ctx, b)
}

// EachMaster calls f for every master, at once, and returns the first error.
func (p *Pipes) EachMaster(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	if p.single != nil {
		return f(ctx, p.single.client)
	}
	return p.cluster.ForEachMaster(ctx, f)
}
