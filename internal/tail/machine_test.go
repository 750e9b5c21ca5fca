package tail_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/tail"
)

// step is one thing that happens to a followed address.
type step struct {
	Do string
	N  int
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{rapid.SampledFrom([]string{
		"publish", "publish", "publish", "pass", "pass", "pass", "pass", "cut", "cut", "lose", "interrupt", "delete", "live", "late",
		"reads fail", "reads answer", "tops fail", "tops answer", "end lost", "meanwhile", "during a read", "time", "again",
	}).Draw(t, "do"), rapid.IntRange(1, 4).Draw(t, "n")}
})

// Whatever gets lost, fails, ends and begins again: what the sink is given has no hole that is not told, and never goes back. In
// the end the sink has been given all there is. The store is asked a bounded number of times, and not at all once nothing
// happens.
func TestTail_anyOrderOfFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := rapid.SliceOfN(steps, 1, 60).Draw(rt, "steps")
		page := rapid.IntRange(1, 5).Draw(rt, "page")
		hold := rapid.SampledFrom([]int64{700, 1 << 20}).Draw(rt, "hold")
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			m := &machine{bench: newBench(t, tail.Config{HealPage: page, HoldBytes: hold}, 20), loose: hold < 1000}
			wrong = m.run(list)
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

type machine struct {
	*bench
	loose  bool // what has no position may come too early: there was no room, or what was before it is lost
	silent bool // something was lost and nobody told
	lives  int
	epochs map[string]int // in the order in which they began
	passed []*bus.Message
	places map[string]bus.Position // where the log was when a message without a position was sent
}

func (m *machine) run(list []step) string {
	m.epochs, m.places = map[string]int{}, map[string]bus.Position{}
	m.noteEpoch()
	m.store(m.a, 2)
	synctest.Wait()
	m.lose(-1)
	at, err := m.Acquire(m.t.Context(), m.a)
	if err != nil {
		return err.Error()
	}
	for _, s := range list {
		m.step(s)
	}
	m.rig.set(func() { clear(m.rig.refuse); clear(m.rig.noTops); m.rig.before, m.rig.onRead = nil, nil })
	synctest.Wait()
	m.deliver(-1)
	if m.silent {
		m.Interrupted(nil)
	}
	time.Sleep(time.Minute)
	if wrong := m.check(at[0]); wrong != "" {
		return wrong
	}
	tops, _, reads := m.rig.counts()
	time.Sleep(time.Hour)
	if a, _, b := m.rig.counts(); a != tops || b != reads {
		return fmt.Sprintf("%d reads and %d questions in an hour in which nothing happened", b-reads, a-tops)
	}
	if most := 40 + 10*len(list); reads > most || tops > most {
		return fmt.Sprintf("%d reads and %d questions for %d steps", reads, tops, len(list))
	}
	if s := m.Stats(); s.Healing != 0 || s.Held != 0 {
		return fmt.Sprintf("in the end: %+v", s)
	}
	return ""
}

