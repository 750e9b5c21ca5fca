package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

// demand is what the strictest publication of a batch asks for.
type demand struct {
	replicas int
	fsync    bool
}

// strictest returns what the publications ask for together; nil when an append is enough for all of them.
func strictest(ps []bus.Publication) *demand {
	var d *demand
	for i := range ps {
		if ps[i].Durability <= bus.Accepted {
			continue
		}
		if d == nil {
			d = new(demand)
		}
		if ps[i].Durability == bus.Replicated {
			d.replicas = max(d.replicas, ps[i].Replicas)
		} else {
			d.fsync = true
		}
	}
	return d
}

// strictFlights is how many pipelines to one master wait for replicas or the disk at once: they hold a connection each, and
// its pool has to have others for those who do not wait.
const strictFlights = 8

// strictly is one batch of publications on its way.
type strictly struct {
	lives    atomic.Int32 // how often a server's life was found to be another
	store    *Store
	ps       []bus.Publication
	calls    []call
	receipts []bus.Receipt
	cmds     []*redis.Cmd
	errs     []error
	demand   *demand
}

// publishStrictly carries out publications and waits until replicas or the disk have them. A WAIT is about the writes of its
// own connection, so the scripts and the WAIT go in one pipeline on one connection, to the master of their keys. What goes to
// one master does not wait for another.
func (s *Store) publishStrictly(ctx context.Context, ps []bus.Publication, calls []call, receipts []bus.Receipt, d *demand) []error {
	return s.strictly(ctx, ps, calls, receipts, d).errs
}

func (s *Store) strictly(ctx context.Context, ps []bus.Publication, calls []call, receipts []bus.Receipt, d *demand) *strictly {
	b := &strictly{store: s, ps: ps, calls: calls, receipts: receipts, cmds: make([]*redis.Cmd, len(ps)), errs: make([]error, len(ps)), demand: d}
	todo := make([]int, len(ps))
	for i := range ps {
		todo[i] = i
		if calls[i].script == nil {
			calls[i] = s.publishCall(&ps[i], false)
		}
	}
	ways := make(map[string]way)
	for start, try := time.Now(), 0; ; try++ {
		todo = b.run(ctx, todo, ways)
		if len(todo) == 0 || !s.pipes.worthATry(b.causes(todo), try, start) {
			return b
		}
		s.cluster.ReloadState(ctx) // the slots are being moved
		if err := b.redirect(ctx, todo, ways); err != nil || (try > 0 || len(ways) == 0) && rest(ctx, try) != nil {
			return b
		}
	}
}

// causes returns what Redis said.
func (b *strictly) causes(list []int) []error {
	causes := make([]error, len(list))
	for j, i := range list {
		causes[j] = errors.Unwrap(b.errs[i])
	}
	return causes
}

// redirect finds out where publications go that were refused because their slot is elsewhere, by address.
func (b *strictly) redirect(ctx context.Context, todo []int, ways map[string]way) error {
	clear(ways)
	causes := b.causes(todo)
	for j, i := range todo {
		name := b.calls[i].keys[0]
		if _, ok := ways[tagOf(name)]; ok || !moved(causes[j]) {
			continue
		}
		from, err := b.store.pipes.ofKey(ctx, name)
		if err != nil {
			return err
		}
		w, err := b.store.pipes.way(ctx, from, name, causes[j:j+1])
		if err != nil {
			return err
		}
		if w.to != nil {
			ways[tagOf(name)] = w
		}
	}
	return nil
}

func (b *strictly) fail(list []int, err error) {
	for _, i := range list {
		b.errs[i] = err
	}
}

// run publishes what is left, and returns what was certainly not carried out because its slot is elsewhere.
func (b *strictly) run(ctx context.Context, todo []int, ways map[string]way) []int {
	groups, err := b.byMaster(ctx, todo, ways)
	if err != nil {
		b.fail(todo, err)
		return nil
	}
	var g errgroup.Group
	for to, list := range groups {
		g.Go(func() error {
			b.publishTo(ctx, to, list)
			return nil
		})
	}
	_ = g.Wait() // each item has its own error
	if b.store.cluster == nil {
		return nil
	}
	var again []int
	for _, i := range todo {
		if cause := errors.Unwrap(b.errs[i]); cause != nil && (moved(cause) || refusedBefore(cause)) {
			again = append(again, i)
		}
	}
	return again
}

