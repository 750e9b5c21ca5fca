package memory

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// inbox is the messages of one address that wait for an ack, and what is known of those that did. The
// part's lock guards it.
type inbox struct {
	waiting    []*waiting // by offset
	acked      int        // of those that wait: what everybody acknowledged, kept for devices that come later
	deliveries map[string]*waiting
	collapse   map[string]string // from keys to ids
	until      time.Time         // when the last of all that were published will have ended
	bytes      int               // as the budget counts it
}

// waiting is one message that asks or asked for an ack.
type waiting struct {
	in       *inbox
	message  *bus.Message
	delivery bus.Delivery   // devices in the order in which they came
	times    map[string]int // how often devices were given it
	key      string         // its collapse key
	stored   bool           // Settle has said so
	watched  bool
	forget   time.Time // when it is not known any more; set with its end
}

// enter puts a message into the inbox. It returns the message with its id that waits already, if there is one.
func (c *cell) enter(p *bus.Publication, m *bus.Message, now time.Time) (there *waiting, err error) {
	if c.inbox == nil {
		c.inbox = &inbox{deliveries: make(map[string]*waiting), collapse: make(map[string]string)}
	}
	in, ack := c.inbox, p.Ack
	in.lapse(now)
	in.forget(now)
	if old := in.deliveries[m.ID]; old != nil {
		if old.waits() && now.Before(old.delivery.Expires) {
			return old, nil
		}
		in.remove(old)
	}
	if ack.CollapseKey != "" {
		if old := in.deliveries[in.collapse[ack.CollapseKey]]; old != nil && now.Before(old.delivery.Expires) {
			in.end(old, now, bus.EndCollapsed)
		}
	}
	if !in.room(ack.Limit, now) {
		return nil, bus.ErrInboxFull.With("", map[string]string{"address": m.To.String(), "limit": strconv.Itoa(ack.Limit)})
	}
	c.top++
	m.Position = c.position(c.top)
	w := &waiting{in: in, message: m, key: ack.CollapseKey, times: make(map[string]int), delivery: bus.Delivery{
		To: m.To, ID: m.ID, Scope: ack.Scope, Published: m.Published, Deadline: m.Published.Add(ack.Timeout), Expires: m.Published.Add(ack.Keep),
		MaxDeliveries: ack.MaxDeliveries, DeadLetter: ack.DeadLetter, Author: strings.Clone(ack.Author),
	}}
	in.waiting = append(in.waiting, w)
	in.until = later(in.until, w.delivery.Expires)
	in.deliveries[m.ID] = w
	in.bytes += w.size()
	if w.key != "" {
		in.collapse[w.key] = m.ID
	}
	return nil, nil
}

// room makes room for one message, if it can. What everybody acknowledged leaves with its end, or when as many are kept as may
// wait. What waits leaves with its end.
func (in *inbox) room(limit int, now time.Time) bool {
	if in.acked > 0 {
		in.expire(now, false)
	}
	for in.acked >= limit {
		var first *waiting
		for _, w := range in.waiting {
			if !w.waits() && (first == nil || w.delivery.Expires.Before(first.delivery.Expires)) {
				first = w
			}
		}
		in.drop(first)
	}
	if len(in.waiting)-in.acked >= limit {
		in.expire(now, true)
	}
	return len(in.waiting)-in.acked < limit
}

// expire takes out what waits, or what everybody acknowledged, and whose time is over.
func (in *inbox) expire(now time.Time, waits bool) {
	for _, w := range slices.Clone(in.waiting) {
		if w.waits() == waits && !now.Before(w.delivery.Expires) {
			in.end(w, now, bus.EndTTL)
		}
	}
}

// lapse empties an inbox in which the time of everything is over. Each end is noted by the look that is due.
func (in *inbox) lapse(now time.Time) {
	if !now.Before(in.until) {
		in.waiting, in.acked = nil, 0
	}
}

// waits says whether the message has not ended.
func (w *waiting) waits() bool { return w.delivery.Ended.IsZero() }

// drop takes a message out of the inbox.
func (in *inbox) drop(w *waiting) {
	n := len(in.waiting)
	in.waiting = slices.DeleteFunc(in.waiting, func(other *waiting) bool { return other == w })
	if len(in.waiting) < n && !w.waits() {
		in.acked--
	}
}

