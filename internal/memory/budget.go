package memory

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// budget is how many bytes the store may keep, and how many it keeps. What is counted is close to what the heap grows by.
type budget struct {
	limit int64 // 0 for none
	used  atomic.Int64
}

// full returns the refusal of what would be kept once the limit is reached; nil before. What makes room is never refused.
func (b *budget) full() error {
	if b.limit == 0 || b.used.Load() < b.limit {
		return nil
	}
	limit := strconv.FormatInt(b.limit, 10)
	return bus.ErrStorageFull.With("the store has as many bytes as it may; wait until some of it ends, or raise memory.limit",
		map[string]string{"setting": "memory.limit", "limit": limit})
}

func (b *budget) register(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_memory_store_bytes", Help: "What the store in memory keeps, in bytes.",
		}, func() float64 { return float64(b.used.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_memory_store_limit_bytes", Help: "What the store in memory may keep, in bytes; 0 for no limit.",
		}, func() float64 { return float64(b.limit) }),
	)
}

// What things cost besides their texts, in bytes: structures, places in maps, and what is kept about them elsewhere.
const (
	cellCost       = 500
	messageCost    = 400
	textCost       = 16 // of each small text, which Go rounds up
	pairCost       = 110
	keyCost        = 480
	deliveryCost   = 900
	deviceCost     = 180
	stateCost      = 120
	tokenCost      = 180
	familyCost     = 380
	revocationCost = 160
	channelCost    = 260
	valueCost      = 130
	ownerCost      = 420
)

// sizeOf is what a message costs.
func sizeOf(m *bus.Message) int {
	n := messageCost + len(m.Data) + len(m.To.String()) + len(m.From.Client) + len(m.From.User)
	for k, v := range m.Attributes {
		n += pairCost + len(k) + len(v)
	}
	for _, r := range m.Recipients {
		n += textCost + len(r)
	}
	return n
}

// sizeOfKey is what an idempotency key costs.
func sizeOfKey(k key, a answer) int {
	n := keyCost + len(k.publisher) + len(k.key) + len(a.digest)
	if a.state != nil {
		n += stateCost + len(a.state.Value)
	}
	return n
}

// sizeOfChannel is what a created channel costs.
func sizeOfChannel(c bus.Channel) int {
	n := channelCost + 2*len(c.Address.String())
	for k, v := range c.Labels {
		n += pairCost + len(k) + len(v)
	}
	return n
}

// size is what the cell costs.
func (c *cell) size() int {
	n := cellCost + c.bytes
	if c.inbox != nil {
		n += c.inbox.bytes
	}
	return n
}

// counted tells the budget what the cell has grown or shrunk by. The caller holds the lock of its part.
func (s *Store) counted(c *cell) {
	if now := c.size(); now != c.told {
		s.budget.used.Add(int64(now - c.told))
		c.told = now
	}
}

// drop forgets a cell. The caller holds the lock of the part.
func (s *Store) drop(p *part, a bus.Address, c *cell) {
	s.budget.used.Add(int64(-c.told))
	delete(p.cells, a)
	s.census.change(a, -1)
}