// byMaster groups publications by the master that has their keys, or that an answer has named.
func (b *strictly) byMaster(ctx context.Context, list []int, ways map[string]way) (map[way][]int, error) {
	groups := make(map[way][]int)
	for _, i := range list {
		name := b.calls[i].keys[0]
		w, ok := ways[tagOf(name)]
		if !ok {
			var err error
			if w.to, err = b.store.pipes.ofKey(ctx, name); err != nil {
				return nil, err
			}
		}
		groups[w] = append(groups[w], i)
	}
	return groups, nil
}

// publishTo publishes at one master, in turn with the others who wait for its replicas or its disk.
func (b *strictly) publishTo(ctx context.Context, w way, list []int) {
	to := w.to
	select {
	case to.strict <- struct{}{}:
		defer func() { <-to.strict }()
	case <-ctx.Done():
		b.fail(list, bus.ErrStoreUnavailable.Wrap(ctx.Err()))
		return
	}
	if to.isSilent() {
		b.fail(list, bus.ErrStoreUnavailable.Wrap(errSilentMaster))
		return
	}
	how := fsyncNone
	if b.demand.fsync {
		var err error
		if how, err = to.fsyncs(ctx, b.store.log); err != nil {
			if list = b.without(list, err); len(list) == 0 {
				return
			}
		}
	}
	if err := b.store.noteDue(ctx, list, b.ps); err != nil {
		b.fail(list, err)
		return
	}
	b.publishOn(ctx, w, list, how)
}

// without refuses what asks for the disk, and returns the rest.
func (b *strictly) without(list []int, err error) []int {
	var rest []int
	for _, i := range list {
		if b.ps[i].Durability == bus.Fsynced {
			b.errs[i] = err
		} else {
			rest = append(rest, i)
		}
	}
	return rest
}

// publishOn publishes a batch on one connection.
func (b *strictly) publishOn(ctx context.Context, w way, list []int, how fsync) {
	cmds := make(map[int]*redis.Cmd, len(list))
	var said *proof
	for again, todo := false, list; len(todo) > 0; again = true {
		for _, i := range todo {
			cmds[i] = b.store.publishCmd(ctx, b.calls, i)
			if again {
				cmds[i] = b.store.command(ctx, &b.calls[i], "eval", texts[b.calls[i].script.Hash()])
			}
		}
		said = b.send(ctx, w, todo, cmds, how)
		var unknown []int
		for _, i := range todo {
			if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
				unknown = append(unknown, i)
			}
		}
		if again {
			break
		}
		todo = unknown
	}
	replicas, synced := said.read()
	if list = b.settled(ctx, w, list, cmds, how); len(list) == 0 {
		return
	}
	for _, i := range list {
		b.cmds[i] = cmds[i]
		b.errs[i] = b.store.readReceipt(cmds[i], &b.ps[i], &b.receipts[i])
		if b.errs[i] == nil {
			b.errs[i] = reached(&b.ps[i], &b.receipts[i], replicas, synced)
		}
	}
	b.show(ctx, list, replicas, synced)
}

// settled settles the logs that are of another life of the server, publishes what goes to them, and returns the rest.
func (b *strictly) settled(ctx context.Context, w way, list []int, cmds map[int]*redis.Cmd, how fsync) []int {
	answers := make([]*redis.Cmd, len(b.calls))
	for i, cmd := range cmds {
		answers[i] = cmd
	}
	unsettled, err := b.store.prove(ctx, b.calls, answers)
	if err != nil {
		b.fail(list, err)
		return nil
	}
	if len(unsettled) == 0 || b.lives.Add(1) > maxLives {
		return list
	}
	b.publishOn(ctx, w, unsettled, how)
	return slices.DeleteFunc(slices.Clone(list), func(i int) bool { return slices.Contains(unsettled, i) })
}

// show makes visible what is as durable as it asked to be; the others are given up. Only what is visible is OK.
func (b *strictly) show(ctx context.Context, list []int, replicas int, synced bool) {
	var all []*showing
	places := map[*showing]int{}
	for _, i := range list {
		p := &b.ps[i]
		if demandOf(p) == "" || b.receipts[i].Position.IsZero() || b.errs[i] != nil && !errors.Is(b.errs[i], bus.ErrNotReached) {
			continue
		}
		w := &showing{to: p.Message.To, at: b.receipts[i].Position, replicas: replicas, synced: synced, givenUp: b.errs[i] != nil}
		all, places[w] = append(all, w), i
	}
	b.store.show(ctx, all)
	for w, i := range places {
		if w.err != nil && b.errs[i] == nil {
			b.errs[i] = bus.ErrNotReached.Wrap(w.err)
		}
	}
}