// end takes a message out of the inbox, and notes why unless it has ended before.
func (in *inbox) end(w *waiting, now time.Time, why bus.EndReason) {
	in.drop(w)
	if !w.waits() {
		return
	}
	w.delivery.Ended, w.delivery.Reason = now, why
	w.forget = now.Add(bus.ReceiptAge)
	if in.collapse[w.key] == w.delivery.ID {
		delete(in.collapse, w.key)
	}
}

// finish ends a message that was acknowledged. One that each device has to acknowledge is kept for those that come later.
func (in *inbox) finish(w *waiting, now time.Time) {
	if w.delivery.Scope == bus.AnyDevice {
		in.end(w, now, "")
		return
	}
	w.delivery.Ended = now
	w.forget = w.delivery.Expires.Add(bus.ReceiptAge)
	in.acked++
}

// forget drops what has ended long ago: a few with each call.
func (in *inbox) forget(now time.Time) {
	seen := 0
	for id, w := range in.deliveries { // in an order that Go makes random
		if !w.forget.IsZero() && now.After(w.forget) {
			in.remove(in.deliveries[id])
		}
		if seen++; seen >= 4 {
			return
		}
	}
}

// remove forgets a message altogether.
func (in *inbox) remove(w *waiting) {
	in.drop(w)
	in.bytes -= w.size()
	delete(in.deliveries, w.delivery.ID)
}

// sweep drops everything that has ended long ago.
func (in *inbox) sweep(now time.Time) {
	in.lapse(now)
	for _, w := range in.deliveries {
		if !w.forget.IsZero() && now.After(w.forget) {
			in.remove(w)
		}
	}
}

// size is what the message costs.
func (w *waiting) size() int {
	return deliveryCost + sizeOf(w.message) + len(w.key) + len(w.delivery.Author) + len(w.delivery.Devices)*deviceCost
}

func (in *inbox) empty(now time.Time) bool {
	if in == nil {
		return true
	}
	in.forget(now)
	return len(in.deliveries) == 0
}

func (w *waiting) device(client string) *bus.Device {
	for i := range w.delivery.Devices {
		if w.delivery.Devices[i].Client == client {
			return &w.delivery.Devices[i]
		}
	}
	return nil
}

// meet notes that a device was given the message; false when that was known, or it is one too many to be told apart.
func (w *waiting) meet(client string, now time.Time) bool {
	if w.device(client) != nil || w.delivery.SentCount >= bus.MaxDevices {
		return false
	}
	w.delivery.SentCount++
	w.delivery.Devices = append(w.delivery.Devices, bus.Device{Client: strings.Clone(client), Sent: now})
	w.in.bytes += deviceCost
	return true
}

// tell hands a message of our own to the followers of the address.
func (c *cell) tell(to bus.Address, kind bus.MessageKind, id, exclude string, now time.Time) {
	m := &bus.Message{ID: id, To: to, Kind: kind, ContentType: bus.JSON, Published: now, ExcludeConnection: exclude}
	for _, f := range c.feeds {
		f.put(m)
	}
}

// with calls f with the inbox of an address under its lock; the inbox is nil when there is none.
func (s *Store) with(to bus.Address, f func(c *cell, in *inbox, now time.Time)) {
	part := s.part(to)
	part.mu.Lock()
	defer part.mu.Unlock()
	c := part.cells[to]
	if c == nil {
		f(nil, &inbox{}, s.now())
		return
	}
	in := c.inbox
	if in == nil {
		in = &inbox{}
	}
	now := s.now()
	in.lapse(now)
	f(c, in, now)
	s.counted(c)
}

