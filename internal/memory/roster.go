package memory

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

// rosters are the members of all addresses. The lock is taken after that of a part, and before that of the meta.
type rosters struct {
	mu   sync.Mutex
	of   map[bus.Address]*members
	lost map[place]time.Time // until when members whose connection broke are waited for
	// taken is how often a node was taken for dead.
	taken map[string]int
	// untold is events that were noted, in order.
	untold []bus.Event
}

// place is one member of one address.
type place struct {
	address    bus.Address
	connection string
}

// members are the members of one address.
type members struct {
	told    bool // that it is occupied
	seats   map[string]*seat
	order   []string       // the connections, sorted
	clients map[string]int // how many connections each has
}

// seat is a member.
type seat struct {
	bus.Member
	lost time.Time // when its connection broke; zero while it has not
}

func (r *rosters) init() {
	r.of = make(map[bus.Address]*members)
	r.lost = make(map[place]time.Time)
	r.taken = make(map[string]int)
}

// Join adds a member and announces a client that was not there.
func (s *Store) Join(_ context.Context, to bus.Address, m bus.Member) error {
	s.join(to, m)
	return s.tell()
}

func (s *Store) join(to bus.Address, m bus.Member) {
	to = to.Clone()
	m = m.Clone()
	part := s.part(to)
	part.mu.Lock()
	defer part.mu.Unlock()
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	s.meta.met(m.Node, s.now())
	r := s.rosters.of[to]
	if r == nil {
		r = &members{seats: make(map[string]*seat), clients: make(map[string]int)}
		s.rosters.of[to] = r
	}
	if !r.told && !m.Quiet {
		r.told = true
		s.note(bus.EventOccupied, to, m.Joined, "")
	}
	if old, ok := r.seats[m.Connection]; ok {
		delete(s.rosters.lost, place{to, m.Connection})
		old.lost = time.Time{}
		if old.Client == m.Client { // what else is known of it may have changed
			old.Member = m
		}
		return
	}
	i, _ := slices.BinarySearch(r.order, m.Connection)
	r.order = slices.Insert(r.order, i, m.Connection)
	r.seats[m.Connection] = &seat{Member: m}
	if r.clients[m.Client]++; r.clients[m.Client] == 1 {
		s.announce(part, to, bus.PresenceEvent{Kind: bus.PresenceJoined, Millis: m.Joined.UnixMilli(), Member: m, Clients: len(r.clients)})
	}
}

// Leave removes a member and announces a client that has no other connection.
func (s *Store) Leave(_ context.Context, to bus.Address, connection string) error {
	s.remove(place{to, connection}, func(*seat) (string, time.Time) { return bus.LeftClean, s.now() })
	return s.tell()
}

// Lose says that the connection of a member broke.
func (s *Store) Lose(_ context.Context, to bus.Address, connection string, at time.Time, grace time.Duration) error {
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	if r := s.rosters.of[to]; r != nil && r.seats[connection] != nil {
		r.seats[connection].lost = at
		s.rosters.lost[place{to.Clone(), strings.Clone(connection)}] = at.Add(grace)
	}
	return nil
}

// remove takes a member out if why returns a reason. why is called under the locks.
func (s *Store) remove(at place, why func(*seat) (reason string, when time.Time)) {
	part := s.part(at.address)
	part.mu.Lock()
	defer part.mu.Unlock()
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	r := s.rosters.of[at.address]
	if r == nil || r.seats[at.connection] == nil {
		return
	}
	m := r.seats[at.connection]
	reason, when := why(m)
	if reason == "" {
		return
	}
	if reason == bus.LeftNode {
		s.rosters.taken[m.Node]++
	}
	delete(s.rosters.lost, at)
	delete(r.seats, at.connection)
	if i, ok := slices.BinarySearch(r.order, at.connection); ok {
		r.order = slices.Delete(r.order, i, i+1)
	}
	r.clients[m.Client]--
	if r.clients[m.Client] == 0 {
		delete(r.clients, m.Client)
		s.announce(part, at.address, bus.PresenceEvent{
			Kind: bus.PresenceLeft, Reason: reason, Millis: when.UnixMilli(), Member: m.Member, Clients: len(r.clients),
		})
	}
	if len(r.seats) == 0 {
		delete(s.rosters.of, at.address)
		if r.told {
			s.note(bus.EventVacated, at.address, when, reason)
		}
	}
}

