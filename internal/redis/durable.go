package redis

import (
	"context"
	"errors"
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

// publishStrictly carries out publications and waits until replicas or the disk have them. A WAIT is about the writes of its
// own connection, so the scripts and the WAIT go in one pipeline on one connection, to the master of their keys.
func (s *Store) publishStrictly(ctx context.Context, ps []bus.Publication, calls []call, receipts []bus.Receipt, d *demand) []error {
	errs := make([]error, len(ps))
	var how fsync
	if d.fsync {
		var err error
		if how, err = s.fsyncs(ctx); err != nil {
			for i := range errs {
				errs[i] = err
			}
			return errs
		}
	}
	for i := range ps {
		if calls[i].script == nil {
			calls[i] = s.publishCall(&ps[i])
		}
	}
	groups, err := s.byMaster(ctx, calls)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	var g errgroup.Group
	for client, list := range groups {
		g.Go(func() error {
			s.publishOn(ctx, client, list, ps, calls, receipts, errs, d, how)
			return nil
		})
	}
	_ = g.Wait() // each item has its own error
	return errs
}

// byMaster groups calls by the server that has their keys.
func (s *Store) byMaster(ctx context.Context, calls []call) (map[*redis.Client][]int, error) {
	groups := make(map[*redis.Client][]int)
	for i := range calls {
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

// replicaWait is how long replicas have to acknowledge.
const replicaWait = time.Second

// publishOn publishes a batch on one connection.
func (s *Store) publishOn(
	ctx context.Context, client *redis.Client, list []int, ps []bus.Publication, calls []call, receipts []bus.Receipt, errs []error, d *demand, how fsync,
) {
	cmds := make([]*redis.Cmd, len(list))
	due := s.noteDue(ctx, list, ps)
	todo := list
	place := make(map[int]int, len(list))
	for j, i := range list {
		place[i] = j
	}
	var wait, local redis.Cmder
	for again := false; len(todo) > 0; again = true {
		pipe := client.Pipeline()
		for _, i := range todo {
			cmds[place[i]] = s.publishCmd(ctx, calls, i)
			if again {
				cmds[place[i]] = calls[i].cmd(ctx, "eval", texts[calls[i].script.Hash()])
			}
			_ = pipe.Process(ctx, cmds[place[i]])
		}
		if d.replicas > 0 {
			wait = redis.NewIntCmd(ctx, "wait", d.replicas, replicaWait.Milliseconds())
			_ = pipe.Process(ctx, wait)
		}
		if how == fsyncWait {
			local = redis.NewIntSliceCmd(ctx, "waitaof", 1, 0, replicaWait.Milliseconds())
			_ = pipe.Process(ctx, local)
		}
		call, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		_, _ = pipe.Exec(call) // each command has its own error
		cancel()
		var unknown []int
		for _, i := range todo {
			if redis.HasErrorPrefix(cmds[place[i]].Err(), "NOSCRIPT") {
				unknown = append(unknown, i)
			}
		}
		if again {
			break
		}
		todo = unknown
	}
	replicas, synced := 0, how == fsyncAlways
	if w, ok := wait.(*redis.IntCmd); ok && w.Err() == nil {
		replicas = int(w.Val())
	}
	if l, ok := local.(*redis.IntSliceCmd); ok && l.Err() == nil && len(l.Val()) == 2 {
		synced = l.Val()[0] >= 1
	}
	for j, i := range list {
		errs[i] = readReceipt(cmds[j], &ps[i], &receipts[i])
		if errs[i] == nil {
			errs[i] = reached(&ps[i], &receipts[i], replicas, synced)
		}
		if errs[i] == nil && due != nil {
			errs[i] = due
		}
	}
}

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
