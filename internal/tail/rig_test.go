package tail_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/tail"
)

// rig is the memory store behind a feed whose pushes wait until a test passes them on or loses them. A test can also delay or
// refuse the rig's answers. The rig counts what is asked.
type rig struct {
	*memory.Store

	mu         sync.Mutex
	pushes     []*bus.Message
	tops       int // calls
	asked      int // addresses in them
	reads      map[bus.Address]int
	refuse     map[bus.Address]bool         // reads fail
	hang       map[bus.Address]bool         // reads hang
	noTops     map[bus.Address]bool         // tops fail
	before     func()                       // called before a read or a question is answered
	onRead     func()                       // before a read is answered
	lost       map[bus.Address]bus.Position // the log has lost what is after it, in that epoch
	subscribed func()                       // called once, after a subscription
}

func newRig() *rig {
	return &rig{
		Store: memory.New(memory.Config{}), reads: map[bus.Address]int{},
		lost: map[bus.Address]bus.Position{}, refuse: map[bus.Address]bool{}, hang: map[bus.Address]bool{}, noTops: map[bus.Address]bool{},
	}
}

type rigFeed struct {
	bus.Feed
	owner *rig
}

func (r *rig) NewFeed() bus.Feed { return rigFeed{r.Store.NewFeed(), r} }

func (f rigFeed) Subscribe(ctx context.Context, addresses ...bus.Address) error {
	err := f.Feed.Subscribe(ctx, addresses...)
	if then := f.owner.subscribed; then != nil {
		f.owner.subscribed = nil
		then()
	}
	return err
}

func (f rigFeed) Run(ctx context.Context, _ bus.Receiver) error { return f.Feed.Run(ctx, f.owner) }

// Deliver keeps a push.
func (r *rig) Deliver(m *bus.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushes = append(r.pushes, m)
}

// Interrupted is the test's to say.
func (r *rig) Interrupted([]bus.Address) {}

func (r *rig) Since(ctx context.Context, a bus.Address, keep bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	r.mu.Lock()
	r.reads[a]++
	refuse, hang, before, end := r.refuse[a], r.hang[a], r.before, r.lost[a]
	if r.onRead != nil {
		before = r.onRead
	}
	r.before, r.onRead = nil, nil
	r.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if refuse || hang {
		return bus.Page{}, bus.ErrStoreUnavailable
	}
	p, err := r.Store.Since(ctx, a, keep, after, limit)
	if p.Top.Epoch == end.Epoch {
		p, err = withoutEnd(p, err, after, end)
	}
	if before != nil {
		before()
	}
	return p, err
}

// withoutEnd is a page of a log that has lost what is after end.
func withoutEnd(p bus.Page, err error, after, end bus.Position) (bus.Page, error) {
	p.Top = end
	for i, m := range p.Messages {
		if m.Position.Offset > end.Offset {
			p.Messages, p.More = p.Messages[:i], false
			break
		}
	}
	if !p.More || p.Next.Offset > end.Offset {
		p.Next, p.More = end, false
	}
	if after.Epoch == end.Epoch && after.Offset > end.Offset {
		p.Messages, err = nil, bus.ErrGap
	}
	return p, err
}

func (r *rig) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	tops, _ := r.Store.Tops(ctx, addresses)
	errs := make([]error, len(addresses))
	r.mu.Lock()
	r.tops++
	r.asked += len(addresses)
	for i, a := range addresses {
		if tops[i].Epoch == r.lost[a].Epoch {
			tops[i] = r.lost[a]
		}
		if r.noTops[a] {
			tops[i], errs[i] = bus.Position{}, bus.ErrStoreUnavailable
		}
	}
	before := r.before
	r.before = nil
	r.mu.Unlock()
	if before != nil {
		before()
	}
	return tops, errs
}

func (r *rig) counts() (tops, asked, reads int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.reads {
		reads += n
	}
	return r.tops, r.asked, reads
}

// set changes what the store does.
func (r *rig) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// arrived waits until what was published last has come.
func (r *rig) arrived() {
	for {
		r.mu.Lock()
		n := len(r.pushes)
		r.mu.Unlock()
		if n > 0 {
			return
		}
		runtime.Gosched()
	}
}

