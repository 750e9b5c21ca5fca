package fan_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/fan"
)

// chronicle is a log whose epochs a test changes. A reset begins with offset 1. A fork goes on, from the end or from before it.
// Everything else is the memory store's.
type chronicle struct {
	bus.Store
	mu      sync.Mutex
	epochs  []string
	begins  []uint64 // of each epoch, by index; 0 for a reset
	entries []*bus.Message
	top     bus.Position
	n       int
}

func newChronicle(a bus.Address) *chronicle {
	c := &chronicle{Store: memory.New(memory.Config{})}
	c.reset()
	_ = a
	return c
}

func (c *chronicle) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(0)
	c.entries = nil
}

// fork begins an epoch that goes on from where the log ends after it has lost some entries.
func (c *chronicle) fork(lost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = c.entries[:len(c.entries)-min(lost, len(c.entries))]
	c.begin(c.top.Offset - min(uint64(lost), c.top.Offset))
}

func (c *chronicle) begin(offset uint64) {
	c.epochs = append(c.epochs, fmt.Sprint("e", len(c.epochs)))
	c.begins = append(c.begins, offset)
	c.top = bus.Position{Epoch: c.epochs[len(c.epochs)-1], Offset: offset}
}

func (c *chronicle) append(a bus.Address) *bus.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.top.Offset++
	m := &bus.Message{ID: fmt.Sprint(c.n), To: a, Data: []byte(`1`), ContentType: bus.JSON, Position: c.top}
	c.entries = append(c.entries, m)
	return m
}

// reach is up to which offset positions of an epoch are good: until a later epoch began before that.
func (c *chronicle) reach(epoch string) (uint64, bool) {
	i := slices.Index(c.epochs, epoch)
	if i < 0 {
		return 0, false
	}
	good := ^uint64(0)
	for _, begins := range c.begins[i+1:] {
		if begins == 0 {
			return 0, false
		}
		good = min(good, begins)
	}
	return good, true
}

func (c *chronicle) Since(_ context.Context, _ bus.Address, _ bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	good, ok := c.reach(after.Epoch)
	lost := after.Epoch != "" && (!ok || after.Offset > min(good, c.top.Offset))
	from := after.Offset
	switch {
	case !ok:
		from = 0
	case lost:
		from = min(good, c.top.Offset)
	}
	page := bus.Page{Top: c.top, Next: c.top}
	for _, m := range c.entries {
		if m.Position.Offset > from && len(page.Messages) < limit {
			page.Messages = append(page.Messages, m)
		}
	}
	if n := len(page.Messages); n > 0 {
		page.Next = page.Messages[n-1].Position
		page.More = page.Next.Offset < c.top.Offset
	}
	if lost {
		return page, bus.ErrGap
	}
	return page, nil
}

// stream is the stream of the chronicle, as a tail hands it on: in order, and late.
type stream struct {
	at bus.Position
	f  *fan.Following
	c  *chronicle
	a  bus.Address
	// slow makes the client fall behind with the next message.
	slow bool
}

func (s *stream) advance(limit int) {
	page, err := s.c.Since(context.Background(), s.a, bus.Retention{}, s.at, limit)
	if err != nil {
		g := bus.Gap{Address: s.a, From: s.at, To: page.Next, Reason: bus.GapEpoch}
		if len(page.Messages) > 0 {
			g.To = page.Messages[0].Position
			g.To.Offset--
		}
		s.f.Gap(g)
		s.at = g.To
	}
	for _, m := range page.Messages {
		if s.slow {
			f := s.f
			f.Turn()
			if f.Behind(m) {
				s.slow = false
				continue
			}
		}
		s.f.Deliver(m)
	}
	s.at = page.Next
}

// heard checks what one client reads against the chronicle.
type heard struct {
	c   *chronicle
	at  bus.Position
	log []string
	// over is set when the client was told that the subscription has ended.
	over bool
}

