package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// pipes has a pipe for each master, and gives each command to that of its key's.
type pipes struct {
	store   *Store
	single  *pipe // where there is one master
	running sync.WaitGroup
	stop    chan struct{}

	moves moves

	mu    sync.RWMutex
	of    map[string]*pipe // by address, of the masters that go-redis knows
	named map[string]*pipe // by address, of those that other masters have named
}

// idlePipe is after how long a pipe that nobody uses may be forgotten.
const idlePipe = time.Minute

func newPipes(s *Store) *pipes {
	p := &pipes{store: s, stop: make(chan struct{}), of: make(map[string]*pipe), named: make(map[string]*pipe)}
	p.moves.of = make(map[string]*move)
	if client, ok := s.client.(*redis.Client); ok {
		p.single = p.newPipe(client)
	}
	return p
}

func (p *pipes) newPipe(client *redis.Client) *pipe {
	one := &pipe{client: client, timeout: p.store.cfg.Timeout, running: &p.running, stop: p.stop, strict: make(chan struct{}, strictFlights)}
	if p.store.cluster != nil {
		one.reload = func() { p.store.cluster.ReloadState(context.Background()) } // which only asks for it
	}
	return one
}

// wait ends what runs in the background and waits for the pipelines that are under way.
func (p *pipes) wait() {
	close(p.stop)
	p.running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.named {
		_ = one.client.Close() // nothing is under way
	}
}

// do carries out commands and returns when all have an answer or an error. When ctx ends before,
// the outcome is unknown and the commands must not be read.
func (p *pipes) do(ctx context.Context, cmds []redis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	if p.single != nil {
		return pass(ctx, p.single, cmds)
	}
	if len(cmds) == 0 {
		return nil
	}
	return p.follow(ctx, cmds)
}

// doOne is do for a single command.
func (p *pipes) doOne(ctx context.Context, cmd redis.Cmder) error {
	if p.single == nil {
		return p.do(ctx, []redis.Cmder{cmd})
	}
	if err := ctx.Err(); err != nil {
		return bus.ErrStoreUnavailable.Wrap(err)
	}
	b := batches.Get().(*batch) //nolint:forcetypeassert // the pool has nothing else
	b.one[0] = cmd
	b.cmds = b.one[:]
	if !p.single.enter(b) {
		b.free()
		return nil
	}
	return p.single.wait(ctx, b)
}

// pass carries out commands at one master.
func pass(ctx context.Context, to *pipe, cmds []redis.Cmder) error {
	b := batches.Get().(*batch) //nolint:forcetypeassert // the pool has nothing else
	b.cmds = cmds
	if !to.enter(b) {
		b.free()
		return nil
	}
	return to.wait(ctx, b)
}

// spread gives each command to the pipe of its master, and waits for all of them. Commands of one address stay in order.
func (p *pipes) spread(ctx context.Context, cmds []redis.Cmder) error {
	parts, err := p.parts(ctx, cmds)
	if err != nil {
		return err
	}
	if len(parts) == 1 {
		return pass(ctx, parts[0].to, parts[0].cmds)
	}
	waiting := make([]*batch, len(parts))
	for i, part := range parts {
		b := batches.Get().(*batch) //nolint:forcetypeassert // the pool has nothing else
		b.cmds = part.cmds
		if part.to.enter(b) {
			waiting[i] = b
		} else {
			b.free()
		}
	}
	for i, b := range waiting {
		if b == nil {
			continue
		}
		if err := parts[i].to.wait(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// part is the commands of one caller for one master.
type part struct {
	to   *pipe
	cmds []redis.Cmder
}

// parts sorts commands by their masters. Most batches have one: nothing is copied then.
func (p *pipes) parts(ctx context.Context, cmds []redis.Cmder) ([]part, error) {
	all := make([]*pipe, len(cmds))
	same := true
	for i, c := range cmds {
		var err error
		if all[i], err = p.ofKey(ctx, keyOf(c)); err != nil {
			return nil, err
		}
		same = same && all[i] == all[0]
	}
	if same {
		return []part{{all[0], cmds}}, nil
	}
	var parts []part
	places := make(map[*pipe]int)
	for i, to := range all {
		at, ok := places[to]
		if !ok {
			at = len(parts)
			places[to] = at
			parts = append(parts, part{to: to})
		}
		parts[at].cmds = append(parts[at].cmds, cmds[i])
	}
	return parts, nil
}

// keyOf returns the key by which a command finds its master.
func keyOf(c redis.Cmder) string {
	args := c.Args()
	at := 1
	if name, _ := args[0].(string); name == "evalsha" || name == "eval" {
		at = 3
	}
	if at >= len(args) {
		return ""
	}
	if key, ok := args[at].(string); ok {
		return key
	}
	return fmt.Sprint(args[at])
}

// ofKey returns the pipe of the master that has a key.
func (p *pipes) ofKey(ctx context.Context, key string) (*pipe, error) {
	if p.single != nil {
		return p.single, nil
	}
	client, err := p.store.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, bus.ErrStoreUnavailable.Wrap(err)
	}
	return p.ofClient(client), nil
}

// ofClient returns the pipe of a master. A master that comes back at its address has another client.
func (p *pipes) ofClient(client *redis.Client) *pipe {
	if p.single != nil {
		return p.single
	}
	addr := client.Options().Addr
	p.mu.RLock()
	one := p.of[addr]
	p.mu.RUnlock()
	if one != nil && one.client == client {
		return one
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if one = p.of[addr]; one != nil && one.client == client {
		return one
	}
	forgetIdle(p.of)
	one = p.newPipe(client)
	p.of[addr] = one
	return one
}

func forgetIdle(pipes map[string]*pipe) (forgotten []*pipe) {
	now := time.Now()
	for addr, one := range pipes {
		if one.idle(now) {
			delete(pipes, addr)
			forgotten = append(forgotten, one)
		}
	}
	return forgotten
}

// ofAddr returns the pipe of a master that another one has named: go-redis may not know it yet.
func (p *pipes) ofAddr(addr string) *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.of[addr]; one != nil {
		return one
	}
	one := p.named[addr]
	if one == nil {
		for _, old := range forgetIdle(p.named) {
			_ = old.client.Close() // nobody uses it
		}
		one = p.newPipe(redis.NewClient(p.nodeOptions(addr)))
		p.named[addr] = one
	}
	return one
}

// nodeOptions are those of the Cluster's for one of its masters.
func (p *pipes) nodeOptions(addr string) *redis.Options {
	o := p.store.cluster.Options()
	return &redis.Options{
		Addr: addr, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig, Protocol: o.Protocol, MaxRetries: o.MaxRetries,
		DialerRetries: o.DialerRetries, ContextTimeoutEnabled: o.ContextTimeoutEnabled, DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout,
		WriteTimeout: o.WriteTimeout, PoolTimeout: o.PoolTimeout, MaintNotificationsConfig: plain(),
	}
}

// idle says whether nobody has used a pipe for a while.
func (p *pipe) idle(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flights == 0 && len(p.waiting) == 0 && p.silence == heard && now.Sub(p.started) > idlePipe
}
