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
	"github.com/trunkline/trunkline/internal/redis/pipes"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// strictest returns what the publications ask for together; nil when an append is enough for all of them.
func strictest(ps []bus.Publication) *pipes.Demand {
	var d *pipes.Demand
	for i := range ps {
		if ps[i].Durability <= bus.Accepted {
			continue
		}
		if d == nil {
			d = new(pipes.Demand)
		}
		// One WAIT serves the whole batch, so it asks for the most that any item needs.
		if ps[i].Durability == bus.Replicated {
			d.Replicas = max(d.Replicas, ps[i].Replicas)
		} else {
			d.Fsync = true
		}
	}
	return d
}

// strictly is one batch of publications on its way.
type strictly struct {
	lives    atomic.Int32 // how often a server's life was found to be another
	store    *Store
	ps       []bus.Publication
	calls    []call
	receipts []bus.Receipt
	cmds     []*redis.Cmd
	errs     []error
	demand   *pipes.Demand
}

// publishStrictly carries out publications and waits until replicas or the disk have them. A WAIT is about the writes of its own
// connection. So the scripts and the WAIT go in one pipeline on one connection, to the master of their keys. What goes to one
// master does not wait for another.
func (s *Store) publishStrictly(ctx context.Context, ps []bus.Publication, calls []call, receipts []bus.Receipt, d *pipes.Demand) []error {
	return s.strictly(ctx, ps, calls, receipts, d).errs
}