// next takes up to n pushes; all when n is negative.
func (r *rig) next(n int) []*bus.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n < 0 || n > len(r.pushes) {
		n = len(r.pushes)
	}
	out := r.pushes[:n:n]
	r.pushes = r.pushes[n:]
	return out
}

// bench is a Tail over a rig, in a bubble of synctest.
type bench struct {
	*tail.Tail
	t    *testing.T
	rig  *rig
	sink sink
	a    bus.Address
	keep bus.Retention
	feed sync.Mutex // the Tail gets one push at a time
}

func newBench(t *testing.T, cfg tail.Config, length int) *bench {
	t.Helper()
	keep := bus.Retention{Length: length, Age: 24 * time.Hour}
	if cfg.CheckInterval == 0 {
		cfg.CheckInterval = 1000 * time.Hour // only what is tested
	}
	cfg.Namespaces = bus.Namespaces{Default: bus.Namespace{Retention: keep}}
	b := &bench{t: t, rig: newRig(), sink: sink{make(chan any, 1<<16)}, keep: keep, a: address(t, "channels/kept:"+uuid.NewString())}
	b.Tail = tail.New(b.rig, b.sink, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = b.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return b
}

func (b *bench) follow(addresses ...bus.Address) {
	b.t.Helper()
	if _, err := b.Acquire(b.t.Context(), addresses...); err != nil {
		b.t.Fatal(err)
	}
}

// publish publishes n messages to an address; their pushes wait.
func (b *bench) publish(a bus.Address, n int) {
	b.t.Helper()
	b.store(a, n)
	synctest.Wait()
}

func (b *bench) store(a bus.Address, n int) {
	b.t.Helper()
	for range n {
		_, err := b.rig.Publish(b.t.Context(), bustest.Admit(bus.Publication{Retention: b.keep, Message: bus.Message{
			ID: uuid.NewString(), To: a, Data: []byte("x"), ContentType: bus.Text, Published: time.Now(),
		}}))
		if err != nil {
			b.t.Error(err)
		}
	}
}

// remove deletes a channel: its log begins again with another epoch.
func (b *bench) remove(a bus.Address) {
	b.t.Helper()
	_ = b.rig.CreateChannel(b.t.Context(), bus.Channel{Address: a}, 0) // it may be there
	if err := b.rig.DeleteChannel(b.t.Context(), a); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

// pass hands n pushes to the Tail; all when n is negative.
func (b *bench) pass(n int) {
	b.feed.Lock()
	defer b.feed.Unlock()
	for _, m := range b.rig.next(n) {
		b.Deliver(m)
	}
}

// lose drops n pushes.
func (b *bench) lose(n int) { b.rig.next(n) }

// got returns what the sink was given so far: offsets, "gap" and "deleted", in order.
func (b *bench) got() []any {
	b.t.Helper()
	synctest.Wait()
	var all []any
	for {
		select {
		case e := <-b.sink.events:
			switch e := e.(type) {
			case bus.Gap:
				all = append(all, "gap")
			case *bus.Message:
				switch {
				case e.Kind == bus.MessageDeleted:
					all = append(all, "deleted")
				case e.Position.IsZero():
					all = append(all, "live")
				default:
					all = append(all, e.Position.Offset)
				}
			}
		default:
			return all
		}
	}
}

// rest lets time pass, and fails when the store is asked more than so often for all that there is nothing to do.
func (b *bench) rest(most int) {
	b.t.Helper()
	time.Sleep(time.Minute) // of the bubble
	tops, _, reads := b.rig.counts()
	time.Sleep(time.Hour)
	laterTops, _, laterReads := b.rig.counts()
	if laterTops != tops || laterReads != reads {
		b.t.Errorf("%d reads and %d questions in an hour in which nothing happened", laterReads-reads, laterTops-tops)
	}
	if tops+reads > most {
		b.t.Errorf("%d questions and %d reads, at most %d together are enough", tops, reads, most)
	}
	if s := b.Stats(); s.Healing != 0 || s.Held != 0 || s.Oldest != 0 {
		b.t.Errorf("at rest: %+v", s)
	}
}
