package fan

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// Shard is the part of a hub that one goroutine serves.
type Shard struct {
	hub    *Hub
	number int
	wake   chan struct{}

	inbox inlet

	mu          sync.Mutex // guards what follows; a round holds it while it writes, which never waits
	groups      map[bus.Address]*group
	subscribers []*Subscriber
	touched     []*group
	merged      [][]byte // by dialect, of the group being flushed
	attempt     *wire.Attempt
	rounds      uint64 // that have ended
	held        int    // bytes that subscriptions hold
	clock       int64  // Unix milliseconds, read right before a batch is written
}

// group is the subscribers of one address in one shard.
type group struct {
	address bus.Address
	subs    []*Subscription
	due     []*parcel
	ordered int // subscriptions whose client hears all its addresses in the order in which messages came
}

func newShard(h *Hub, number int) *Shard {
	return &Shard{
		hub: h, number: number,
		wake:    make(chan struct{}, 1),
		inbox:   inlet{parcels: h.cfg.ShardParcels, bytes: h.cfg.ShardBytes},
		groups:  make(map[bus.Address]*group),
		merged:  make([][]byte, len(h.cfg.Dialects)),
		attempt: wire.NewAttempt(),
	}
}

// Each calls f with the subscribers, and an attempt for writes to them. No message goes to them meanwhile, so f must not
// wait, and must not call the hub.
func (sh *Shard) Each(f func(all []*Subscriber, a *wire.Attempt)) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f(sh.subscribers, sh.attempt)
}

// load is what waits here.
func (sh *Shard) load() (l load) {
	l.messages, l.bytes = sh.inbox.waiting()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l.held = sh.held
	return l
}

func (sh *Shard) enqueue(p *parcel) {
	if !sh.inbox.put(p) {
		return // a round is coming already
	}
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

func (sh *Shard) run(ctx context.Context) error {
	ticker := time.NewTicker(TickInterval)
	defer ticker.Stop()
	var spare []*parcel
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sh.wake:
			spare = sh.turn(spare)
		case now := <-ticker.C:
			sh.hub.cfg.Tick(now, sh)
			sh.rest()
		}
	}
}

// rest counts rounds in which nothing came: this goroutine is between two of them.
func (sh *Shard) rest() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	// With nothing on its way through the shard, a subscription that waits for rounds to pass has nothing to wait for.
	if sh.inbox.empty() {
		sh.rounds += 2
	}
}

// turn writes what has been collected, while spare collects what comes next. It returns an empty list for the turn after.
func (sh *Shard) turn(spare []*parcel) []*parcel {
	list, lapsed := sh.inbox.take(spare)
	sh.round(list)
	if len(lapsed) > 0 {
		sh.lapse(lapsed)
	}
	clear(list) // or the spare list would keep messages alive
	return list
}

// round writes what is due, address by address. Clients of stateful dialects hear all their addresses in the order in which messages
// came: the older protocols had one queue for each socket.
func (sh *Shard) round(list []*parcel) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var last *group // of those, the one whose messages are due
	sent := 0
	for _, p := range list {
		g := sh.groups[p.address()]
		if g == nil {
			continue // the last subscriber has left meanwhile
		}
		if g.ordered > 0 {
			if last != nil && last != g {
				sent += sh.send(last) // some client may hear both
			}
			last = g
		}
		if len(g.due) == 0 {
			sh.touched = append(sh.touched, g)
		}
		g.due = append(g.due, p)
	}
	for i, g := range sh.touched {
		sent += sh.send(g)
		sh.touched[i] = nil
	}
	sh.touched = sh.touched[:0]
	sh.hub.metrics.sent.Add(float64(sent))
	sh.rounds++
}

// send writes what is due to a group, and returns how many deliveries that were. There are none when it was sent before the
// messages of another group.
func (sh *Shard) send(g *group) int {
	if len(g.due) == 0 {
		return 0
	}
	sent := len(g.due) * len(g.subs)
	sh.flush(g)
	clear(g.due)
	g.due = g.due[:0]
	return sent
}