// send sends one pipeline, and what follows from it.
func (b *strictly) send(ctx context.Context, w way, todo []int, cmds map[int]*redis.Cmd, how fsync) *proof {
	pipe := w.to.client.Pipeline()
	var list []asked
	for _, i := range todo {
		sent := redis.Cmder(cmds[i])
		if w.asking {
			a := askingFor(ctx, cmds[i])
			list = append(list, a)
			sent = a.sent
			_ = pipe.Process(ctx, redis.NewStatusCmd(ctx, "asking"))
		}
		_ = pipe.Process(ctx, sent)
	}
	said := b.prove(ctx, pipe, how)
	call, cancel := context.WithTimeout(ctx, b.store.cfg.Timeout)
	_, err := pipe.Exec(call) // each command has its own error
	cancel()
	if timedOut(err) && ctx.Err() == nil {
		w.to.running.Go(w.to.suspect)
	}
	var pushes []redis.Cmder
	for _, a := range list {
		pushes = append(pushes, a.answer(ctx)...)
	}
	_ = b.store.pipes.pushAt(ctx, w.from, pushes) // a push that is lost is found by the next offset
	return said
}

// proof is what a server says of the writes before it on the same connection.
type proof struct {
	wait  *redis.IntCmd
	local *redis.IntSliceCmd
	conf  *redis.MapStringStringCmd
}

// prove asks for it at the end of a pipeline.
func (b *strictly) prove(ctx context.Context, pipe redis.Pipeliner, how fsync) *proof {
	p := new(proof)
	if b.demand.replicas > 0 {
		p.wait = redis.NewIntCmd(ctx, "wait", b.demand.replicas, replicaWait.Milliseconds())
		_ = pipe.Process(ctx, p.wait)
	}
	switch how {
	case fsyncWait:
		p.local = redis.NewIntSliceCmd(ctx, "waitaof", 1, 0, replicaWait.Milliseconds())
		_ = pipe.Process(ctx, p.local)
	case fsyncAlways: // of this server, now: another one may have taken over since it was found out
		p.conf = redis.NewMapStringStringCmd(ctx, "config", "get", "append*")
		_ = pipe.Process(ctx, p.conf)
	}
	return p
}

// read returns how many replicas have the writes, and whether the disk has.
func (p *proof) read() (replicas int, synced bool) {
	if p == nil {
		return 0, false
	}
	if p.wait != nil && p.wait.Err() == nil {
		replicas = int(p.wait.Val())
	}
	if p.local != nil && p.local.Err() == nil && len(p.local.Val()) == 2 {
		synced = p.local.Val()[0] >= 1
	}
	if p.conf != nil && p.conf.Err() == nil {
		synced = p.conf.Val()["appendonly"] == "yes" && p.conf.Val()["appendfsync"] == "always"
	}
	return replicas, synced
}

// replicaWait is how long replicas have to acknowledge.
const replicaWait = time.Second

// noteDue notes when messages that ask for an ack have to be looked at, before they are published.
func (s *Store) noteDue(ctx context.Context, list []int, ps []bus.Publication) error {
	var calls []call
	for _, i := range list {
		if ps[i].Ack != nil {
			calls = append(calls, s.dueCall(&ps[i]))
		}
	}
	if len(calls) == 0 {
		return nil
	}
	return s.noteDues(ctx, calls)
}

// reached says whether a publication got what it asked for, and notes it.
func reached(p *bus.Publication, r *bus.Receipt, replicas int, synced bool) error {
	r.Replicas = replicas
	if p.Durability == bus.Replicated && replicas < p.Replicas {
		return bus.ErrNotReached.With("", map[string]string{"replicas": strconv.Itoa(replicas), "wanted": strconv.Itoa(p.Replicas)})
	}
	if p.Durability == bus.Fsynced && !synced {
		return bus.ErrNotReached.With("the message was appended, but the disk did not say so in time; repeat it with the same idempotency key", nil)
	}
	switch {
	case r.Position.IsZero(): // it is live
	case synced:
		r.Durability = bus.Fsynced
	case replicas > 0:
		r.Durability = bus.Replicated
	}
	return nil
}