func (s *Store) strictly(ctx context.Context, ps []bus.Publication, calls []call, receipts []bus.Receipt, d *pipes.Demand) *strictly {
	b := &strictly{store: s, ps: ps, calls: calls, receipts: receipts, cmds: make([]*redis.Cmd, len(ps)), errs: make([]error, len(ps)), demand: d}
	todo := make([]int, len(ps))
	for i := range ps {
		todo[i] = i
		if calls[i].script == nil {
			calls[i] = s.publishCall(&ps[i])
		}
	}
	// By address: while a slot is being moved, some of its addresses are here and some there.
	ways := make(map[string]pipes.Way)
	for start, try := time.Now(), 0; ; try++ {
		todo = b.run(ctx, todo, ways)
		if len(todo) == 0 || !s.pipes.WorthATry(b.causes(todo), try, start) {
			return b
		}
		s.cluster.ReloadState(ctx) // the slots are being moved
		if err := b.redirect(ctx, todo, ways); err != nil || (try > 0 || len(ways) == 0) && pipes.Rest(ctx, try) != nil {
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
func (b *strictly) redirect(ctx context.Context, todo []int, ways map[string]pipes.Way) error {
	clear(ways)
	causes := b.causes(todo)
	for j, i := range todo {
		// One question for each address: what else of it was refused goes the same way.
		name := b.calls[i].keys[0]
		if _, ok := ways[server.Tag(name)]; ok || !pipes.Moved(causes[j]) {
			continue
		}
		from, err := b.store.pipes.OfKey(ctx, name)
		if err != nil {
			return err
		}
		w, err := b.store.pipes.Way(ctx, from, name, causes[j:j+1])
		if err != nil {
			return err
		}
		if w.To != nil {
			ways[server.Tag(name)] = w
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
func (b *strictly) run(ctx context.Context, todo []int, ways map[string]pipes.Way) []int {
	groups, err := b.byMaster(ctx, todo, ways)
	if err != nil {
		b.fail(todo, err)
		return nil
	}
	// At once: a master whose replicas are slow delays only what goes to it.
	var g errgroup.Group
	for to, list := range groups {
		g.Go(func() error {
			b.publishTo(ctx, to, list)
			return nil
		})
	}
	_ = g.Wait() // each item has its own error
	// A single server has no other place to send them to.
	if b.store.cluster == nil {
		return nil
	}
	var again []int
	for _, i := range todo {
		if cause := errors.Unwrap(b.errs[i]); cause != nil && (pipes.Moved(cause) || pipes.RefusedBefore(cause)) {
			again = append(again, i)
		}
	}
	return again
}

// byMaster groups publications by the master that has their keys, or that an answer has named.
func (b *strictly) byMaster(ctx context.Context, list []int, ways map[string]pipes.Way) (map[pipes.Way][]int, error) {
	groups := make(map[pipes.Way][]int)
	for _, i := range list {
		name := b.calls[i].keys[0]
		w, ok := ways[server.Tag(name)]
		if !ok {
			var err error
			if w.To, err = b.store.pipes.OfKey(ctx, name); err != nil {
				return nil, err
			}
		}
		groups[w] = append(groups[w], i)
	}
	return groups, nil
}

// publishTo publishes at one master, in turn with the others who wait for its replicas or its disk.
func (b *strictly) publishTo(ctx context.Context, w pipes.Way, list []int) {
	release, err := w.To.Reserve(ctx)
	if err != nil {
		b.fail(list, bus.ErrStoreUnavailable.Wrap(err))
		return
	}
	defer release()
	if w.To.Silent() {
		b.fail(list, bus.ErrStoreUnavailable.Wrap(pipes.ErrSilent))
		return
	}
	how := server.SyncNone
	if b.demand.Fsync {
		if how, err = w.To.Syncs(ctx, b.store.log); err != nil {
			if list = b.without(list, err); len(list) == 0 {
				return
			}
		}
	}
	// First: a time without a message is harmless, but a message without a time would never be settled.
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
func (b *strictly) publishOn(ctx context.Context, w pipes.Way, list []int, how server.Sync) {
	cmds := make(map[int]*redis.Cmd, len(list))
	var said pipes.Proof
	for again, todo := false, list; len(todo) > 0; again = true {
		for _, i := range todo {
			cmds[i] = b.store.publishCmd(ctx, b.calls, i)
			// The server did not know the script, so it is sent the text.
			if again {
				cmds[i] = b.store.command(ctx, &b.calls[i], "eval", texts[b.calls[i].script.Hash()])
			}
		}
		send := make([]redis.Cmder, len(todo))
		for j, i := range todo {
			send[j] = cmds[i]
		}
		said = b.store.pipes.Prove(ctx, w, send, *b.demand, how)
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
	// What was refused for another life has appended nothing, so the proof says nothing of it.
	if list = b.proved(ctx, w, list, cmds, how); len(list) == 0 {
		return
	}
	for _, i := range list {
		b.cmds[i] = cmds[i]
		b.errs[i] = b.store.readReceipt(cmds[i], &b.ps[i], &b.receipts[i])
		if b.errs[i] == nil {
			b.errs[i] = reached(&b.ps[i], &b.receipts[i], said)
		}
	}
	b.show(ctx, list, said)
}

// proved proves the logs that are of another life of the server, publishes what goes to them, and returns the rest.
func (b *strictly) proved(ctx context.Context, w pipes.Way, list []int, cmds map[int]*redis.Cmd, how server.Sync) []int {
	answers := make([]*redis.Cmd, len(b.calls))
	for i, cmd := range cmds {
		answers[i] = cmd
	}
	unproved, err := b.store.prove(ctx, b.calls, answers)
	if err != nil {
		b.fail(list, err)
		return nil
	}
	// A server that restarts again and again must not keep a caller for ever.
	if len(unproved) == 0 || b.lives.Add(1) > maxLives {
		return list
	}
	b.publishOn(ctx, w, unproved, how)
	return slices.DeleteFunc(slices.Clone(list), func(i int) bool { return slices.Contains(unproved, i) })
}

// show makes visible what is as durable as it asked to be; the others are given up. Only what is visible is OK.
func (b *strictly) show(ctx context.Context, list []int, said pipes.Proof) {
	var all []*showing
	places := map[*showing]int{}
	for _, i := range list {
		p := &b.ps[i]
		// What was refused has no entry. What has missed its durability has one.
		// That is given up here, so that those behind it can be shown.
		if demandOf(p) == "" || b.receipts[i].Position.IsZero() || b.errs[i] != nil && !errors.Is(b.errs[i], bus.ErrNotReached) {
			continue
		}
		w := &showing{to: p.Message.To, at: b.receipts[i].Position, said: said, givenUp: b.errs[i] != nil}
		all, places[w] = append(all, w), i
	}
	b.store.show(ctx, all)
	for w, i := range places {
		switch {
		case b.errs[i] != nil:
		case w.err != nil:
			b.errs[i] = bus.ErrNotReached.Wrap(w.err)
		default:
			b.store.confirmed.note(w.to, w.at)
		}
	}
}

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
func reached(p *bus.Publication, r *bus.Receipt, said pipes.Proof) error {
	r.Replicas = said.Replicas
	if p.Durability == bus.Replicated && said.Replicas < p.Replicas {
		return bus.ErrNotReached.With("", map[string]string{"replicas": strconv.Itoa(said.Replicas), "wanted": strconv.Itoa(p.Replicas)})
	}
	if p.Durability == bus.Fsynced && !said.Synced {
		return bus.ErrNotReached.With("the message was appended, but the disk did not say so in time; repeat it with the same idempotency key", nil)
	}
	// The receipt says what was achieved, which may be more than was asked for.
	switch {
	case r.Position.IsZero(): // it is live
	case said.Synced:
		r.Durability = bus.Fsynced
	case said.Replicas > 0:
		r.Durability = bus.Replicated
	}
	return nil
}
