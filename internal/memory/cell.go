package memory

import (
	"sort"
	"strconv"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// cell is what is known of one address. The part's lock guards it.
type cell struct {
	epoch string
	top   uint64
	log   []*bus.Message // the offsets up to top, dense, oldest first
	keep  bus.Retention  // of the last publish
	used  time.Time
	feeds []*feed
	keys  map[key]answer
	order map[string][]string // the keys of each publisher, the first used first
	state *kept               // nil when there is none
	inbox *inbox              // nil until a message asks for an ack
	last  retained
	bytes int // of everything here but the inbox, as the budget counts it
	told  int // to the budget
}

// retained is the last message of an address.
type retained struct {
	m     *bus.Message
	until time.Time
}

// lastAt returns the message that is retained, while it is kept and has not expired.
func (c *cell) lastAt(now time.Time) *bus.Message {
	if r := c.last; r.m != nil && (!now.Before(r.until) || r.m.Expired(now)) {
		c.retain(retained{})
	}
	return c.last.m
}

// retain makes a message the last one; none with the zero value.
func (c *cell) retain(r retained) {
	if c.last.m != nil {
		c.bytes -= sizeOf(c.last.m)
	}
	if c.last = r; r.m != nil {
		c.bytes += sizeOf(r.m)
	}
}

// key is an idempotency key and whose it is.
type key struct{ publisher, key string }

func keyOf(p *bus.Publication) key { return key{p.Publisher, p.IdempotencyKey} }

// answer is what an idempotency key stands for.
type answer struct {
	digest  string
	receipt bus.Receipt
	state   *bus.State // of a change of the state; nil otherwise
	until   time.Time
}

// epochMemory is how long the epoch of an address outlives its messages.
const epochMemory = time.Hour

func (c *cell) idle(now time.Time) bool {
	c.age(now)
	for publisher := range c.order {
		c.forget(publisher, now)
	}
	return len(c.feeds) == 0 && len(c.log) == 0 && len(c.keys) == 0 && c.inbox.empty(now) && c.stateAt(now).Revision == 0 && c.lastAt(now) == nil && now.Sub(c.used) > epochMemory
}

// first is the offset of the oldest message; top+1 when there is none.
func (c *cell) first() uint64 { return c.top - uint64(len(c.log)) + 1 }

func (c *cell) position(offset uint64) bus.Position {
	return bus.Position{Epoch: c.epoch, Offset: offset}
}

// append gives the message the next position and keeps it.
func (c *cell) append(m *bus.Message, keep bus.Retention) {
	c.top++
	m.Position = c.position(c.top)
	c.keep = keep
	if n := len(c.log); n > 0 && m.Published.Before(c.log[n-1].Published) {
		ttl := time.Duration(0)
		if !m.Expires.IsZero() {
			ttl = m.Expires.Sub(m.Published)
		}
		stamp(m, c.log[n-1].Published, ttl) // times never fall within a log
	}
	c.log = append(c.log, m)
	c.bytes += sizeOf(m)
	if over := len(c.log) - keep.Length; over > 0 {
		c.trim(over)
	}
}

// trim drops the oldest messages.
func (c *cell) trim(n int) {
	for _, m := range c.log[:n] {
		c.bytes -= sizeOf(m)
	}
	clear(c.log[:n])
	if c.log = c.log[n:]; len(c.log) == 0 {
		c.log = nil // and its room
	}
}

// age drops what is older than its publishers keep it.
func (c *cell) age(now time.Time) {
	if n := c.young(now, c.keep.Age); n > 0 {
		c.trim(n)
	}
}

// young is the index of the first message that is not older than an age, which readers do not see; 0 means any age.
func (c *cell) young(now time.Time, age time.Duration) int {
	if age <= 0 {
		return 0
	}
	return sort.Search(len(c.log), func(i int) bool { return now.Sub(c.log[i].Published) <= age })
}

// repeat returns the first answer for a key; false when there is none.
func (c *cell) repeat(p *bus.Publication, now time.Time) (bus.Receipt, bool, error) {
	a, ok := c.keys[keyOf(p)]
	if !ok || !now.Before(a.until) {
		return bus.Receipt{}, false, nil
	}
	if a.digest != p.Digest {
		return bus.Receipt{}, false, bus.ErrIdempotencyMismatch.With("", map[string]string{"idempotencyKey": p.IdempotencyKey})
	}
	r := a.receipt
	r.Duplicate = true
	return r, true, nil
}

// mayRemember refuses a publisher that has so many keys that another one would push out one of its own before its time. Those of others
// are never in the way. Of Trunkline's own the first go: it tells many events, and repeats one soon or never.
func (c *cell) mayRemember(p *bus.Publication, now time.Time, limit int) error {
	c.forget(p.Publisher, now)
	order := c.order[p.Publisher]
	switch {
	case len(order) < limit:
		return nil
	case p.Publisher == "":
		c.unkey(key{"", order[0]})
		c.order[""] = order[1:]
		return nil
	}
	return bus.ErrStorageFull.With("the publisher has used too many idempotency keys on the address lately", map[string]string{
		"address": p.Message.To.String(), "limit": strconv.Itoa(limit),
	})
}

// remember keeps the answer for a key.
func (c *cell) remember(p *bus.Publication, r bus.Receipt, now time.Time) {
	if c.keys == nil {
		c.keys, c.order = make(map[key]answer), make(map[string][]string)
	}
	a := answer{digest: p.Digest, receipt: r, until: now.Add(p.Window)}
	c.keys[keyOf(p)] = a
	c.bytes += sizeOfKey(keyOf(p), a)
	c.order[p.Publisher] = append(c.order[p.Publisher], p.IdempotencyKey)
}

// unkey drops a key.
func (c *cell) unkey(k key) {
	if a, ok := c.keys[k]; ok {
		c.bytes -= sizeOfKey(k, a)
		delete(c.keys, k)
	}
}

// forget drops the keys of a publisher whose time is over.
func (c *cell) forget(publisher string, now time.Time) {
	order := c.order[publisher]
	for len(order) > 0 && !now.Before(c.keys[key{publisher, order[0]}].until) {
		c.unkey(key{publisher, order[0]})
		order = order[1:]
	}
	if len(order) == 0 {
		delete(c.order, publisher)
		return
	}
	c.order[publisher] = order
}

// page returns what is kept from an index on, oldest first. What has expired counts as looked at.
func (c *cell) page(index, limit int, now time.Time) bus.Page {
	p := bus.Page{Top: c.position(c.top), Next: c.position(c.top)}
	for end := index + limit; index < len(c.log) && index < end; index++ {
		if m := c.log[index]; !m.Expired(now) {
			p.Messages = append(p.Messages, m)
		}
	}
	if index < len(c.log) {
		p.Next = c.position(c.first() + uint64(index) - 1)
		p.More = true
	}
	return p
}

// stamp gives a message its times.
func stamp(m *bus.Message, now time.Time, ttl time.Duration) {
	m.Published, m.Expires = now.Truncate(time.Millisecond), time.Time{}
	if ttl > 0 {
		m.Expires = m.Published.Add(ttl)
	}
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