// announce hands an event to the feeds that follow the address. The caller holds the part's lock.
func (s *Store) announce(part *part, to bus.Address, e bus.PresenceEvent) {
	c := part.cells[to]
	if c == nil {
		return
	}
	data, err := json.Marshal(e)
	if err != nil {
		return // texts and numbers always encode
	}
	m := &bus.Message{ID: uuid.NewString(), To: to, Data: data, ContentType: bus.JSON, Kind: bus.MessagePresence, Published: s.now()}
	for _, f := range c.feeds {
		f.put(m)
	}
}

// Members returns a page of the members.
func (s *Store) Members(_ context.Context, to bus.Address, after string, limit int) (bus.MemberPage, error) {
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	r := s.rosters.of[to]
	if r == nil {
		return bus.MemberPage{}, nil
	}
	page := bus.MemberPage{Total: len(r.order)}
	i, found := slices.BinarySearch(r.order, after)
	if found {
		i++
	}
	rest := r.order[i:]
	if len(rest) > limit {
		rest, page.More = rest[:limit], true
	}
	for _, connection := range rest {
		page.Members = append(page.Members, r.seats[connection].Member)
	}
	return page, nil
}

// Listed says whether a connection of the client is among the members.
func (s *Store) Listed(_ context.Context, to bus.Address, client string) (bool, error) {
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	r := s.rosters.of[to]
	return r != nil && r.clients[client] > 0, nil
}

// Kept returns always the same, unless the node was taken for dead.
func (s *Store) Kept(_ context.Context, node string) (string, error) {
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	return strconv.Itoa(s.rosters.taken[node]), nil
}

// Touch returns where the node has no members; the rosters are as alive as the process.
func (s *Store) Touch(_ context.Context, node string, addresses []bus.Address) ([]bus.Address, error) {
	s.rosters.mu.Lock()
	defer s.rosters.mu.Unlock()
	var missing []bus.Address
	for _, a := range addresses {
		if r := s.rosters.of[a]; r == nil || !r.has(node) {
			missing = append(missing, a)
		}
	}
	return missing, nil
}

func (r *members) has(node string) bool {
	for _, m := range r.seats {
		if m.Node == node {
			return true
		}
	}
	return false
}

// reapLimit is how many members one Reap removes.
const reapLimit = 1000

// Reap removes the members that will not come back.
func (s *Store) Reap(_ context.Context, silent time.Duration) (bool, error) {
	now := s.now()
	dead := s.meta.dead(now, silent)
	due, more := s.rosters.due(now, dead)
	for _, at := range due {
		s.remove(at, func(m *seat) (string, time.Time) { return s.overdue(at, m, dead) })
	}
	if !more {
		s.meta.forgetNodes(dead)
	}
	if err := s.tell(); err != nil {
		return more, err
	}
	return more, s.reapRuns(silent)
}

// overdue returns why a member is removed now, and when it went; no reason when it stays.
func (s *Store) overdue(at place, m *seat, dead map[string]time.Time) (string, time.Time) {
	until, lost := s.rosters.lost[at]
	heard, died := dead[m.Node]
	died = died && !s.meta.heardSince(m.Node, heard)
	switch {
	case lost && (died || !s.now().Before(until)):
		return bus.LeftLost, m.lost
	case died:
		return bus.LeftNode, heard
	}
	return "", time.Time{}
}

// due returns the members that have to be looked at.
func (r *rosters) due(now time.Time, dead map[string]time.Time) ([]place, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []place
	for at, until := range r.lost {
		if now.Before(until) {
			continue
		}
		if due = append(due, at); len(due) == reapLimit {
			return due, true
		}
	}
	if len(dead) == 0 {
		return due, false
	}
	for a, all := range r.of {
		for connection, m := range all.seats {
			if _, ok := dead[m.Node]; !ok {
				continue
			}
			if due = append(due, place{a, connection}); len(due) >= reapLimit {
				return due, true
			}
		}
	}
	return due, false
}