func (m *machine) step(s step) {
	switch s.Do {
	case "publish":
		m.publish(m.a, s.N)
	case "pass":
		m.deliver(s.N)
	case "cut":
		m.lose(s.N)
		m.Interrupted(nil)
	case "lose": // in silence, which a feed does not do
		m.loose, m.silent = true, true
		m.lose(s.N)
	case "interrupt":
		m.Interrupted([]bus.Address{m.a})
	case "delete":
		m.remove(m.a)
		m.rig.set(func() { clear(m.rig.lost) })
		m.noteEpoch()
	case "end lost": // after which the store never goes on in that epoch
		m.loose = true
		end := m.top()
		end.Offset -= min(end.Offset, uint64(s.N))
		m.rig.set(func() { m.rig.lost[m.a] = end })
		time.Sleep(time.Second)
		m.remove(m.a)
		m.lose(-1)
		m.Interrupted([]bus.Address{m.a})
		m.rig.set(func() { clear(m.rig.lost) })
		m.noteEpoch()
	case "live":
		m.lives++
		id := strconv.Itoa(m.lives)
		m.places[id] = m.top()
		m.rig.Deliver(&bus.Message{ID: id, To: m.a, Kind: bus.MessageDismissal})
	case "late": // of a connection that is about to end
		if len(m.passed) > 0 {
			m.Deliver(m.passed[max(0, len(m.passed)-s.N)])
		}
	case "reads fail":
		m.rig.set(func() { m.rig.refuse[m.a] = true })
	case "reads answer":
		m.rig.set(func() { clear(m.rig.refuse) })
	case "tops fail":
		m.rig.set(func() { m.rig.noTops[m.a] = true })
	case "tops answer":
		m.rig.set(func() { clear(m.rig.noTops) })
	case "meanwhile":
		m.rig.set(func() { m.rig.before = func() { m.meanwhile(s.N) } })
	case "during a read":
		m.rig.set(func() { m.rig.onRead = func() { m.meanwhile(s.N) } })
	case "time":
		time.Sleep(time.Duration(s.N*s.N) * 20 * time.Millisecond)
	case "again":
		if _, err := m.Acquire(m.t.Context(), m.a); err == nil {
			m.Release(m.a)
		}
	}
	synctest.Wait()
}

// meanwhile happens between the answer of the store and its arrival.
func (m *machine) meanwhile(n int) {
	_, _ = m.rig.Publish(context.Background(), bustest.Admit(bus.Publication{Retention: m.keep, Message: bus.Message{ID: "m", To: m.a, Data: []byte("x")}}))
	switch n {
	case 1:
		m.deliver(n)
	case 2:
		m.rig.arrived()
		m.lose(-1)
		m.Interrupted(nil)
	case 3:
		m.deliver(-1)
		_ = m.rig.CreateChannel(context.Background(), bus.Channel{Address: m.a}, 0)
		_ = m.rig.DeleteChannel(context.Background(), m.a)
		m.noteEpoch()
	case 4:
		m.rig.arrived()
		m.deliver(-1)
	}
}

func (m *machine) deliver(n int) {
	m.feed.Lock()
	defer m.feed.Unlock()
	for _, p := range m.rig.next(n) {
		if !p.Position.IsZero() {
			m.passed = append(m.passed, p)
		}
		m.Deliver(p)
	}
}

func (m *machine) noteEpoch() {
	epoch := m.top().Epoch
	m.rig.set(func() {
		if _, known := m.epochs[epoch]; !known {
			m.epochs[epoch] = len(m.epochs)
		}
	})
}

// check compares what the sink was given with what may be.
func (m *machine) check(at bus.Position) string {
	last := 0
	for {
		select {
		case e := <-m.sink.events:
			switch e := e.(type) {
			case bus.Gap:
				if e.From != at || m.epochs[e.To.Epoch] < m.epochs[at.Epoch] {
					return fmt.Sprintf("at %v: gap from %v to %v, %s", at, e.From, e.To, e.Reason)
				}
				at = e.To
			case *bus.Message:
				switch {
				case e.Kind == bus.MessageDeleted:
				case !e.Position.IsZero():
					if e.Position.Epoch != at.Epoch || e.Position.Offset != at.Offset+1 {
						return fmt.Sprintf("%v after %v", e.Position, at)
					}
					at = e.Position
				default:
					n, _ := strconv.Atoi(e.ID)
					if n <= last {
						return fmt.Sprintf("the message without a position number %d after number %d", n, last)
					}
					last = n
					if p := m.places[e.ID]; !m.loose && p.Offset > 0 && (p.Epoch == at.Epoch && p.Offset > at.Offset || m.epochs[p.Epoch] > m.epochs[at.Epoch]) {
						return fmt.Sprintf("at %v: a message without a position that came after %v", at, p)
					}
				}
			}
		default:
			if top := m.top(); at != top && top.Offset > 0 { // a log that begins again is noticed with its first message
				return fmt.Sprintf("came to %v, the log is at %v", at, top)
			}
			return ""
		}
	}
}