// flush writes the due parcels of a group to its subscribers, in pieces of at most mergeLimit. Each subscriber that may have
// all of them gets the same bytes.
func (sh *Shard) flush(g *group) {
	// Most parcels are for everybody. Then nobody looks at them again for each subscriber.
	due, plain := g.due, !special(g.due, sh.hub.cfg.Now())
	if !plain {
		if i := slices.IndexFunc(due, (*parcel).deletes); i >= 0 {
			defer sh.endAll(g) // what follows is of another channel of the name, which nobody here has asked for
			due = due[:i]
		}
	}
	for len(due) > 0 {
		n := piece(due)
		clear(sh.merged)                  // it has the bytes of the piece before
		sh.clock = time.Now().UnixMilli() // once for all of them: a clock for each would cost as much as the rest of give
		for _, sub := range g.subs {
			sh.give(sub, due[:n], plain)
		}
		due = due[n:]
	}
}

// give writes parcels to one subscriber.
func (sh *Shard) give(sub *Subscription, due []*parcel, plain bool) {
	all := len(due)
	if !plain {
		due = sub.wanted(due)
	}
	if sub.holding { // whatever it waits for, this comes after it
		sub.hold(due)
		return
	}
	if sub.lag != nil {
		sub.pile(due)
		return
	}
	if sub.catching {
		fresh, sure := sub.fresh(due)
		if !sure {
			sub.reread(due) // the log alone can say whether something lies between
			return
		}
		due = fresh
	}
	if len(due) == 0 {
		return
	}
	if !plain && sub.owned && sub.doubtful(due) {
		sub.ask(due)
		return
	}
	to := sub.to
	var out []byte
	switch {
	case to.Talk != nil || !plain && !to.mayHave(due):
		out = to.join(due) // bytes for this one alone
	case len(due) < all:
		out = sh.join(due, to.slot) // rare enough not to be kept for the next one
	default:
		if sh.merged[to.slot] == nil {
			sh.merged[to.slot] = sh.join(due, to.slot)
		}
		out = sh.merged[to.slot]
	}
	if len(out) > 0 && sub.pass(out, due) && !plain {
		sub.noteSent(due)
	}
}

// join returns the frames of the parcels as one run of bytes that nobody changes.
func (sh *Shard) join(due []*parcel, slot int) []byte {
	if len(due) == 1 { // the parcel's own bytes, without a copy
		return nonNil(due[0].bytes(&sh.hub.languages, slot))
	}
	size := 0
	for _, p := range due {
		size += len(p.bytes(&sh.hub.languages, slot))
	}
	out := make([]byte, 0, size)
	for _, p := range due {
		out = append(out, p.bytes(&sh.hub.languages, slot)...)
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

// lapse makes subscriptions read on from the log, or tells them a gap, where the shard was slower than the feed.
func (sh *Shard) lapse(all map[bus.Address]*lapse) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for a, l := range all {
		g := sh.groups[a]
		if g == nil {
			continue
		}
		sh.hub.metrics.lapses.Inc()
		for _, sub := range slices.Clone(g.subs) { // those that end by it leave the group
			sub.lapse(l)
		}
		if l.ended {
			sh.endAll(g)
		}
	}
}

// endAll ends the subscriptions of a group whose channel was deleted. One that still learns its position ends when it is let
// in, so that its client hears of its beginning first. The caller holds the lock.
func (sh *Shard) endAll(g *group) {
	for _, sub := range slices.Clone(g.subs) {
		if sub.holding && sub.lag == nil {
			sub.ended = true
		} else {
			sub.end()
		}
	}
}

// attach adds a subscription to its group, holding. The caller holds the lock.
func (sh *Shard) attach(sub *Subscription) {
	g := sh.groups[sub.address]
	if g == nil {
		g = &group{address: sub.address}
		sh.groups[sub.address] = g
		sh.hub.point(sub.address, sh.number, true)
	}
	sub.holding = true
	sub.place = len(g.subs)
	g.subs = append(g.subs, sub)
	if sub.to.ordered {
		g.ordered++
	}
	sh.hub.watch(sub, 1)
}

// drop removes a subscription from its group. The caller holds the lock.
func (sh *Shard) drop(sub *Subscription) {
	sub.gone.Store(true) // what others still do for it finds this, and stops
	sub.letGo()
	sh.hub.watch(sub, -1)
	g := sh.groups[sub.address]
	last := len(g.subs) - 1
	moved := g.subs[last] // takes the free place: a group has no order, and may be long
	g.subs[sub.place] = moved
	moved.place = sub.place
	g.subs[last] = nil
	g.subs = g.subs[:last]
	if sub.to.ordered {
		g.ordered--
	}
	if last == 0 {
		delete(sh.groups, sub.address)
		sh.hub.point(sub.address, sh.number, false)
	}
}
