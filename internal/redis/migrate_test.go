package redis_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

var longRun = flag.Bool("long", false, "leave a slot half moved for a minute")

// traffic is what callers do with a channel and an inbox, all the time, until it is stopped.
type traffic struct {
	t       *testing.T
	s       *redis.Store
	channel bus.Address
	inbox   bus.Address

	running sync.WaitGroup
	stop    chan struct{}
	counts  []*atomic.Int64

	revision uint64 // of the state: its loop's own
	tries    int

	mu   sync.Mutex
	errs []error
	kept []string // the ids that were appended to the channel
}

func startTraffic(t *testing.T, s *redis.Store, channel, inbox bus.Address) *traffic {
	t.Helper()
	w := &traffic{t: t, s: s, channel: channel, inbox: inbox, stop: make(chan struct{})}
	w.loop("durable, repeated", w.repeated)
	w.loop("live", w.live)
	w.loop("live with a key", w.liveOnce)
	w.loop("strict", w.strict)
	w.loop("batch", w.batch)
	w.loop("state", w.state)
	w.loop("mail", w.mail)
	w.loop("read", w.read)
	return w
}

// loop does something again and again. The number of the round is never that of another.
func (w *traffic) loop(name string, do func(ctx context.Context, n int64) error) {
	count := new(atomic.Int64)
	w.counts = append(w.counts, count)
	w.running.Go(func() {
		for {
			select {
			case <-w.stop:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := do(ctx, count.Load())
			cancel()
			if err != nil {
				w.fail(fmt.Errorf("%s, round %d: %w", name, count.Load(), err))
			}
			count.Add(1)
		}
	})
}

func (w *traffic) fail(err error) {
	if e, ok := errors.AsType[*bus.Error](err); ok {
		err = fmt.Errorf("%w (%s)", err, e.Detail())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// goesOn waits until everything was done so many times more.
func (w *traffic) goesOn(n int64) {
	w.t.Helper()
	for _, count := range w.counts {
		from := count.Load()
		testkit.Eventually(w.t, "the traffic goes on", func() bool { return count.Load() >= from+n })
	}
}

func (w *traffic) end() {
	close(w.stop)
	w.running.Wait()
}

func (w *traffic) appended(ids ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, ids...)
}

func (w *traffic) once(ctx context.Context, kind string, n int64, change func(p *bus.Publication)) (bus.Receipt, error) {
	key := fmt.Sprint(kind, n)
	p := publication(w.channel)
	p.Retention, p.Message.ID, p.Message.Data = long, key, []byte(key)
	p.IdempotencyKey, p.Digest, p.Window = key, "d", time.Hour
	change(&p)
	return w.s.Publish(ctx, bustest.Admit(p))
}

func (w *traffic) repeated(ctx context.Context, n int64) error {
	first, err := w.once(ctx, "repeated", n, func(*bus.Publication) {})
	if err != nil {
		return err
	}
	w.appended(fmt.Sprint("repeated", n))
	second, err := w.once(ctx, "repeated", n, func(*bus.Publication) {})
	if err == nil && (first.Duplicate || !second.Duplicate || second.Position != first.Position) {
		err = fmt.Errorf("%+v, then %+v", first, second)
	}
	return err
}

func (w *traffic) live(ctx context.Context, _ int64) error {
	p := publication(w.channel)
	p.Retention = bus.Retention{}
	_, err := w.s.Publish(ctx, bustest.Admit(p))
	return err
}

func (w *traffic) liveOnce(ctx context.Context, n int64) error {
	r, err := w.once(ctx, "live", n, func(p *bus.Publication) { p.Retention = bus.Retention{} })
	if err == nil && r.Duplicate {
		err = errors.New("a duplicate")
	}
	return err
}

func (w *traffic) strict(ctx context.Context, n int64) error {
	r, err := w.once(ctx, "strict", n, func(p *bus.Publication) { p.Durability = bus.Replicated })
	if err == nil && r.Duplicate {
		err = errors.New("a duplicate")
	}
	w.appended(fmt.Sprint("strict", n))
	return err
}

func (w *traffic) batch(ctx context.Context, n int64) error {
	var ps []bus.Publication
	for i := range 3 {
		p := publication(w.channel)
		p.Retention, p.Message.ID = long, fmt.Sprint("batch", 3*n+int64(i))
		ps = append(ps, p)
		w.appended(p.Message.ID)
	}
	receipts, errs := w.s.PublishAll(ctx, bustest.AdmitAll(ps...))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i := 1; i < len(receipts); i++ {
		if receipts[i].Position.Offset <= receipts[i-1].Position.Offset {
			return fmt.Errorf("a batch is out of order: %+v", receipts)
		}
	}
	return nil
}

func (w *traffic) state(ctx context.Context, n int64) error {
	p := publication(w.channel)
	p.Retention, p.Message.ID = long, fmt.Sprint("state", n)
	w.appended(p.Message.ID)
	now, err := w.s.SetState(ctx, bustest.AdmitState(bus.StateChange{Publication: p, Value: []byte("{}"), TTL: time.Hour, Revision: w.revision}))
	w.revision = now.Revision
	return err
}

// mail publishes to the inbox, reads it and acknowledges everything.
func (w *traffic) mail(ctx context.Context, n int64) error {
	p := mail(w.inbox, fmt.Sprint("mail", n))
	if _, err := w.s.Publish(ctx, bustest.Admit(p)); err != nil {
		return err
	}
	page, err := w.s.Pending(ctx, w.inbox, bus.PendingQuery{Device: "phone", Limit: 100, Deliver: true})
	if err != nil {
		return err
	}
	if len(page.Messages) != 1 || string(page.Messages[0].Data) != string(p.Message.Data) {
		return fmt.Errorf("%d messages wait, want mail %d", len(page.Messages), n)
	}
	ack := bus.Ack{To: w.inbox, ID: page.Messages[0].ID, Device: "phone"}
	if err := errors.Join(w.s.Ack(ctx, []bus.Ack{ack})...); err != nil {
		return fmt.Errorf("ack: %w", err)
	}
	d, err := w.s.Delivery(ctx, w.inbox, ack.ID, false)
	if err == nil && d.Ended.IsZero() {
		err = errors.New("acknowledged and not ended")
	}
	return err
}

func (w *traffic) read(ctx context.Context, _ int64) error {
	_, errs := w.s.Tops(ctx, []bus.Address{w.channel, w.inbox})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err := w.s.Since(ctx, w.channel, long, bus.Position{}, 10)
	return err
}

// heard proves that a follower hears live messages, which nothing but a push brings.
func (w *traffic) heard(f *follower) {
	w.t.Helper()
	for _, key := range []string{"", "heard" + strconv.Itoa(w.tries)} {
		w.tries++
		p := publication(w.channel)
		p.Retention = bus.Retention{}
		if key != "" {
			p.IdempotencyKey, p.Digest, p.Window = key, "d", time.Hour
		}
		_, err := w.s.Publish(w.t.Context(), bustest.Admit(p))
		testkit.Check(w.t, err)
		testkit.Eventually(w.t, "the follower hears a live message", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return slices.ContainsFunc(f.messages, func(m *bus.Message) bool { return m.ID == p.Message.ID })
		})
	}
}

// judge compares what was answered with what is there and with what a follower has got: nothing refused, nothing lost, nothing twice.
func (w *traffic) judge(f *follower) {
	w.t.Helper()
	w.end()
	for i, err := range w.errs {
		if i < 10 {
			w.t.Error(err)
		}
	}
	if len(w.errs) > 10 {
		w.t.Errorf("and %d more", len(w.errs)-10)
	}
	var there []string
	for at, more := (bus.Position{}), true; more; {
		page, err := w.s.Since(w.t.Context(), w.channel, long, at, 1000)
		testkit.Check(w.t, err)
		for _, m := range page.Messages {
			there = append(there, m.ID)
		}
		at, more = page.Next, page.More
	}
	slices.Sort(w.kept)
	var got []string
	testkit.Eventually(w.t, "the follower has everything", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		got = got[:0]
		for _, m := range f.messages {
			if m.Position != (bus.Position{}) {
				got = append(got, m.ID)
			}
		}
		return len(got) >= len(there)
	})
	for name, list := range map[string][]string{"the log": there, "the follower": got} {
		slices.Sort(list)
		if !slices.Equal(list, w.kept) {
			w.t.Errorf("%s has %d messages, %d were published", name, len(list), len(w.kept))
		}
	}
}

