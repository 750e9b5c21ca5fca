package difftest

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
)

// wait moves the time.
func (m *machine) wait(rt *rapid.T) {
	m.world.Advance(time.Duration(rapid.IntRange(1, 3).Draw(rt, "units")) * unit)
	for to := range m.revisions { // a state may have ended
		m.both(rt, "state", func(_ int, s bus.Store) string {
			now, err := s.State(context.Background(), to)
			m.revisions[to] = now.Revision
			return fmt.Sprint(reason(err), string(now.Value), now.Revision)
		})
	}
}

// fork restarts the second store while nobody listens.
func (m *machine) fork(rt *rapid.T) {
	if rapid.IntRange(0, 20).Draw(rt, "really") > 0 {
		return
	}
	listened := m.ears[0] != nil
	m.close()
	m.world.Fork()
	m.forked = true
	if listened {
		m.connect(rt)
	}
}

// lost publishes with a key, and the second store's answer is lost. The repeat says what became of it, as it does for the first
// store, which is asked twice or once.
func (m *machine) lost(rt *rapid.T) {
	carried := rapid.Bool().Draw(rt, "carried out")
	var p bus.Publication
	switch rapid.IntRange(0, 2).Draw(rt, "kind") {
	case 0:
		p = bus.Publication{Message: m.next(rapid.SampledFrom(m.channels).Draw(rt, "to")), Retention: short}
	case 1:
		p = bus.Publication{Message: m.next(rapid.SampledFrom(m.channels).Draw(rt, "to"))}
	case 2:
		p = bus.Publication{Message: m.next(rapid.SampledFrom(m.users).Draw(rt, "to"))}
		p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, Timeout: units(2), Keep: units(4), Limit: 6}
		p.Message.Ack = p.Ack.Scope
		m.sent[p.Message.To] = append(m.sent[p.Message.To], p.Message.ID)
	}
	if m.forked { // the first after a restart may be answered that the end of the log is to be proved, and is not carried out
		before := p
		before.Message.ID += "-before"
		m.send(rt, before)
	}
	text := uuid.NewString()
	p.Message.Data = []byte(text)
	p.IdempotencyKey, p.Window, p.Digest = text, units(3), "d"
	var said string
	heard := 0
	if carried {
		_, err := m.stores[0].Publish(context.Background(), bustest.Admit(p))
		said = reason(err)
		if err == nil {
			heard = 1
		}
	}
	m.world.Lose(text, carried)
	if _, err := m.stores[1].Publish(context.Background(), bustest.Admit(p)); reason(err) != bus.ErrStoreUnavailable.Reason {
		rt.Fatalf("the answer was lost: %v; the other store said %q", err, said)
	}
	m.heard(rt, heard)
	m.send(rt, p)
}