func (h *heard) take(f *edgev1.ServerFrame) error {
	h.log = append(h.log, fmt.Sprint(f))
	index := func(epoch string) int { return slices.Index(h.c.epochs, epoch) }
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if g := f.GetGap(); g != nil {
		to := bus.Position{Epoch: g.GetTo().GetEpoch(), Offset: g.GetTo().GetOffset()}
		if index(to.Epoch) < index(h.at.Epoch) {
			return fmt.Errorf("a gap goes back from %v to %v", h.at, to)
		}
		if after := g.GetAfter(); after.GetEpoch() == h.at.Epoch && after.GetOffset() > h.at.Offset {
			return fmt.Errorf("a gap begins after %v, and %v was the last that came", after, h.at)
		}
		h.at = to
		return nil
	}
	h.over = h.over || f.GetUnsubscribed() != nil
	m := f.GetMessage()
	switch {
	case m == nil:
		return nil
	case h.over:
		return fmt.Errorf("a message came after the end: %v", m)
	}
	p := bus.Position{Epoch: m.GetPosition().GetEpoch(), Offset: m.GetPosition().GetOffset()}
	if index(p.Epoch) < index(h.at.Epoch) || p.Offset != h.at.Offset+1 {
		return fmt.Errorf("%v came after %v", p, h.at)
	}
	for _, begins := range h.c.begins[index(h.at.Epoch)+1 : index(p.Epoch)+1] {
		if begins == 0 || begins < h.at.Offset {
			return fmt.Errorf("%v came after %v without a gap, and an epoch between began at %d", p, h.at, begins)
		}
	}
	h.at = p
	return nil
}

// One subscription, with everything that can happen to it in any order. The log appends, begins anew and forks. The stream is
// late, and skips epochs. The client resumes, falls behind and comes back. What it reads never goes back, repeats nothing, and
// has no hole that was not told.
func TestSubscription_keepsItsOrderOverEpochs(t *testing.T) {
	a, err := bus.ParseAddress("channels/kept:line")
	testkit.Check(t, err)
	for seed := range uint64(600) {
		if !overEpochs(t, a, seed) {
			return
		}
	}
}

func overEpochs(t *testing.T, a bus.Address, seed uint64) bool {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	c := newChronicle(a)
	e := idle(t, c, fan.Config{HoldLimit: 1 + r.IntN(6)})
	for range r.IntN(4) {
		c.append(a)
	}
	f := e.Follow(a, 0)
	s := &stream{at: c.top, f: f, c: c, a: a}
	h := &heard{c: c}
	failed := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		var bad error
		for frame := f.Read(); frame != nil; frame = f.Read() {
			if bad == nil {
				bad = h.take(frame)
			}
		}
		failed <- bad
	})
	step := func() {
		switch r.IntN(12) {
		case 0:
			c.reset()
		case 1:
			c.fork(0)
		case 2:
			c.fork(r.IntN(3))
		case 3, 4, 5:
			c.append(a)
		case 6, 7, 8:
			s.advance(1 + r.IntN(4))
		case 9:
			s.slow = r.IntN(3) == 0
		case 10:
			f.Turn()
		default:
			runtime.Gosched()
		}
	}
	before := c.top
	for range r.IntN(8) {
		step()
	}
	at := s.at
	for range r.IntN(3) {
		s.advance(2) // between the answer of Acquire and what the session makes of it
	}
	f.Place(at)
	h.at = at
	var after *bus.Position
	if r.IntN(2) == 0 {
		after, h.at = &before, before
	}
	var starting sync.WaitGroup
	for range r.IntN(6) {
		step()
	}
	starting.Go(func() { f.Start(at, after) })
	for range 10 + r.IntN(40) {
		step()
		if r.IntN(16) == 0 {
			f.Rest()
		}
	}
	starting.Wait()
	switch ends := r.IntN(8); ends {
	case 0:
		f.Leave()
	case 1:
		f.Deliver(&bus.Message{To: a, Kind: bus.MessageDeleted})
	}
	for s.at != c.top || !f.Quiet() {
		s.advance(3)
		f.Turn()
		runtime.Gosched()
	}
	f.Turn()
	last := c.append(a)
	s.advance(3)
	f.Turn()
	for !f.Quiet() {
		runtime.Gosched()
	}
	e.Wrote()
	f.End()
	reading.Wait()
	err := <-failed
	if err == nil && !f.Gone() && h.at != last.Position {
		err = fmt.Errorf("the client ends at %v, and the log at %v", h.at, last.Position)
	}
	if why := f.Refused(); why != "" {
		err = fmt.Errorf("the session was ended: %s", why)
	}
	if held := f.Held(); err == nil && held != 0 {
		err = fmt.Errorf("%d bytes are held at the end", held)
	}
	if err != nil {
		t.Errorf("seed %d: %v\n%v", seed, err, h.log)
	}
	f.Leave()
	return err == nil
}
