package memory

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

// meta is everything that is not the log of an address.
type meta struct {
	mu       sync.Mutex
	channels map[bus.Address]bus.Channel
	nodes    map[string]livingNode
	names    []string // of the channels, in order
	tokens   map[string]token
	families map[string]*family
	revoked  map[bus.Subject]revocation
	// What ends, in the order of time.
	tokenEnds, familyEnds ends[string]
	revokedEnds           ends[bus.Subject]
	revoking              time.Time // of the newest revocation; see revokes
}

type livingNode struct {
	bus.Node
	heard time.Time
	gone  bool // or never beat
}

func (m *meta) init() {
	m.channels = make(map[bus.Address]bus.Channel)
	m.nodes = make(map[string]livingNode)
	m.tokens = make(map[string]token)
	m.families = make(map[string]*family)
	m.revoked = make(map[bus.Subject]revocation)
}

func (m *meta) hasChannel(a bus.Address) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.channels[a]
	return ok
}

// CreateChannel keeps a new channel.
func (s *Store) CreateChannel(_ context.Context, c bus.Channel, limit int) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	if _, ok := s.meta.channels[c.Address]; ok {
		return bus.ErrChannelExists.With("", map[string]string{"address": c.Address.String()})
	}
	if limit > 0 && len(s.meta.channels) >= limit {
		return bus.ErrChannelLimit.With("", map[string]string{"limit": strconv.Itoa(limit)})
	}
	if err := s.budget.full(); err != nil {
		return err
	}
	c = c.Clone()
	s.meta.channels[c.Address] = c
	i, _ := slices.BinarySearch(s.meta.names, c.Address.String())
	s.meta.names = slices.Insert(s.meta.names, i, c.Address.String())
	s.budget.used.Add(int64(sizeOfChannel(c)))
	return nil
}

// Channel returns a created channel.
func (s *Store) Channel(_ context.Context, a bus.Address) (bus.Channel, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	c, ok := s.meta.channels[a]
	if !ok {
		return bus.Channel{}, bus.ErrChannelNotFound.With("", map[string]string{"address": a.String()})
	}
	return c, nil
}

// ListChannels returns a page of created channels.
func (s *Store) ListChannels(_ context.Context, after string, limit int) (bus.ChannelPage, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	var page bus.ChannelPage
	i, found := slices.BinarySearch(s.meta.names, after)
	if found {
		i++
	}
	rest := s.meta.names[i:]
	if len(rest) > limit {
		rest, page.More = rest[:limit], true
	}
	for _, name := range rest {
		if a, err := bus.StoredAddress(name); err == nil { // it was one when it came
			page.Channels = append(page.Channels, s.meta.channels[a])
		}
	}
	return page, nil
}

// DeleteChannel removes a channel and what it has kept, and announces it.
func (s *Store) DeleteChannel(_ context.Context, a bus.Address) error {
	part := s.part(a)
	part.mu.Lock()
	defer part.mu.Unlock()
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	gone, ok := s.meta.channels[a]
	if !ok {
		return bus.ErrChannelNotFound.With("", map[string]string{"address": a.String()})
	}
	delete(s.meta.channels, a)
	if i, found := slices.BinarySearch(s.meta.names, a.String()); found {
		s.meta.names = slices.Delete(s.meta.names, i, i+1)
	}
	s.budget.used.Add(int64(-sizeOfChannel(gone)))
	if c := part.cells[a]; c != nil {
		s.drop(part, a, c)
		next := s.cell(part, a)
		next.feeds, next.used = c.feeds, s.now()
		m := &bus.Message{ID: uuid.NewString(), To: a, ContentType: bus.JSON, Kind: bus.MessageDeleted, Published: s.now()}
		for _, f := range c.feeds {
			f.put(m)
		}
	}
	return nil
}

// Beat notes that a node is alive.
func (s *Store) Beat(_ context.Context, n bus.Node) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	n = n.Clone()
	s.meta.nodes[n.Life] = livingNode{Node: n, heard: s.now()}
	return nil
}

// Gone forgets a node; what it has left behind is reaped.
func (s *Store) Gone(_ context.Context, life string) error {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	if n, ok := s.meta.nodes[life]; ok {
		n.gone = true
		s.meta.nodes[life] = n
	}
	return nil
}

// Nodes returns the living nodes.
func (s *Store) Nodes(context.Context) ([]bus.Node, error) {
	s.meta.mu.Lock()
	defer s.meta.mu.Unlock()
	var nodes []bus.Node
	for _, n := range s.meta.nodes {
		if !n.gone && s.now().Sub(n.heard) <= bus.NodeTTL {
			nodes = append(nodes, n.Node)
		}
	}
	slices.SortFunc(nodes, func(a, b bus.Node) int { return strings.Compare(a.Life, b.Life) })
	return nodes, nil
}

// met notes a node that has not beaten yet.
func (m *meta) met(name string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.nodes[name]; !ok {
		name = strings.Clone(name)
		m.nodes[name] = livingNode{Node: bus.Node{Life: name}, heard: now, gone: true}
	}
}

// dead returns the nodes that were not heard of for so long, and when they were.
func (m *meta) dead(now time.Time, silent time.Duration) map[string]time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	var newest time.Time
	for _, n := range m.nodes {
		if n.heard.After(newest) {
			newest = n.heard
		}
	}
	if now.Sub(newest) > silent {
		return nil
	}
	var dead map[string]time.Time
	for name, n := range m.nodes {
		if now.Sub(n.heard) > silent {
			if dead == nil {
				dead = make(map[string]time.Time)
			}
			dead[name] = n.heard
		}
	}
	return dead
}

// heardSince says whether a node was heard of after that.
func (m *meta) heardSince(name string, at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.nodes[name]
	return ok && n.heard.After(at)
}

// forgetNodes forgets dead nodes that have not been heard of since.
func (m *meta) forgetNodes(dead map[string]time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, heard := range dead {
		if n, ok := m.nodes[name]; ok && !n.heard.After(heard) {
			delete(m.nodes, name)
		}
	}
}
