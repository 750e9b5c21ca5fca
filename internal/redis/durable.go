package redis

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
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

// strictFlights is how many pipelines wait for replicas or the disk at once: they hold a connection each, and the pool has
// to have others for those who do not wait.
const strictFlights = 8

// strictly is one batch of publications on its way.
type strictly struct {
	store    *Store
	ps       []bus.Publication
	calls    []call
	receipts []bus.Receipt
	errs     []error
	demand   *demand
	how      fsync
}

// publishStrictly carries out publications and waits until replicas or the disk have them. A WAIT is about the writes of its
// own connection, so the scripts and the WAIT go in one pipeline on one connection, to the master of their keys.
func (s *Store) publishStrictly(ctx context.Context, ps []bus.Publication, calls []call, receipts []bus.Receipt, d *demand) []error {
	b := &strictly{store: s, ps: ps, calls: calls, receipts: receipts, errs: make([]error, len(ps)), demand: d}
	var unavailable error
	if d.fsync {
		b.how, unavailable = s.fsyncs(ctx)
	}
	var todo []int
	for i := range ps {
		if calls[i].script == nil {
			calls[i] = s.publishCall(&ps[i], false)
		}
		if b.errs[i] = unavailable; ps[i].Durability != bus.Fsynced || unavailable == nil {
			b.errs[i] = nil
			todo = append(todo, i)
		}
	}
	select {
	case s.strict <- struct{}{}:
		defer func() { <-s.strict }()
	case <-ctx.Done():
		b.fail(todo, bus.ErrStoreUnavailable.Wrap(ctx.Err()))
		return b.errs
	}
	for try := 0; len(todo) > 0; try++ {
		todo = b.run(ctx, todo)
		if len(todo) == 0 || try == maxMoves {
			break
		}
		s.cluster.ReloadState(ctx) // the slots are being moved
		wait, cancel := context.WithTimeout(ctx, time.Duration(try+1)*20*time.Millisecond)
		<-wait.Done()
		cancel()
	}
	return b.errs
}

func (b *strictly) fail(list []int, err error) {
	for _, i := range list {
		b.errs[i] = err
	}
}

