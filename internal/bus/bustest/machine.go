package bustest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/bus"
)

// Same proves that two stores cannot be told apart: random publishes, acks, reads, resumes, trims, expiries and
// disconnects, done to both, show the same.
func Same(t *testing.T, a, b bus.Store) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt, a, b)
		defer m.close()
		rt.Repeat(map[string]func(*rapid.T){
			"publish":    m.publish,
			"mail":       m.mail,
			"ack":        m.ack,
			"deny":       m.deny,
			"pending":    m.pending,
			"resume":     m.resume,
			"newest":     m.newest,
			"state":      m.state,
			"delivery":   m.delivery,
			"disconnect": m.disconnect,
			"delete":     m.deleteState,
		})
	})
}

// machine does everything to both stores.
type machine struct {
	stores    [2]bus.Store
	channels  []bus.Address
	users     []bus.Address
	sent      map[bus.Address][]string // ids
	positions map[bus.Address][][2]bus.Position
	revisions map[bus.Address]uint64
	ears      [2]*ear // nil while disconnected
	n         int
}

// ear is a running feed.
type ear struct {
	messages chan *bus.Message
	stop     func()
}

// Deliver keeps a message.
func (e *ear) Deliver(m *bus.Message) { e.messages <- m }

// Interrupted is not expected, and what is missing then shows as a difference.
func (e *ear) Interrupted([]bus.Address) {}

func newMachine(rt *rapid.T, a, b bus.Store) *machine {
	m := &machine{
		stores: [2]bus.Store{a, b}, sent: map[bus.Address][]string{}, positions: map[bus.Address][][2]bus.Position{},
		revisions: map[bus.Address]uint64{},
	}
	run := uuid.NewString()
	for i := range 2 {
		c, err := bus.NewAddress(bus.KindChannels, fmt.Sprintf("machine:%s.%d", run, i))
		m.must(rt, err)
		u, err := bus.NewAddress(bus.KindUsers, fmt.Sprintf("%s.%d", run, i))
		m.must(rt, err)
		m.channels, m.users = append(m.channels, c), append(m.users, u)
	}
	m.connect(rt)
	return m
}

func (m *machine) must(rt *rapid.T, err error) {
	rt.Helper()
	if err != nil {
		rt.Fatal(err)
	}
}

func (m *machine) connect(rt *rapid.T) {
	for i, s := range m.stores {
		e := &ear{messages: make(chan *bus.Message, 1024)}
		feed := s.NewFeed()
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { _ = feed.Run(ctx, e) })
		e.stop = func() { cancel(); done.Wait() }
		sub, stop := context.WithTimeout(ctx, wait)
		m.must(rt, feed.Subscribe(sub, append(append([]bus.Address(nil), m.channels...), m.users...)...))
		stop()
		m.ears[i] = e
	}
}

func (m *machine) close() {
	for i, e := range m.ears {
		if e != nil {
			e.stop()
			m.ears[i] = nil
		}
	}
}

// both does something to both stores and compares what it says.
func (m *machine) both(rt *rapid.T, what string, do func(i int, s bus.Store) string) {
	rt.Helper()
	first := do(0, m.stores[0])
	if second := do(1, m.stores[1]); first != second {
		rt.Fatalf("%s:\n%s\n%s", what, first, second)
	}
}

// heard compares the next message of both feeds.
func (m *machine) heard(rt *rapid.T, n int) {
	rt.Helper()
	if m.ears[0] == nil {
		return
	}
	for range n {
		m.both(rt, "the feeds differ", func(i int, _ bus.Store) string {
			select {
			case got := <-m.ears[i].messages:
				return fmt.Sprint(got.To, got.ID, got.Kind, got.Ack, got.Position.Offset, string(got.Data), got.ExcludeConnection)
			case <-time.After(wait):
				return "nothing"
			}
		})
	}
}

func reason(err error) string {
	if err == nil {
		return "OK"
	}
	if e, ok := err.(*bus.Error); ok { //nolint:errorlint // stores return it bare
		return e.Reason
	}
	return err.Error()
}

// retentions are short, so that logs are trimmed.
var short = bus.Retention{Length: 5, Age: time.Hour}

func (m *machine) next(to bus.Address) bus.Message {
	m.n++
	return bus.Message{ID: fmt.Sprint("m", m.n), To: to, Data: fmt.Append(nil, m.n), ContentType: bus.Text, Published: time.Now().Truncate(time.Millisecond)}
}

func (m *machine) publish(rt *rapid.T) {
	p := bus.Publication{Message: m.next(rapid.SampledFrom(m.channels).Draw(rt, "to")), Retention: short}
	if rapid.Bool().Draw(rt, "live") {
		p.Retention = bus.Retention{}
	}
	if rapid.IntRange(0, 3).Draw(rt, "expired") == 0 {
		p.TTL = time.Millisecond
	}
	if rapid.IntRange(0, 2).Draw(rt, "key") == 0 {
		p.IdempotencyKey, p.Window = fmt.Sprint("k", rapid.IntRange(0, 3).Draw(rt, "which")), time.Hour
		p.Digest = fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "digest"))
	}
	m.send(rt, p)
}