// Pending returns a page of an inbox.
func (s *Store) Pending(ctx context.Context, to bus.Address, q bus.PendingQuery) (bus.PendingPage, error) {
	if err := ctx.Err(); err != nil {
		return bus.PendingPage{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	var page bus.PendingPage
	s.with(to, func(c *cell, in *inbox, now time.Time) {
		if c == nil || c.top == 0 {
			return
		}
		page.Top = c.position(c.top)
		page.Next = c.top
		looked, after := 0, q.After
		if q.Epoch != "" && q.Epoch != c.epoch { // of a life that is over
			after = 0
		}
		for _, w := range in.waiting {
			if w.message.Position.Offset <= after {
				continue
			}
			if q.Until > 0 && w.message.Position.Offset > q.Until {
				break
			}
			if looked == q.Limit {
				page.More = true
				break
			}
			looked++
			page.Next = w.message.Position.Offset
			if out, ok := w.hand(q, now); ok {
				page.Messages = append(page.Messages, out)
			}
		}
		if !page.More {
			page.Next = c.top
		}
	})
	return page, nil
}

// hand returns the message as a device is given it; false when it is not for it.
func (w *waiting) hand(q bus.PendingQuery, now time.Time) (bus.Waiting, bool) {
	d := w.delivery
	d.Devices = nil
	out := bus.Waiting{Message: w.message, Deliveries: d.Deliveries, Delivery: d}
	if !now.Before(d.Expires) {
		return out, false
	}
	if q.Device == "" {
		return out, w.waits()
	}
	v, each := w.device(q.Device), d.Scope == bus.EachDevice
	if v != nil && (!v.Acked.IsZero() || !v.Denied.IsZero()) {
		return out, false
	}
	if v == nil && each && d.SentCount >= bus.MaxDevices {
		return out, false // its ack could not be remembered
	}
	times := d.Deliveries
	if each {
		times = w.times[q.Device]
	}
	dead := d.MaxDeliveries > 0 && times >= d.MaxDeliveries
	if dead && !w.waits() {
		return out, false // what has ended has no dead letters
	}
	out.Dead = q.Deliver && dead
	return out, true
}

// sinceInbox is Since of an address whose log is its inbox. The caller holds the lock.
func (c *cell) sinceInbox(to bus.Address, after bus.Position, limit int, now time.Time) (bus.Page, error) {
	page := bus.Page{Top: c.position(c.top), Next: c.position(c.top)}
	gap := after.Epoch != "" && (after.Epoch != c.epoch || after.Offset > c.top)
	if gap && after.Epoch != c.epoch {
		after.Offset = 0
	}
	looked, last := 0, page.Next
	if c.inbox != nil {
		for _, w := range c.inbox.waiting {
			if w.message.Position.Offset <= after.Offset {
				continue
			}
			if looked == limit {
				page.More = true
				page.Next = last
				break
			}
			looked++
			last = w.message.Position
			if now.Before(w.delivery.Expires) {
				page.Messages = append(page.Messages, w.message)
			}
		}
	}
	if gap {
		return page, bus.ErrGap.With("", map[string]string{"address": to.String()})
	}
	return page, nil
}

// Delivery returns what is known of a message.
func (s *Store) Delivery(ctx context.Context, to bus.Address, id string, watch bool) (bus.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return bus.Delivery{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	d, err := bus.Delivery{}, notFound(to, id)
	s.with(to, func(_ *cell, in *inbox, now time.Time) {
		if w := in.deliveries[id]; w != nil && (w.forget.IsZero() || now.Before(w.forget)) {
			w.watched = w.watched || watch
			d, err = w.delivery, nil
			d.Devices = slices.Clone(d.Devices)
		}
	})
	d.Sort()
	return d, err
}

// InboxStats says how full an inbox is.
func (s *Store) InboxStats(ctx context.Context, to bus.Address) (bus.InboxStats, error) {
	if err := ctx.Err(); err != nil {
		return bus.InboxStats{}, bus.ErrStoreUnavailable.Wrap(err)
	}
	var stats bus.InboxStats
	s.with(to, func(_ *cell, in *inbox, _ time.Time) {
		stats.Count = len(in.waiting) - in.acked
		if len(in.waiting) > 0 {
			stats.Oldest = in.waiting[0].message.Published
		}
	})
	return stats, nil
}

// changed tells those who watch a delivery.
func (c *cell) changed(w *waiting, now time.Time) {
	if w.watched {
		c.tell(w.delivery.To, bus.MessageReceipt, w.delivery.ID, "", now)
	}
}

// notFound is the error about a message that no inbox has.
func notFound(to bus.Address, id string) error {
	return bus.ErrMessageNotFound.With("", map[string]string{"address": to.String(), "id": id})
}
