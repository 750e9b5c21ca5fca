package simulate_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/simulate"
	"github.com/trunkline/trunkline/internal/tail"
)

// tails is a tail over the simulated store. What it hands on is the reader's of the address.
var tails = kind{
	plan: simulate.Plan{
		Machine: "tail", Least: 5, Most: 40,
		Settings: []simulate.Verb{{Do: "page", Most: 4}, {Do: "little", Most: 2}, {Do: "length", Most: 4}, {Do: "addresses", Most: 2}},
		First:    []simulate.Step{{Do: "follow", N: 0}},
		Verbs:    append(slices.Clone(environment), simulate.Verb{Do: "follow", Weight: 4, Most: 8}, simulate.Verb{Do: "leave", Weight: 2, Most: 8}),
	},
	make: func(_ testing.TB, w *world) machine {
		m := &tailMachine{world: w, all: map[bus.Address]*reading{}}
		keep := bus.Retention{Length: 1000, Age: 1000 * time.Hour}
		cfg := tail.Config{Namespaces: bus.Namespaces{Default: bus.Namespace{Retention: keep}}, CheckInterval: 1000 * time.Hour, HealPage: 256}
		if n, ok := w.schedule.Setting("page"); ok {
			cfg.HealPage = 1 + n
		}
		if n, ok := w.schedule.Setting("little"); ok {
			cfg.HoldBytes = int64(300 * (1 + n))
		}
		m.tail = tail.New(w.store, m, cfg)
		return m
	},
}

// tailMachine is the sink of a tail, and the one who follows.
type tailMachine struct {
	*world
	tail *tail.Tail
	ctx  context.Context

	mu      sync.Mutex // never held while the tail is called
	all     map[bus.Address]*reading
	follows []bus.Address // what was followed and not left, as often
}

// reading is what comes of one address, from the first call that follows it to the last that leaves.
type reading struct {
	count int
	began bool
	early []any // what came before the position was known
}

func (m *tailMachine) run(ctx context.Context) error {
	m.ctx = ctx
	return m.tail.Run(ctx)
}

// Deliver and Gap come while the driver waits, or from the driver itself.
func (m *tailMachine) Deliver(message *bus.Message) { m.came(message.To, message) }

// Gap is told by the tail.
func (m *tailMachine) Gap(g bus.Gap) { m.came(g.Address, g) }

func (m *tailMachine) came(a bus.Address, what any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.all[a]
	switch {
	case r == nil:
	case r.began:
		m.record(what)
	default:
		r.early = append(r.early, what)
	}
}

func (m *tailMachine) record(what any) {
	switch e := what.(type) {
	case bus.Gap:
		m.ledger.Gap("reader", "session", e)
	case *bus.Message:
		if e.Kind == bus.MessageData {
			m.ledger.Delivered("reader", "session", e)
		}
	}
}

// begin is called when the position is known. What came until then may be from before it.
func (m *tailMachine) begin(a bus.Address, r *reading, at bus.Position) {
	r.began = true
	m.ledger.Subscribed("reader", "session", a, at, false, false)
	early := r.early
	for i, e := range slices.Backward(early) {
		to := bus.Position{}
		switch e := e.(type) {
		case bus.Gap:
			to = e.To
		case *bus.Message:
			to = e.Position
		}
		if to == at {
			early = early[i+1:]
			break
		}
	}
	for _, e := range early {
		m.record(e)
	}
	r.early = nil
}

func (m *tailMachine) step(s simulate.Step) {
	a := m.address(s.N)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch s.Do {
	case "follow":
		if m.all[a] == nil {
			m.all[a] = &reading{}
		}
		m.all[a].count++
		go m.follow(a, m.all[a])
	case "leave":
		if i := slices.Index(m.follows, a); i >= 0 {
			m.follows = slices.Delete(m.follows, i, i+1)
			go m.leave(a)
		}
	}
}

func (m *tailMachine) follow(a bus.Address, r *reading) {
	ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
	defer cancel()
	at, err := m.tail.Acquire(ctx, a)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.end(a, r)
		return
	}
	m.follows = append(m.follows, a)
	if !r.began {
		m.begin(a, r, at[0])
	}
}

// leave is over when nothing comes any more.
func (m *tailMachine) leave(a bus.Address) {
	m.tail.Release(a)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(a, m.all[a])
}

// end ends one of those who follow an address. The caller holds the lock.
func (m *tailMachine) end(a bus.Address, r *reading) {
	if r.count--; r.count == 0 {
		delete(m.all, a)
		if r.began {
			m.ledger.Left("reader", "session", a)
		}
	}
}

func (m *tailMachine) settle() {
	for _, a := range m.addresses {
		m.ledger.Publish(a)
	}
	m.rest(time.Minute)
	for a, r := range m.all {
		if r.began {
			m.ledger.Finished("reader", a)
		}
	}
	m.restless()
	if s := m.tail.Stats(); s.Healing != 0 || s.Held != 0 {
		m.ledger.Wrong("restless: %+v", s)
	}
}