func (m *machine) mail(rt *rapid.T) {
	p := bus.Publication{Message: m.next(rapid.SampledFrom(m.users).Draw(rt, "to"))}
	p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, Timeout: time.Hour, Keep: 2 * time.Hour, Limit: 6}
	if rapid.Bool().Draw(rt, "each device") {
		p.Ack.Scope = bus.EachDevice
	}
	switch rapid.IntRange(0, 4).Draw(rt, "kind") {
	case 0:
		p.Ack.CollapseKey = "c"
	case 1:
		p.Ack.MaxDeliveries, p.Ack.DeadLetter = 1, m.channels[0]
	case 2: // it ends before anybody can have it
		p.Ack.Timeout, p.Ack.Keep = 0, 0
	}
	p.Message.Ack = p.Ack.Scope
	m.sent[p.Message.To] = append(m.sent[p.Message.To], p.Message.ID)
	m.send(rt, p)
}

func (m *machine) send(rt *rapid.T, p bus.Publication) {
	var at [2]bus.Position
	heard := 0
	m.both(rt, "publish", func(i int, s bus.Store) string {
		r, err := s.Publish(context.Background(), Admit(p))
		if err != nil {
			return reason(err)
		}
		if p.TTL > 0 { // nobody reads it before it has ended
			for !s.Now().After(r.Published.Add(10 * p.TTL)) {
				runtime.Gosched()
			}
		}
		at[i] = r.Position
		if !r.Duplicate {
			heard = 1
		}
		return fmt.Sprint(reason(err), r.Position.Offset, r.Duplicate, r.Durability)
	})
	if !at[0].IsZero() {
		m.positions[p.Message.To] = append(m.positions[p.Message.To], at)
	}
	m.heard(rt, heard)
}

func (m *machine) ack(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	ids := append([]string{"unknown"}, m.sent[to]...)
	device := rapid.SampledFrom([]string{"phone", "desk"}).Draw(rt, "device")
	n := rapid.IntRange(1, 3).Draw(rt, "n")
	acks := make([]bus.Ack, n)
	for i := range acks {
		acks[i] = bus.Ack{To: to, ID: rapid.SampledFrom(ids).Draw(rt, "id"), Device: device, Connection: device}
	}
	before := m.dismissals(rt, acks)
	m.both(rt, "ack", func(_ int, s bus.Store) string {
		out := ""
		for _, err := range s.Ack(context.Background(), acks) {
			out += reason(err) + " "
		}
		return out
	})
	m.heard(rt, before)
}

// deny denies a message to a device.
func (m *machine) deny(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	d := bus.Denial{
		To: to, ID: rapid.SampledFrom(append([]string{"unknown"}, m.sent[to]...)).Draw(rt, "id"),
		Device: rapid.SampledFrom([]string{"phone", "desk"}).Draw(rt, "device"), Why: fmt.Sprint("why ", rapid.IntRange(0, 1).Draw(rt, "why")),
	}
	m.both(rt, "deny", func(_ int, s bus.Store) string { return reason(s.MarkDenied(context.Background(), []bus.Denial{d})) })
}

// dismissals says how many messages these acks end.
func (m *machine) dismissals(rt *rapid.T, acks []bus.Ack) int {
	n := 0
	seen := map[string]bool{}
	for _, a := range acks {
		d, err := m.stores[0].Delivery(context.Background(), a.To, a.ID, false)
		never := slices.ContainsFunc(d.Devices, func(v bus.Device) bool { return v.Client == a.Device && !v.Denied.IsZero() && v.Sent.IsZero() })
		if err == nil && !seen[a.ID] && d.Scope == bus.AnyDevice && d.Ended.IsZero() && d.Expires.After(time.Now()) && !never {
			n++
		}
		seen[a.ID] = true
	}
	return n
}

func (m *machine) pending(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	q := bus.PendingQuery{
		Device: rapid.SampledFrom([]string{"", "phone", "desk"}).Draw(rt, "device"), Limit: 1000, // see resume
		After: rapid.Uint64Range(0, 5).Draw(rt, "after"),
	}
	q.Deliver = q.Device != "" && rapid.Bool().Draw(rt, "deliver")
	var given []bus.Ack
	m.both(rt, "pending", func(_ int, s bus.Store) string {
		p, err := s.Pending(context.Background(), to, q)
		out := fmt.Sprint(reason(err), p.Next, p.More, p.Top.Offset)
		for _, w := range p.Messages {
			out += fmt.Sprintf(" %s/%d/%d/%t/%d/%t", w.ID, w.Position.Offset, w.Deliveries, w.Dead, w.Delivery.SentCount, w.Delivery.Ended.IsZero())
			if q.Deliver && !w.Dead {
				given = append(given, bus.Ack{To: to, ID: w.ID, Device: q.Device, Again: true})
			}
		}
		return out
	})
	if rapid.Bool().Draw(rt, "live") && q.Deliver {
		for i := range given {
			given[i].Again = false
		}
	}
	given = given[:len(given)/2] // what the first store said, and what the second
	m.both(rt, "sent", func(_ int, s bus.Store) string { return reason(s.MarkSent(context.Background(), given)) })
}