// moving starts a cluster with traffic and a follower.
func moving(t *testing.T) (*redistest.Cluster, *traffic, *follower) {
	t.Helper()
	c := redistest.StartCluster(t)
	s := open(t, c.URL())
	channel, inbox := address(t, "channels/moving"), address(t, "users/moving")
	f := trail(t, s, channel)
	testkit.Eventually(t, "the cluster takes writes", func() bool {
		p := publication(channel)
		p.Retention, p.Message.ID = long, "first"
		p.IdempotencyKey, p.Digest, p.Window = "first", "d", time.Hour
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		return err == nil
	})
	w := startTraffic(t, s, channel, inbox)
	w.appended("first")
	w.goesOn(20)
	return c, w, f
}

// A busy slot is moved to another master and back, step by step, and nobody notices.
func TestCluster_aSlotMovesThereAndBack(t *testing.T) {
	c, w, f := moving(t)
	for range 2 {
		for _, a := range []bus.Address{w.channel, w.inbox} {
			m := c.Begin("tl:{" + a.String() + "}:m")
			w.goesOn(5)
			for range 3 {
				m.Step("2")
				w.goesOn(3)
			}
			m.End()
			w.goesOn(5)
		}
	}
	w.judge(f)
}

// A slot that is left half moved, as by a resharding that was interrupted, serves everything.
func TestCluster_aSlotLeftHalfMoved(t *testing.T) {
	c, w, f := moving(t)
	var moves []*redistest.Move
	for _, a := range []bus.Address{w.channel, w.inbox} {
		m := c.Begin("tl:{" + a.String() + "}:m")
		m.Step("2")
		moves = append(moves, m)
	}
	w.goesOn(50)
	w.heard(f)
	if *longRun {
		start := time.Now()
		until := time.NewTimer(time.Minute)
		<-until.C
		t.Logf("half moved for %s", time.Since(start))
		w.goesOn(50)
		w.heard(f)
	}
	for _, m := range moves {
		m.End()
	}
	w.goesOn(10)
	w.judge(f)
}

