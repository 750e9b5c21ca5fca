package edge

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// shard is the part of the hub that one goroutine serves.
type shard struct {
	hub    *hub
	owner  *Edge
	number int
	wake   chan struct{}

	inbox inlet

	mu       sync.Mutex // guards what follows; a round holds it while it writes, which never waits
	groups   map[bus.Address]*group
	sessions []*session
	touched  []*group
	merged   [][]byte // by dialect, of the group being flushed
	attempt  *wire.Attempt
	rounds   uint64 // that have ended
	held     int    // bytes that subscriptions hold
	clock    int64  // Unix milliseconds, read right before a batch is written
}

// group is the subscribers of one address in one shard.
type group struct {
	address bus.Address
	subs    []*subscription
	due     []*parcel
}

// mergeLimit is how many bytes of one address are written to a connection at once.
const mergeLimit = 64 << 10

func newShard(h *hub, owner *Edge, number int) *shard {
	return &shard{
		hub: h, owner: owner, number: number,
		wake:    make(chan struct{}, 1),
		groups:  make(map[bus.Address]*group),
		merged:  make([][]byte, len(owner.slots)),
		attempt: wire.NewAttempt(),
	}
}

func (sh *shard) enqueue(p *parcel) {
	if sh.inbox.put(p, &sh.owner.cfg) {
		signal(sh.wake)
	}
}

func (sh *shard) run(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	var spare []*parcel
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sh.wake:
			spare = sh.turn(spare)
		case now := <-ticker.C:
			sh.sweep(now)
			sh.rest()
		}
	}
}

// rest counts rounds in which nothing came: this goroutine is between two of them.
func (sh *shard) rest() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.inbox.Lock()
	defer sh.inbox.Unlock()
	if len(sh.inbox.list)+len(sh.inbox.lapsed) == 0 {
		sh.rounds += 2
	}
}

// turn writes what has been collected, while spare collects what comes next. It returns an empty list for the turn after.
func (sh *shard) turn(spare []*parcel) []*parcel {
	list, lapsed := sh.inbox.take(spare)
	sh.round(list)
	if len(lapsed) > 0 {
		sh.lapse(lapsed)
	}
	clear(list)
	return list
}

// round writes what is due, address by address.
func (sh *shard) round(list []*parcel) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, p := range list {
		g := sh.groups[p.address()]
		if g == nil {
			continue
		}
		if len(g.due) == 0 {
			sh.touched = append(sh.touched, g)
		}
		g.due = append(g.due, p)
	}
	sent := 0
	for i, g := range sh.touched {
		sent += len(g.due) * len(g.subs)
		sh.flush(g)
		clear(g.due)
		g.due = g.due[:0]
		sh.touched[i] = nil
	}
	sh.touched = sh.touched[:0]
	sh.owner.metrics.sent.Add(float64(sent))
	sh.rounds++
}

// flush writes the due parcels of a group to its subscribers: the same bytes to each that may
// have all of them, in pieces of at most mergeLimit.
func (sh *shard) flush(g *group) {
	due, plain := g.due, !special(g.due, sh.owner.store.Now())
	if !plain {
		if i := slices.IndexFunc(due, (*parcel).deletes); i >= 0 {
			defer sh.endAll(g) // what follows is of another channel of the name, which nobody here has asked for
			due = due[:i]
		}
	}
	for len(due) > 0 {
		n := piece(due)
		clear(sh.merged)
		sh.clock = time.Now().UnixMilli()
		for _, sub := range g.subs {
			sh.give(sub, due[:n], plain)
		}
		due = due[n:]
	}
}

// piece says how many of the parcels are written at once.
func piece(due []*parcel) int {
	size := 0
	for i, p := range due {
		if p.m != nil {
			size += len(p.m.Data) + frameOverhead
		}
		if size > mergeLimit && i > 0 {
			return i
		}
	}
	return len(due)
}

