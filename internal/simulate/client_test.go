package simulate_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/simulate"
)

// whole is a store whose logs and feeds are simulated. The rest is the memory store's.
type whole struct {
	bus.Store
	simulated *simulate.Store
}

func newWhole(s *simulate.Store) *whole {
	return &whole{Store: memory.New(memory.Config{}), simulated: s}
}

// NewFeed is simulated.
func (s *whole) NewFeed() bus.Feed { return s.simulated.NewFeed() }

// Since is simulated.
func (s *whole) Since(ctx context.Context, a bus.Address, r bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	return s.simulated.Since(ctx, a, r, after, limit)
}

// Latest is simulated.
func (s *whole) Latest(ctx context.Context, a bus.Address, r bus.Retention, before uint64, limit int) (bus.Page, error) {
	return s.simulated.Latest(ctx, a, r, before, limit)
}

// Tops is simulated.
func (s *whole) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	return s.simulated.Tops(ctx, addresses)
}

// client is somebody who follows addresses as the documents advise. It remembers where it is, and resumes from there.
type client struct {
	w   *world
	who string

	mu       sync.Mutex
	sessions int
	session  string
	stalled  bool                         // it has not read for a while in this session
	at       map[bus.Address]bus.Position // where it is in what it has followed
	wants    map[bus.Address]bool         // it goes on following, whatever happens
	follows  map[bus.Address]bool         // in this session
	asks     map[bus.Address]time.Time    // when it asked, and was not answered yet
}

func newClient(w *world, who string) *client {
	return &client{w: w, who: who, at: map[bus.Address]bus.Position{}, wants: map[bus.Address]bool{}, follows: map[bus.Address]bool{}, asks: map[bus.Address]time.Time{}}
}

// opens begins another session.
func (c *client) opens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions++
	c.stalled = false
	c.session = fmt.Sprint(c.who, ".", c.sessions)
}

// closed ends the session.
func (c *client) closed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range c.follows {
		c.w.ledger.Left(c.who, c.session, a)
	}
	clear(c.follows)
	clear(c.asks)
}

// wanted says whether the client wants to follow an address.
func (c *client) wanted(a bus.Address) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wants[a]
}

// answered notes that a subscribe was answered.
func (c *client) answered(text string) {
	a := name(c.w.tb, text)
	c.mu.Lock()
	defer c.mu.Unlock()
	since, asks := c.asks[a]
	if waited := time.Since(since); asks && waited > answerTime && !c.stalled {
		c.w.ledger.Wrong("late: %s waited for %s to be answered about %s", c.who, waited, a)
	}
	delete(c.asks, a)
}

// answerTime is within what every command is answered, whatever the store does.
const answerTime = 25 * time.Second

// resumes returns from where the client goes on; nil for the present.
func (c *client) resumes(a bus.Address) *publishv1.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wants[a] = true
	return convert.PositionProto(c.at[a])
}

// subscribed takes the answer to a subscribe that asked for what is after a position.
func (c *client) subscribed(s *publishv1.Subscribed, after *publishv1.Position) {
	a := name(c.w.tb, s.GetAddress())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follows[a] = true
	from := convert.Position(s.GetPosition())
	c.w.ledger.Subscribed(c.who, c.session, a, from, after != nil, s.GetRecovered())
	if after != nil && from != convert.Position(after) {
		c.w.ledger.Wrong("%s resumes %s after %v, and was answered %v", c.who, a, after, from)
	}
	c.at[a] = from
}

// message takes a message.
func (c *client) message(p *publishv1.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := name(c.w.tb, p.GetTo())
	m := &bus.Message{ID: p.GetId(), To: a, Data: p.GetData(), Position: convert.Position(p.GetPosition()), Redelivered: p.GetRedelivered()}
	c.w.ledger.Delivered(c.who, c.session, m)
	c.at[a] = m.Position
}

// gap takes a gap.
func (c *client) gap(p *publishv1.Gap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := bus.Gap{Address: name(c.w.tb, p.GetAddress()), From: convert.Position(p.GetAfter()), To: convert.Position(p.GetTo()), Reason: bus.GapReason(p.GetReason())}
	c.w.ledger.Gap(c.who, c.session, g)
	if g.To.Epoch != "" {
		c.at[g.Address] = g.To
	}
}

// left takes the end of a subscription.
func (c *client) left(text string) {
	a := name(c.w.tb, text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.follows[a] {
		delete(c.follows, a)
		c.w.ledger.Left(c.who, c.session, a)
	}
}

// finished says that the client has read what it follows to the end. It returns what it wants and does not follow.
func (c *client) finished() (missing []bus.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.w.addresses {
		switch {
		case c.follows[a]:
			c.w.ledger.Finished(c.who, a)
		case c.wants[a]:
			missing = append(missing, a)
		}
	}
	return missing
}
