package links

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/server"
)

// slot is the subscriptions of one slot of a Cluster, which live at one node.
type slot struct {
	channel string // of one that has the slot
	members map[*subscription]struct{}
	home    string // the link that all had when they were compared last
	mixed   bool   // some have another one since
	looks   int    // in a row that found some at another place than the cluster says
}

// slotCheck is how often the places of slots are compared with what the Cluster says.
const slotCheck = time.Second

// patience is how many looks in a row have to say the same before it is believed. What they say is that a node is gone, or that a
// slot is somewhere else than where its subscriptions are open. The nodes themselves tell it at once; what one look says may be
// old.
const patience = 4

// followSlots is the net below what the nodes tell: it moves subscriptions whose slot has moved, and keeps a link to every master.
func (f *Feed) followSlots(ctx context.Context) error {
	ticker := time.NewTicker(slotCheck)
	defer ticker.Stop()
	for look := uint16(0); ; look++ {
		f.checkSlots(ctx, look)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			f.cluster.ReloadState(ctx)
		}
	}
}

func (f *Feed) checkSlots(ctx context.Context, look uint16) {
	var mu sync.Mutex
	masters := make(map[string]*redis.Client)
	err := f.cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		// ForEachMaster calls this for all masters at once.
		mu.Lock()
		defer mu.Unlock()
		masters[c.Options().Addr] = c
		return nil
	})
	// A look that is not complete must not count against a node.
	if err != nil || ctx.Err() != nil || len(masters) == 0 {
		return
	}
	f.keepLinks(masters)
	for number, channel := range f.slotsToCheck(look) {
		if client, err := f.cluster.MasterForKey(ctx, channel); err == nil {
			f.rehome(number, client)
		}
	}
}

// keepLinks has a link for each master, and ends those of nodes that are none any more.
func (f *Feed) keepLinks(masters map[string]*redis.Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begin == nil {
		return
	}
	for name, client := range masters {
		f.link(name, client).missing = 0
	}
	for name, l := range f.links {
		if masters[name] != nil {
			continue
		}
		// A link that still hears its own probe may be missing only in an old answer.
		if l.missing++; l.missing < patience && l.ready() == nil {
			continue
		}
		delete(f.links, name)
		if f.bridge == l {
			f.bridge = nil
		}
		for _, sub := range l.retire() {
			if sub.home.Load() == l {
				sub.home.Store(nil)
				f.later(sub)
			}
		}
	}
	if f.bridge == nil && len(f.cfg.Bridges) > 0 {
		// Any link will do, because plain channels reach every node of a Cluster.
		for _, f.bridge = range f.links {
			f.bridge.followBridges()
			break
		}
	}
}

// slotTurns is how many looks it takes to compare the slots of nodes that are well.
const slotTurns = 8

// slotsToCheck returns a channel of each slot that has its turn, or whose subscriptions may be at the wrong place.
func (f *Feed) slotsToCheck(look uint16) map[uint16]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	well := make(map[string]bool, len(f.links))
	for name, l := range f.links {
		well[name] = l.ready() == nil
	}
	check := make(map[uint16]string, len(f.slots)/slotTurns)
	for number, s := range f.slots {
		if s.mixed || !well[s.home] || number%slotTurns == look%slotTurns {
			check[number] = s.channel
		}
	}
	return check
}

// rehome moves the subscriptions of a slot to the node that the cluster names, as far as they are not open elsewhere.
func (f *Feed) rehome(number uint16, client *redis.Client) {
	name := client.Options().Addr
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.slots[number]
	if s == nil || f.begin == nil || s.home == name && !s.mixed {
		return
	}
	s.looks++
	open := false
	for sub := range s.members {
		home := sub.home.Load()
		switch {
		case home != nil && home.name == name:
		case home != nil && sub.on.Load() && s.looks < patience:
			open = true
		default:
			f.move(sub, f.link(name, client))
		}
	}
	s.home, s.mixed = name, open
	if !open {
		s.looks = 0
	}
}

// slotOf returns the slot of a subscription. The caller holds the lock.
func (f *Feed) slotOf(sub *subscription) *slot {
	sub.slot = server.Slot(sub.channel)
	s := f.slots[sub.slot]
	if s == nil {
		s = &slot{channel: sub.channel, members: make(map[*subscription]struct{})}
		f.slots[sub.slot] = s
	}
	return s
}
