package pipes

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

func (p *Pipes) newPipe(client *redis.Client) *Pipe {
	one := &Pipe{
		client: client, timeout: p.cfg.Timeout, running: &p.running, stop: p.stop, durable: make(chan struct{}, durableFlights), refused: p.refused,
		told: p.cfg.Answered,
	}
	if p.cluster != nil {
		one.reload = func() { p.cluster.ReloadState(context.Background()) } // which only asks for it
	}
	return one
}

// OfKey returns the pipe of the master that has a key.
func (p *Pipes) OfKey(ctx context.Context, key string) (*Pipe, error) {
	if p.single != nil {
		return p.single, nil
	}
	client, err := p.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, bus.ErrStoreUnavailable.Wrap(err)
	}
	return p.OfClient(client), nil
}

// OfClient returns the pipe of a master. A master that comes back at its address has another client.
func (p *Pipes) OfClient(client *redis.Client) *Pipe {
	if p.single != nil {
		return p.single
	}
	addr := client.Options().Addr
	p.mu.RLock()
	one := p.of[addr]
	p.mu.RUnlock()
	if one != nil && one.client == client {
		return one.use()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Another caller may have made it between the two locks.
	if one = p.of[addr]; one != nil && one.client == client {
		return one.use()
	}
	// Only where one is added, because the map grows nowhere else. go-redis owns these clients and closes them.
	forgetIdle(p.of)
	one = p.newPipe(client)
	p.of[addr] = one
	return one.use()
}

func forgetIdle(pipes map[string]*Pipe) (forgotten []*Pipe) {
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
func (p *Pipes) ofAddr(addr string) *Pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Its line is shared with all other callers, and knows whether the master answers.
	if one := p.of[addr]; one != nil {
		return one.use()
	}
	one := p.named[addr]
	if one == nil {
		for _, old := range forgetIdle(p.named) {
			_ = old.client.Close() // nobody uses it
		}
		one = p.newPipe(redis.NewClient(p.nodeOptions(addr)))
		p.named[addr] = one
	}
	return one.use()
}

// nodeOptions are the Cluster's options, for one of its masters.
func (p *Pipes) nodeOptions(addr string) *redis.Options {
	o := p.cluster.Options()
	return &redis.Options{
		Addr: addr, Username: o.Username, Password: o.Password, CredentialsProviderContext: o.CredentialsProviderContext,
		TLSConfig: o.TLSConfig, Protocol: o.Protocol, MaxRetries: o.MaxRetries,
		DialerRetries: o.DialerRetries, ContextTimeoutEnabled: o.ContextTimeoutEnabled, DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout,
		WriteTimeout: o.WriteTimeout, PoolTimeout: o.PoolTimeout, PoolSize: o.PoolSize, MaintNotificationsConfig: o.MaintNotificationsConfig,
	}
}

// waiting is how many batches wait, over all masters.
func (p *Pipes) waiting() int {
	if p.single != nil {
		return p.single.length()
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	n := 0
	for _, one := range p.of {
		n += one.length()
	}
	for _, one := range p.named {
		n += one.length()
	}
	return n
}