// special says whether some subscribers must not have some of the parcels.
func special(due []*parcel, now time.Time) bool {
	for _, p := range due {
		if p.m != nil && (p.m.Selective() || p.m.Expired(now)) {
			return true
		}
	}
	return false
}

// give writes parcels to one subscriber.
func (sh *shard) give(sub *subscription, due []*parcel, plain bool) {
	all := len(due)
	if !plain {
		due = sub.wanted(due)
	}
	if sub.holding {
		sh.hold(sub, due)
		return
	}
	if sub.lag != nil {
		sub.pile(due, sh.owner.cfg.QueueBytes/4, sh.owner.cfg.Namespaces.For(sub.address).ConflateKey)
		return
	}
	if sub.catching {
		fresh, sure := sh.fresh(sub, due)
		if !sure {
			sh.reread(sub, due)
			return
		}
		due = fresh
	}
	if len(due) == 0 {
		return
	}
	if !plain && sub.owned && sub.doubtful(due) {
		sh.question(sub, due)
		return
	}
	slot := sub.session.slot
	var out []byte
	switch {
	case sub.session.talk != nil || !plain && !sub.session.mayHave(due):
		out = sub.session.join(due)
	case len(due) < all:
		out = sh.join(due, slot)
	default:
		if sh.merged[slot] == nil {
			sh.merged[slot] = sh.join(due, slot)
		}
		out = sh.merged[slot]
	}
	if len(out) > 0 && sh.pass(sub, out, due) && !plain {
		sub.session.noteSent(sub, due)
	}
}

// join returns the frames of the parcels as one run of bytes that nobody changes.
func (sh *shard) join(due []*parcel, slot int) []byte {
	d := sh.owner.slots[slot]
	if len(due) == 1 {
		return nonNil(due[0].bytes(d, slot))
	}
	size := 0
	for _, p := range due {
		size += len(p.bytes(d, slot))
	}
	out := make([]byte, 0, size)
	for _, p := range due {
		out = append(out, p.bytes(d, slot)...)
	}
	return out
}

// nonNil tells "joined and empty" from "not joined yet".
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// add puts a session into the shard's list.
func (sh *shard) add(s *session) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.place = len(sh.sessions)
	sh.sessions = append(sh.sessions, s)
}

// remove takes it out again.
func (sh *shard) remove(s *session) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last := len(sh.sessions) - 1
	moved := sh.sessions[last]
	sh.sessions[s.place] = moved
	moved.place = s.place
	sh.sessions[last] = nil
	sh.sessions = sh.sessions[:last]
}

// attach adds subscriptions, holding.
func (sh *shard) attach(subs []*subscription) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, sub := range subs {
		g := sh.groups[sub.address]
		if g == nil {
			g = &group{address: sub.address}
			sh.groups[sub.address] = g
			sh.hub.mark(sub.address, sh.number, true)
		}
		sub.holding = true
		sub.place = len(g.subs)
		g.subs = append(g.subs, sub)
		sh.hub.watch(sub, 1)
	}
}

// detach removes subscriptions, and returns those that had not ended by themselves; subs is not used after it. What is
// still due to them is dropped.
func (sh *shard) detach(subs []*subscription) []*subscription {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	subs = slices.DeleteFunc(subs, func(sub *subscription) bool { return sub.gone })
	for _, sub := range subs {
		sh.drop(sub)
	}
	return subs
}

// drop removes one subscription. The caller holds the lock.
func (sh *shard) drop(sub *subscription) {
	sub.gone = true
	sh.letGo(sub)
	sh.hub.watch(sub, -1)
	g := sh.groups[sub.address]
	last := len(g.subs) - 1
	moved := g.subs[last]
	g.subs[sub.place] = moved
	moved.place = sub.place
	g.subs[last] = nil
	g.subs = g.subs[:last]
	if last == 0 {
		delete(sh.groups, sub.address)
		sh.hub.mark(sub.address, sh.number, false)
	}
}

// signal wakes whoever waits for the channel, which has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
