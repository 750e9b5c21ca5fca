package pipes

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/server"
)

// Demand is what has to have a write before it counts.
type Demand struct {
	// Replicas is how many replicas have to have it.
	Replicas int
	// Fsync asks for the disk of the master.
	Fsync bool
}

// Proof is what a server says of the writes before it on the same connection: how many replicas have them, and whether the disk has.
type Proof struct {
	Replicas int
	Synced   bool
}

// replicaWait is how long replicas have to acknowledge.
const replicaWait = time.Second

// Syncs says how a master syncs; ErrNotDurable when it does not.
func (p *Pipe) Syncs(ctx context.Context, log *slog.Logger) (server.Sync, error) {
	return p.syncs.Of(ctx, p.client, p.timeout, log)
}

// Reserve waits for one of the places of those who wait for replicas or the disk of a master. The place is given back by release.
func (p *Pipe) Reserve(ctx context.Context) (release func(), err error) {
	select {
	case p.durable <- struct{}{}:
		return func() { <-p.durable }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Prove carries out commands on a connection of their own, and asks at the end which servers have their writes. The connection is
// their own because a WAIT is about the writes of its own connection. The caller holds a place. Each command has its own error.
func (p *Pipes) Prove(ctx context.Context, w Way, cmds []redis.Cmder, d Demand, how server.Sync) Proof {
	pipe := w.To.client.Pipeline()
	var variants []asked
	for _, c := range cmds {
		if w.asking {
			// ASKING holds for one command, so each has its own.
			a := p.askingFor(ctx, c)
			variants = append(variants, a)
			c = a.sent
			_ = pipe.Process(ctx, redis.NewStatusCmd(ctx, "asking"))
		}
		_ = pipe.Process(ctx, c)
	}
	said := ask(ctx, pipe, d, how)
	call, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	err := w.To.carryOut(call, pipe)
	cancel()
	// A caller that gave up early says nothing about the server.
	if timedOut(err) && ctx.Err() == nil {
		w.To.running.Go(w.To.suspect)
	}
	var pushes []redis.Cmder
	for _, a := range variants {
		pushes = append(pushes, a.answer(ctx)...)
	}
	_ = p.pushAt(ctx, w.from, pushes) // a push that is lost is found by the next offset
	return said.read()
}

// answers are the commands at the end of a pipeline that ask who has its writes. Those that were not asked are nil.
type answers struct {
	wait  *redis.IntCmd
	local *redis.IntSliceCmd
	conf  *redis.MapStringStringCmd
}

// ask asks at the end of a pipeline who has its writes.
func ask(ctx context.Context, pipe redis.Pipeliner, d Demand, how server.Sync) answers {
	var a answers
	if d.Replicas > 0 {
		a.wait = redis.NewIntCmd(ctx, "wait", d.Replicas, replicaWait.Milliseconds())
		_ = pipe.Process(ctx, a.wait)
	}
	switch how {
	case server.SyncWait:
		a.local = redis.NewIntSliceCmd(ctx, "waitaof", 1, 0, replicaWait.Milliseconds())
		_ = pipe.Process(ctx, a.local)
	case server.SyncAlways: // of this server, now: another one may have taken over since it was found out
		a.conf = redis.NewMapStringStringCmd(ctx, "config", "get", "append*")
		_ = pipe.Process(ctx, a.conf)
	case server.SyncNone:
	}
	return a
}

// read returns what was answered. What was not answered in time proves nothing.
func (a answers) read() (p Proof) {
	if a.wait != nil && a.wait.Err() == nil {
		p.Replicas = int(a.wait.Val())
	}
	if a.local != nil && a.local.Err() == nil && len(a.local.Val()) == 2 {
		// The first number is about the disk of the master, the second about those of its replicas.
		p.Synced = a.local.Val()[0] >= 1
	}
	if a.conf != nil && a.conf.Err() == nil {
		p.Synced = a.conf.Val()["appendonly"] == "yes" && a.conf.Val()["appendfsync"] == "always"
	}
	return p
}
