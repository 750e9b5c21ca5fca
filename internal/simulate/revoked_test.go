package simulate_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/simulate"
)

// revocations are open calls, which end when they are revoked.
var revocations = kind{
	plan: simulate.Plan{
		Machine: "revocations", Least: 5, Most: 40,
		First: []simulate.Step{{Do: "drain", N: 0}, {Do: "open", N: 0}, {Do: "open", N: 1}, {Do: "queue", N: 0}},
		Verbs: append(slices.DeleteFunc(slices.Clone(environment), func(v simulate.Verb) bool {
			return slices.Contains([]string{"publish", "flush", "failover", "delete"}, v.Do)
		}), []simulate.Verb{{Do: "open", Weight: 6, Most: 3}, {Do: "revoke", Weight: 8, Most: 3}, {Do: "forget", Weight: 2, Most: 0}, {Do: "fork", Weight: 1, Most: 0}}...),
	},
	rest: 4 * time.Second, rounds: true,
	make: func(_ testing.TB, w *world) machine {
		m := &revokedMachine{world: w, store: &revoking{whole: newWhole(w.store), before: map[bus.Subject]time.Time{{Kind: bus.SubjectLost}: time.Now().Add(-time.Hour)}}, revoked: map[string]time.Time{}}
		m.follower = revoked.New(m.store, revoked.Config{})
		m.follower.Add(m.open)
		return m
	},
}

// revoking is a store whose revocations are lost together with its logs.
type revoking struct {
	*whole
	mu     sync.Mutex
	before map[bus.Subject]time.Time
}

// Revoke answers as bus.Revocations says.
func (s *revoking) Revoke(_ context.Context, what bus.Subject, before time.Time, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before.IsZero() {
		before = time.Now().Truncate(time.Millisecond)
	}
	if !before.After(s.before[what]) {
		return nil
	}
	s.before[what] = before
	data, err := json.Marshal(bus.Revocation{Kind: what.Kind, ID: what.ID, Before: before})
	s.simulated.PublishData(bus.Revoked, data)
	return err
}

// RevokedBefore answers as bus.Revocations says.
func (s *revoking) RevokedBefore(_ context.Context, subjects []bus.Subject) ([]time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	times := make([]time.Time, len(subjects))
	for i, what := range subjects {
		if what.Kind == bus.SubjectLost && s.before[what].IsZero() {
			s.before[what] = time.Now().Truncate(time.Millisecond)
		}
		times[i] = s.before[what]
	}
	return times, nil
}

// RevocationsSeen answers as bus.Revocations says.
func (s *revoking) RevocationsSeen(ctx context.Context, at bus.Position) error {
	if at.Offset == 0 || s.simulated.Reaches(bus.Revoked, at) {
		return nil
	}
	return s.Revoke(ctx, bus.Subject{Kind: bus.SubjectLost}, time.Time{}, 0)
}

// forget loses everything.
func (s *revoking) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.simulated.Flush()
	clear(s.before)
}

// revokedMachine is a follower of revocations, and the calls that it may end.
type revokedMachine struct {
	*world
	store    *revoking
	follower *revoked.Follower
	ctx      context.Context

	mu      sync.Mutex
	calls   []*call
	revoked map[string]time.Time // by client
	lost    bool                 // everything was lost once
}

// call is one open call.
type call struct {
	who   *bus.Identity
	mu    sync.Mutex
	ended *bus.Error
}

// Identity is who calls.
func (c *call) Identity() *bus.Identity { return c.who }

// End ends the call.
func (c *call) End(why *bus.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = why
	}
}

func (c *call) why() *bus.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

func (m *revokedMachine) open(wanted func(*bus.Identity) bool) (all []revoked.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.calls {
		if c.why() == nil && wanted(c.who) {
			all = append(all, c)
		}
	}
	return all
}

func (m *revokedMachine) run(ctx context.Context) error {
	m.ctx = ctx
	return m.follower.Run(ctx)
}

func (m *revokedMachine) step(s simulate.Step) {
	client := string(rune('a' + s.N))
	time.Sleep(2 * time.Millisecond) // revocations know milliseconds
	switch s.Do {
	case "open":
		now := time.Now().Truncate(time.Millisecond)
		c := &call{who: &bus.Identity{Client: client, TokenID: client + now.String(), Issued: now, Expires: now.Add(1000 * time.Hour)}}
		time.Sleep(2 * time.Millisecond)
		m.mu.Lock()
		m.calls = append(m.calls, c)
		m.mu.Unlock()
		m.note("a call of %s is opened", client)
		go m.follower.Opened(m.ctx, c, time.Now())
	case "revoke":
		m.note("%s is revoked", client)
		m.revoked[client] = time.Now()
		_ = m.store.Revoke(m.ctx, bus.Subject{Kind: bus.SubjectClient, ID: client}, time.Time{}, time.Hour)
	case "forget":
		m.lost = true
		m.store.forget()
	case "fork":
		m.world.store.Failover(0, false)
	}
	time.Sleep(2 * time.Millisecond)
}

func (m *revokedMachine) settle() {
	m.rest(2 * m.pause())
	for _, c := range m.calls {
		at, why := m.revoked[c.who.Client], c.why()
		switch {
		case why == nil && c.who.Issued.Before(at):
			m.ledger.Wrong("open: the call of %s goes on after it was revoked", c.who.Client)
		case why != nil && !m.lost && !c.who.Issued.Before(at):
			m.ledger.Wrong("ended: the call of %s was not revoked, and ended: %s", c.who.Client, why.Reason)
		}
	}
	if !m.follower.Sure() {
		m.ledger.Wrong("unsure: revocations are still in doubt")
	}
	m.restless()
}
