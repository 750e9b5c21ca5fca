package app

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/telemetry"
	"github.com/trunkline/trunkline/services/edge"
)

// process is what one process runs. newProcess makes it whole; what its roles have no need of is nil.
type process struct {
	base
	life    string // the name under which the store knows this run of the process
	started time.Time
	devKey  string // the throw-away API key of development mode

	services *services
	edge     *edge.Edge
	ready    []telemetry.Check

	http, internal *listener
	legacy         []*sharedListener

	closers closers
}

// newProcess builds everything that the configuration asks for, from the store up to the listeners. Nothing runs yet, and on an
// error nothing is left open. The process is ready until stopping ends. Clients are served until front does, and what serves
// them lives on until back ends.
func newProcess(m moments, cfg config.Config, tel *telemetry.Telemetry) (_ *process, err error) {
	var open closers
	defer func() {
		if err != nil {
			err = errors.Join(err, open.close())
		}
	}()
	if err := checkFiles(cfg); err != nil {
		return nil, err
	}
	b, err := newBase(m.back, cfg, tel, &open)
	if err != nil {
		return nil, err
	}
	keys, devKey, err := apiKeys(cfg)
	protocols, err2 := olderProtocols(b)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	services, err := newServices(m.back, b, keys, protocols, &open)
	life := bus.LifeName(cfg.Node, random(6))
	sockets, err2 := newEdge(b, life, protocols)
	if err := errors.Join(err, err2); err != nil { // neither needs the other, so both say what is wrong
		return nil, err
	}
	ready := checks(m.stopping, b, services, sockets)
	handler, err := newHandler(m.front, b, sockets, devKey)
	if err != nil {
		return nil, err
	}
	http, err := newClientListener(b, handler)
	if err != nil {
		return nil, err
	}
	p := &process{
		base: b, life: life, started: time.Now(), devKey: devKey, services: services, edge: sockets, ready: ready,
		http: http, internal: newInternalListener(b, ready), legacy: newLegacyListeners(b, sockets, protocols),
	}
	for _, l := range append(p.clientListeners(), p.internal) {
		open.add(l.close)
	}
	p.closers = open
	return p, nil
}

// tryBuild builds a process as Run does, and throws it away. It binds no port, and nobody outside is asked: the contexts are over.
func tryBuild(cfg config.Config) error {
	cfg = complete(cfg)
	cfg.GRPC.Listen = "" // the only port that is bound while a process is built
	over, end := newMoments(context.Background())
	end()
	tel, err := newTelemetry(cfg, io.Discard)
	if err != nil {
		return err
	}
	p, err := newProcess(over, cfg, tel)
	if err != nil {
		return err
	}
	return p.closers.close()
}

// clientListeners returns every HTTP listener of clients.
func (p *process) clientListeners() []*listener {
	all := []*listener{p.http}
	for _, l := range p.legacy {
		all = append(all, l.listener)
	}
	return all
}

// listen binds every port, so that one that is taken is known before anything runs.
func (p *process) listen(ctx context.Context) error {
	for _, l := range append(p.clientListeners(), p.internal) {
		if err := l.open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runBack starts what the listeners of clients rely on.
func (p *process) runBack(stopping, ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return tuneGC(ctx) })
	if asked, ok := p.authorizer.(*hooks.Authorizer); ok {
		g.Go(func() error { return asked.Run(ctx) })
	}
	if p.services != nil {
		p.services.run(ctx, g)
		g.Go(func() error { return tellHealth(stopping, ctx, p.services.server, p.ready) })
	}
	if m, ok := p.store.(*memory.Store); ok {
		g.Go(func() error { return m.Run(ctx) })
	}
	if p.store != nil {
		g.Go(func() error { return p.revoked.Run(ctx) })
		g.Go(func() error { return p.quotas.Run(ctx) })
		g.Go(func() error { return p.beat(ctx) })
	}
	if p.internal != nil {
		g.Go(func() error { return p.internal.Run(ctx, ctx, p.tel.Log) })
	}
}

// runFront starts what clients see; it is stopped first. From stopping on it is about to. Something always waits for ctx.
func (p *process) runFront(stopping, ctx context.Context, g *errgroup.Group) {
	if p.edge != nil {
		g.Go(func() error { return p.edge.Run(ctx) })
	}
	for _, l := range p.clientListeners() {
		if l != nil {
			g.Go(func() error { return l.Run(stopping, ctx, p.tel.Log) })
		}
	}
	if p.http != nil && p.http.certificate != nil {
		g.Go(func() error { return p.http.certificate.Run(ctx) })
	}
	g.Go(func() error {
		<-ctx.Done()
		return nil
	})
}

// beat says that this process is alive until ctx ends.
func (p *process) beat(ctx context.Context) error {
	tick := time.NewTicker(bus.NodeTTL / 3)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := p.store.Beat(call, bus.Node{
			Life: p.life, Roles: p.cfg.Roles, Version: p.cfg.Version, Started: p.started, Connections: p.connections(),
		})
		cancel()
		if err != nil && ctx.Err() == nil {
			p.tel.Log.Warn("cannot say that this node is alive", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := p.store.Gone(call, p.life); err != nil {
				p.tel.Log.Warn("cannot say that this node has gone", "error", err.Error())
			}
			return nil
		case <-tick.C:
		}
	}
}

func (p *process) connections() int64 {
	if p.edge == nil {
		return 0
	}
	return p.edge.Connections()
}

func (p *process) running() Running {
	r := Running{
		Config: p.cfg, HTTP: p.http.address(), Internal: p.internal.address(), Legacy: make(map[string]string),
		DevKey: p.devKey, Connections: p.connections,
	}
	if p.services != nil {
		r.GRPC = p.services.address()
	}
	for _, l := range p.legacy {
		for _, part := range l.parts {
			r.Legacy[part.Key] = l.address()
		}
	}
	return r
}
