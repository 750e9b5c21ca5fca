package links

import (
	"context"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/retry"
)

// singleLinks is how many links a single server has.
const singleLinks = 2

// place finds the link that a subscription belongs to. It may ask the cluster, so the lock is not held meanwhile.
func (f *Feed) place(ctx context.Context, sub *subscription) {
	name, client := f.target(ctx, sub)
	f.mu.Lock()
	defer f.mu.Unlock()
	// While the cluster was asked it may have been left or opened, or the feed may have ended.
	if f.subs[sub.address] != sub || f.begin == nil || sub.on.Load() {
		return
	}
	// What an error has named is newer than what the client knows of the cluster.
	if l := f.links[sub.hint]; l != nil {
		sub.hint = ""
		f.move(sub, l)
		return
	}
	if client == nil {
		f.later(sub) // the cluster is not known
		return
	}
	f.move(sub, f.link(name, client))
}

// target names the link of an address.
func (f *Feed) target(ctx context.Context, sub *subscription) (string, *redis.Client) {
	if f.cluster == nil {
		if sub.alias != "" {
			return "0", f.single // other programs read all their names on one connection, and rely on the order over them
		}
		return OfSingle(sub.address), f.single
	}
	client, err := f.cluster.MasterForKey(ctx, sub.channel)
	if err != nil {
		return "", nil
	}
	return client.Options().Addr, client
}

// OfSingle names the link of an address where there is one server.
func OfSingle(a bus.Address) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.String())) // a hash never fails
	return strconv.Itoa(int(h.Sum32() % singleLinks))
}

// link returns the link of that name, starting it when it is new. The caller holds the lock.
func (f *Feed) link(name string, client *redis.Client) *link {
	if l := f.links[name]; l != nil {
		// A node that comes back at its address has another client, and the next connection is made with it.
		l.client.Store(client)
		return l
	}
	l := newLink(f, name, client)
	f.links[name] = l
	f.begin(l)
	return l
}

// move gives a subscription to a link, or asks for it again at the one that it has. The caller holds the lock.
func (f *Feed) move(sub *subscription, l *link) {
	delete(f.waiting, sub)
	// Left first, because both may be the same link: leaving takes out what is wanted there.
	if old := sub.home.Load(); old != nil {
		old.leave(sub)
	}
	// Set before it is asked for: take would drop the first messages that come by the new link.
	sub.home.Store(l)
	if s := f.slots[sub.slot]; s != nil && s.home != l.name {
		s.mixed = true
	}
	l.follow(sub)
}

// stepsAtOnce is how often in a row a subscription is placed anew without a pause. It is placed where it was, in case its slot is
// back, and then where that node says that the slot is now.
const stepsAtOnce = 3

// lasted is how long a subscription has to be open before its next loss begins a new row.
const lasted = time.Second

// astray places a subscription anew that the server of a link has ended. The node is asked where the address lives now by
// subscribing there again: it takes it, or says who has the slot.
func (f *Feed) astray(sub *subscription, from *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begins(sub, from) {
		f.step(sub, from)
	}
}

// denied takes the error with which a server has answered a subscription. One that names another node is followed, any other is
// answered by a pause.
func (f *Feed) denied(sub *subscription, by *link, text string) {
	f.cfg.Log.Debug("a subscription was refused, placing it anew", slog.String("address", sub.address.String()), slog.String("error", text))
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.begins(sub, by) {
		return
	}
	if sub.hint = movedTo(text); sub.hint == "" {
		// An error that names no place would come again at once, so the next try waits.
		sub.tries = max(sub.tries, stepsAtOnce)
	}
	f.step(sub, f.links[sub.hint])
}

// begins notes that a subscription is not open; false when it was left or has another place by now. The caller holds the lock.
func (f *Feed) begins(sub *subscription, at *link) bool {
	if f.subs[sub.address] != sub || sub.home.Load() != at || f.begin == nil {
		return false
	}
	if sub.open && time.Since(sub.since) > lasted {
		sub.tries = 0
	}
	sub.open = false
	// The first loss counts: with the time of the last one, tries that fail would keep Ready green.
	if _, known := f.deaf[sub]; !known && sub.ever.Load() {
		f.deaf[sub] = time.Now()
	}
	return true
}

// step places a subscription at a link, or later when there is none or this has been tried too often. The caller holds the lock.
func (f *Feed) step(sub *subscription, to *link) {
	sub.tries++
	if to == nil || sub.tries > stepsAtOnce {
		f.later(sub)
		return
	}
	f.move(sub, to)
}

// later places a subscription after a pause. The caller holds the lock.
func (f *Feed) later(sub *subscription) {
	f.waiting[sub] = time.Now().Add(retry.Backoff(max(1, sub.tries-stepsAtOnce)))
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

const (
	// placeEvery is the time between two looks at what waits for a place.
	placeEvery = 50 * time.Millisecond
	// placeChunk and placeLook are how many are placed and looked at in one.
	placeChunk, placeLook = 512, 4096
)

// placeLoop places what waits for it.
func (f *Feed) placeLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		for more := true; more && ctx.Err() == nil; {
			if f.cluster != nil {
				f.cluster.ReloadState(ctx) // it has a pause of its own
			}
			// A node that goes away ends many subscriptions at once, and these are placed together.
			retry.Wait(ctx, placeEvery)
			var subs []*subscription
			subs, more = f.due(time.Now())
			for _, sub := range subs {
				f.place(ctx, sub)
			}
		}
	}
}

// due takes out some of those whose pause is over, and says whether others are left.
func (f *Feed) due(now time.Time) (subs []*subscription, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	looked := 0
	for sub, at := range f.waiting { // begins anywhere, so all have their turn
		if looked++; looked > placeLook || len(subs) == placeChunk {
			break
		}
		if now.After(at) {
			delete(f.waiting, sub)
			subs = append(subs, sub)
		}
	}
	return subs, len(f.waiting) > 0
}

// movedTo is where an error says that a slot lives; empty when it says nothing of that.
func movedTo(text string) string {
	if f := strings.Fields(text); len(f) == 3 && f[0] == "MOVED" {
		return f[2]
	}
	return ""
}