// A user of Redis that may not move keys is refused while a slot is moved, as it would be without us. The log says what to allow.
// With exactly that it goes on.
func TestACL_ofAResharding(t *testing.T) {
	c := redistest.StartCluster(t)
	allow := func(rules ...string) {
		t.Helper()
		for _, server := range c.Servers {
			if out, err := server.CLI(append([]string{"acl", "setuser", "trunkline"}, rules...)...); err != nil || !strings.HasPrefix(out, "OK") {
				t.Fatal(out, err)
			}
		}
	}
	allow(granted(t)...)
	var log said
	s, err := redis.Open(redis.Config{URL: asUser(c.URL()), Timeout: time.Second}, slog.New(slog.NewTextHandler(&log, nil)))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	a := address(t, "channels/moving")
	publish := func() error {
		_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
		return err
	}
	testkit.Eventually(t, "the cluster takes writes", func() bool { return publish() == nil })
	m := c.Begin("tl:{" + a.String() + "}:m")
	m.Step("1")
	var e *bus.Error
	if err := publish(); !errors.As(err, &e) || e.Reason != "STORE_UNAVAILABLE" || e.RetryAfter == 0 {
		t.Errorf("without permission: %v", err)
	}
	needed := []string{"+cluster|getkeysinslot", "+migrate", "+select", "+restore-asking", "+asking"}
	if log.count(strings.Join(needed, " ")) == 0 {
		t.Errorf("the log does not say what to allow:\n%s", log.text.String())
	}
	for i := range needed {
		allow(needed[:i]...)
		if err := publish(); err == nil {
			t.Errorf("it is enough to allow %s", needed[:i])
		}
	}
	allow(needed...)
	if err := publish(); err != nil {
		t.Errorf("%v\n%s", err, log.text.String())
	}
	if left := m.Left(); len(left) != 0 {
		t.Errorf("left: %s", left)
	}
}