func (m *machine) resume(rt *rapid.T) {
	to := rapid.SampledFrom(append(m.channels, m.users...)).Draw(rt, "to")
	keep := short
	if to.HasInbox() {
		keep = inboxLog
	}
	known := append([][2]bus.Position{{}}, m.positions[to]...)
	at := rapid.SampledFrom(known).Draw(rt, "after")
	limit := rapid.IntRange(1, 8).Draw(rt, "limit")
	if to.HasInbox() {
		limit = 1000 // an entry that has ended may be gone or counted as looked at
	}
	m.both(rt, "resume", func(i int, s bus.Store) string {
		p, err := s.Since(context.Background(), to, keep, at[i], limit)
		out := fmt.Sprint(reason(err), p.More, p.Next.Offset, p.Top.Offset)
		for _, msg := range p.Messages {
			out += fmt.Sprintf(" %s/%d", msg.ID, msg.Position.Offset)
		}
		return out
	})
}

func (m *machine) newest(rt *rapid.T) {
	to := rapid.SampledFrom(m.channels).Draw(rt, "to")
	before, limit := rapid.Uint64Range(0, 6).Draw(rt, "before"), rapid.IntRange(1, 8).Draw(rt, "limit")
	m.both(rt, "newest", func(_ int, s bus.Store) string {
		p, err := s.Latest(context.Background(), to, short, before, limit)
		out := fmt.Sprint(reason(err), p.More)
		for _, msg := range p.Messages {
			out += fmt.Sprintf(" %s/%d", msg.ID, msg.Position.Offset)
		}
		return out
	})
}

func (m *machine) state(rt *rapid.T) {
	to := rapid.SampledFrom(m.channels).Draw(rt, "to")
	c := bus.StateChange{Publication: bus.Publication{Message: m.next(to), Retention: short}, TTL: time.Hour, Revision: m.revisions[to]}
	c.Value = c.Message.Data
	if rapid.IntRange(0, 2).Draw(rt, "wrong") == 0 {
		c.Revision += 3
	}
	ok := false
	m.both(rt, "state", func(_ int, s bus.Store) string {
		at, err := s.SetState(context.Background(), AdmitState(c))
		if ok = err == nil; ok {
			m.revisions[to] = at.Revision
		}
		now, err2 := s.State(context.Background(), to)
		return fmt.Sprint(reason(err), at.Revision, reason(err2), string(now.Value), now.Revision)
	})
	if ok {
		m.heard(rt, 1)
	}
}

func (m *machine) deleteState(rt *rapid.T) {
	to := rapid.SampledFrom(m.channels).Draw(rt, "to")
	m.revisions[to] = 0
	m.both(rt, "delete", func(_ int, s bus.Store) string { return reason(s.DeleteState(context.Background(), AdmitDeletion(to))) })
}

func (m *machine) delivery(rt *rapid.T) {
	to := rapid.SampledFrom(m.users).Draw(rt, "to")
	id := rapid.SampledFrom(append([]string{"unknown"}, m.sent[to]...)).Draw(rt, "id")
	settle := rapid.Bool().Draw(rt, "settle")
	now := time.Now()
	m.both(rt, "delivery", func(_ int, s bus.Store) string {
		out := ""
		d, err := s.Delivery(context.Background(), to, id, false)
		if settle {
			o, err := s.Settle(context.Background(), bus.Due{To: to, ID: id})
			next := o.Next.Sub(d.Published) // each store has a clock of its own
			if o.Next.IsZero() {
				next = 0
			}
			out = fmt.Sprint(reason(err), o.Changed, next, " ")
			d, err = s.Delivery(context.Background(), to, id, false)
			out += reason(err)
		}
		out += fmt.Sprint(reason(err), d.State(now), d.Scope, d.Deliveries, d.SentCount, d.AckedCount, d.Reason, d.MaxDeliveries, d.DeadLetter)
		out += fmt.Sprint(" ", d.State(d.Deadline), d.DeniedCount, d.DeniedWhy)
		for _, v := range d.Devices {
			out += fmt.Sprintf(" %s/%t/%t/%t/%s", v.Client, v.Sent.IsZero(), v.Acked.IsZero(), v.Denied.IsZero(), v.Why)
		}
		return out
	})
}

// disconnect leaves the feeds, or comes back.
func (m *machine) disconnect(rt *rapid.T) {
	if m.ears[0] == nil {
		m.connect(rt)
		return
	}
	for i, e := range m.ears {
		if len(e.messages) > 0 {
			rt.Fatalf("feed %d has %d messages too many", i, len(e.messages))
		}
	}
	m.close()
}