// run publishes what is left, and returns what was certainly not carried out because its slot is elsewhere.
func (b *strictly) run(ctx context.Context, todo []int) []int {
	groups, err := b.store.byMaster(ctx, b.calls, todo)
	if err != nil {
		b.fail(todo, err)
		return nil
	}
	var g errgroup.Group
	for client, list := range groups {
		g.Go(func() error {
			b.publishOn(ctx, client, list)
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

// byMaster groups calls by the server that has their keys.
func (s *Store) byMaster(ctx context.Context, calls []call, list []int) (map[*redis.Client][]int, error) {
	groups := make(map[*redis.Client][]int)
	for _, i := range list {
		client, ok := s.client.(*redis.Client)
		if !ok {
			var err error
			if client, err = s.cluster.MasterForKey(ctx, calls[i].keys[0]); err != nil {
				return nil, bus.ErrStoreUnavailable.Wrap(err)
			}
		}
		groups[client] = append(groups[client], i)
	}
	return groups, nil
}

// publishOn publishes a batch on one connection.
func (b *strictly) publishOn(ctx context.Context, client *redis.Client, list []int) {
	if err := b.store.noteDue(ctx, list, b.ps); err != nil {
		b.fail(list, err)
		return
	}
	cmds := make(map[int]*redis.Cmd, len(list))
	var said *proof
	for again, todo := false, list; len(todo) > 0; again = true {
		pipe := client.Pipeline()
		for _, i := range todo {
			cmds[i] = b.store.publishCmd(ctx, b.calls, i)
			if again {
				cmds[i] = b.calls[i].cmd(ctx, "eval", texts[b.calls[i].script.Hash()])
			}
			_ = pipe.Process(ctx, cmds[i])
		}
		said = b.prove(ctx, pipe)
		call, cancel := context.WithTimeout(ctx, b.store.cfg.Timeout)
		_, _ = pipe.Exec(call) // each command has its own error
		cancel()
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
	for _, i := range list {
		b.errs[i] = readReceipt(cmds[i], &b.ps[i], &b.receipts[i])
		if b.errs[i] == nil {
			b.errs[i] = reached(&b.ps[i], &b.receipts[i], replicas, synced)
		}
	}
}

// proof is what a server says of the writes before it on the same connection.
type proof struct {
	wait  *redis.IntCmd
	local *redis.IntSliceCmd
	conf  *redis.MapStringStringCmd
}

// prove asks for it at the end of a pipeline.
func (b *strictly) prove(ctx context.Context, pipe redis.Pipeliner) *proof {
	p := new(proof)
	if b.demand.replicas > 0 {
		p.wait = redis.NewIntCmd(ctx, "wait", b.demand.replicas, replicaWait.Milliseconds())
		_ = pipe.Process(ctx, p.wait)
	}
	switch b.how {
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
	var cmds []redis.Cmder
	for _, i := range list {
		if ps[i].Ack != nil {
			cmds = append(cmds, s.dueCmds(ctx, &ps[i])...)
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	return s.do(ctx, cmds...)
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

// fsync is how a server lets us know that a write is on its disk.
type fsync int

const (
	fsyncNone   fsync = iota
	fsyncAlways       // appendfsync always: it answers after the sync
	fsyncWait         // WAITAOF (Redis 7.2 and later)
)

// fsyncKnown is how long what was found out is believed.
const fsyncKnown = 10 * time.Second

// fsyncs says how the masters sync; ErrNotDurable when one of them does not.
func (s *Store) fsyncs(ctx context.Context) (fsync, error) {
	s.syncs.Lock()
	defer s.syncs.Unlock()
	if time.Since(s.syncs.at) < fsyncKnown {
		return s.syncs.how, s.syncs.err
	}
	how, err := s.askSyncs(ctx)
	if err == nil || errors.Is(err, bus.ErrNotDurable) {
		if err != nil && s.syncs.err == nil {
			s.log.Warn("FSYNCED is refused", slog.String("error", err.Error()))
		}
		s.syncs.how, s.syncs.err, s.syncs.at = how, err, time.Now()
	}
	return how, err
}

func (s *Store) askSyncs(ctx context.Context) (fsync, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if s.cluster == nil {
		client, _ := s.client.(*redis.Client)
		return syncOf(ctx, client)
	}
	found := fsyncAlways
	var all sync.Mutex
	err := s.cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		how, err := syncOf(ctx, c)
		all.Lock()
		defer all.Unlock()
		if how == fsyncWait {
			found = fsyncWait
		}
		return err
	})
	if err != nil {
		return fsyncNone, unavailable(err)
	}
	return found, nil
}

func syncOf(ctx context.Context, c *redis.Client) (fsync, error) {
	conf, err := c.ConfigGet(ctx, "append*").Result()
	if forbidden(err) {
		return unasked(ctx, c)
	}
	if err != nil {
		return fsyncNone, bus.ErrStoreUnavailable.Wrap(err)
	}
	if conf["appendonly"] != "yes" {
		return fsyncNone, bus.ErrNotDurable.With("FSYNCED needs a Redis with appendonly yes", map[string]string{"setting": "appendonly"})
	}
	if conf["appendfsync"] == "always" {
		return fsyncAlways, nil
	}
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return fsyncNone, bus.ErrStoreUnavailable.Wrap(err)
	}
	if hasWaitAOF(info) {
		return fsyncWait, nil
	}
	return fsyncNone, bus.ErrNotDurable.With("FSYNCED needs a Redis with appendfsync always, or Redis 7.2 for WAITAOF", map[string]string{"setting": "appendfsync"})
}

// forbidden says whether a server does not let us run a command.
func forbidden(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command")
}

// unasked says how a server syncs that may not be asked for its configuration: WAITAOF, where there is one, does not need it.
func unasked(ctx context.Context, c *redis.Client) (fsync, error) {
	unproved := func(message, setting string) error {
		return bus.ErrNotDurable.With("FSYNCED cannot be proved: "+message, map[string]string{"setting": setting})
	}
	_, err := c.Do(ctx, "waitaof", 1, 0, 1).Result()
	switch {
	case err == nil:
		return fsyncWait, nil
	case forbidden(err):
		return fsyncNone, unproved("the user of Redis may run neither CONFIG GET nor WAITAOF; allow it +config|get", "acl")
	case redis.HasErrorPrefix(err, "WAITAOF cannot be used"):
		return fsyncNone, unproved("it needs a Redis with appendonly yes", "appendonly")
	}
	return fsyncNone, bus.ErrStoreUnavailable.Wrap(err)
}

// hasWaitAOF reads the version out of INFO server.
func hasWaitAOF(info string) bool {
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r")
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a > 7 || a == 7 && b >= 2
}
