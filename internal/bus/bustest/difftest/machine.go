package difftest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
)

// machine does everything to both stores.
type machine struct {
	stores    [2]bus.Store
	world     World
	channels  []bus.Address
	users     []bus.Address
	sent      map[bus.Address][]string // ids
	positions map[bus.Address][][2]bus.Position
	revisions map[bus.Address]uint64
	run       string
	began     time.Time
	forked    bool
	ears      [2]*ear // nil while disconnected
	n         int
}

// inboxLog is how the log of an address with an inbox is read.
var inboxLog = bus.Retention{Length: 1000, Age: time.Hour, Inbox: true}

// ear is a running feed.
type ear struct {
	feed     bus.Feed
	messages chan *bus.Message
	stop     func()
}

// Deliver keeps a message.
func (e *ear) Deliver(m *bus.Message) { e.messages <- m }

// Interrupted is not expected, and what is missing then shows as a difference.
func (e *ear) Interrupted([]bus.Address) {}

func newMachine(rt *rapid.T, a, b bus.Store, w World) *machine {
	m := &machine{
		world:  w,
		stores: [2]bus.Store{a, b}, sent: map[bus.Address][]string{}, positions: map[bus.Address][][2]bus.Position{},
		revisions: map[bus.Address]uint64{},
	}
	run := uuid.NewString()
	m.run, m.began = run+".", m.now().Truncate(time.Millisecond)
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
		e.feed = feed
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
				if got.Kind == bus.MessageDeleted { // its id is the store's own
					return fmt.Sprint(got.To, got.Kind)
				}
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

// wait bounds every wait for an event.
const wait = 15 * time.Second

// retentions are short, so that logs are trimmed.
var short = bus.Retention{Length: 5, Age: units(6)}

func (m *machine) next(to bus.Address) bus.Message {
	m.n++
	return bus.Message{ID: fmt.Sprint("m", m.n), To: to, Data: fmt.Append(nil, m.n), ContentType: bus.Text, Published: m.now().Truncate(time.Millisecond)}
}

func (m *machine) publish(rt *rapid.T) {
	p := bus.Publication{Message: m.next(rapid.SampledFrom(m.channels).Draw(rt, "to")), Retention: short}
	if rapid.Bool().Draw(rt, "live") {
		p.Retention = bus.Retention{}
	}
	if rapid.IntRange(0, 3).Draw(rt, "expired") == 0 {
		p.TTL = m.brief()
	}
	if rapid.IntRange(0, 3).Draw(rt, "retain") == 0 {
		p.Retain = units(3)
	}
	p.RequireChannel = rapid.IntRange(0, 5).Draw(rt, "explicit") == 0
	if rapid.IntRange(0, 2).Draw(rt, "key") == 0 {
		p.IdempotencyKey, p.Window = fmt.Sprint("k", rapid.IntRange(0, 3).Draw(rt, "which")), units(3)
		p.Digest = fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "digest"))
	}
	m.send(rt, p)
}

func (m *machine) send(rt *rapid.T, p bus.Publication) {
	var at [2]bus.Position
	heard := 0
	m.both(rt, "publish", func(i int, s bus.Store) string {
		r, err := s.Publish(context.Background(), bustest.Admit(p))
		if err != nil {
			return reason(err)
		}
		if p.TTL == time.Millisecond { // nobody reads it before it has ended
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
		var out strings.Builder
		fmt.Fprint(&out, reason(err), p.More, p.Next.Offset, p.Top.Offset)
		for _, msg := range p.Messages {
			fmt.Fprintf(&out, " %s/%d", msg.ID, msg.Position.Offset)
		}
		return out.String()
	})
}

func (m *machine) newest(rt *rapid.T) {
	to := rapid.SampledFrom(m.channels).Draw(rt, "to")
	before, limit := rapid.Uint64Range(0, 6).Draw(rt, "before"), rapid.IntRange(1, 8).Draw(rt, "limit")
	m.both(rt, "newest", func(_ int, s bus.Store) string {
		p, err := s.Latest(context.Background(), to, short, before, limit)
		var out strings.Builder
		fmt.Fprint(&out, reason(err), p.More)
		for _, msg := range p.Messages {
			fmt.Fprintf(&out, " %s/%d", msg.ID, msg.Position.Offset)
		}
		return out.String()
	})
}

func (m *machine) state(rt *rapid.T) {
	to := rapid.SampledFrom(m.channels).Draw(rt, "to")
	c := bus.StateChange{Publication: bus.Publication{Message: m.next(to), Retention: short}, TTL: units(5), Revision: m.revisions[to]}
	c.Value = fmt.Appendf(nil, "{\"is\":%q}", c.Message.Data)
	if rapid.IntRange(0, 2).Draw(rt, "wrong") == 0 {
		c.Revision += 3
	}
	ok := false
	m.both(rt, "state", func(_ int, s bus.Store) string {
		at, err := s.SetState(context.Background(), bustest.AdmitState(c))
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
	m.both(rt, "delete", func(_ int, s bus.Store) string {
		return reason(s.DeleteState(context.Background(), bustest.AdmitDeletion(to)))
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

// World is what happens around two stores that are compared. What is nil does not happen.
type World struct {
	// Steps is how many there are at least.
	Steps int
	// Now is the time of both stores; time.Now by default.
	Now func() time.Time
	// Advance moves the time of both stores.
	Advance func(d time.Duration)
	// Lose makes the second store lose the answer to its next call that has this text in it, which is carried out or not.
	Lose func(text string, carried bool)
	// Fork gives the second store another life without taking anything from it, as a restart does, and returns when
	// it answers.
	Fork func()
}

// unit is what everything that ends is measured in, and what time is moved by: far more than a run takes.
const unit = time.Minute

// units is n of them and a half, so that nothing ends at the moment to which the time is moved.
func units(n int) time.Duration { return time.Duration(n)*unit + unit/2 }

func (m *machine) now() time.Time {
	if m.world.Now != nil {
		return m.world.Now()
	}
	return time.Now()
}

// brief is a lifetime that is over soon: at once where the time cannot be moved.
func (m *machine) brief() time.Duration {
	if m.world.Advance != nil {
		return units(1)
	}
	return time.Millisecond
}
