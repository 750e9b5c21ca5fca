package client

import (
	"slices"
	"sort"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// subscription is an address that is followed, and how far. Guarded by the client.
type subscription struct {
	address  string
	last     *publishv1.Position // nil for a live address
	past     []string            // the epochs before that of last, oldest first: the log has forked, and does not return to them
	presence bool                // presence is told
}

// moved notes how far the subscription has come, or where the server says that it goes on.
func (s *subscription) moved(p *publishv1.Position) {
	if p.GetEpoch() == "" {
		return
	}
	if s.last.GetEpoch() != "" && s.last.GetEpoch() != p.GetEpoch() {
		s.past = append(s.past, s.last.GetEpoch())
		if i := slices.Index(s.past, p.GetEpoch()); i >= 0 { // a gap leads back to before a fork
			s.past = s.past[:i]
		}
		s.past = s.past[max(len(s.past)-epochsRead, 0):]
	}
	s.last = p
}

// passed says whether the subscription has come so far already.
func (s *subscription) passed(p *publishv1.Position) bool {
	if s.last.GetEpoch() == p.GetEpoch() {
		return p.GetOffset() <= s.last.GetOffset()
	}
	return slices.Contains(s.past, p.GetEpoch())
}

func (c *Client) add(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[s.address] = s
}

func (c *Client) forget(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subs, address)
	delete(c.kept, address)
}

// wanted returns the subscriptions of the next session, each from where it stands.
func (c *Client) wanted() []*edgev1.Subscribe {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*edgev1.Subscribe, 0, len(c.subs))
	for _, s := range c.subs {
		all = append(all, &edgev1.Subscribe{Address: s.address, After: s.last, Presence: s.presence})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].GetAddress() < all[j].GetAddress() })
	return all
}

// restored takes the answers to wanted.
func (s *session) restored(wanted []*edgev1.Subscribe, results []*edgev1.SubscriptionResult) {
	c := s.client
	for i, r := range results {
		if i >= len(wanted) {
			return
		}
		if e := r.GetError(); e != nil {
			s.refused(wanted[i], refused(e))
			continue
		}
		c.mu.Lock()
		if sub := c.subs[wanted[i].GetAddress()]; sub != nil {
			sub.moved(r.GetSubscribed().GetPosition())
		}
		c.mu.Unlock()
	}
}

// refused drops a subscription that cannot be restored. A token that may subscribe but not see who is there goes without that.
// One that may not read history cannot resume: it subscribes without a position, and the gap is told.
func (s *session) refused(want *edgev1.Subscribe, e *Error) {
	c := s.client
	address := want.GetAddress()
	again := &edgev1.Subscribe{Address: address, After: want.GetAfter(), Presence: want.GetPresence()}
	switch {
	case want.GetPresence() && e.Reason == "CHANNEL_PRESENCE_DENIED":
		c.unwatch(address)
		again.Presence = false
	case want.GetAfter() != nil && e.Reason == "CHANNEL_HISTORY_DENIED":
		again.After = nil
	default:
		c.forget(address)
		if c.cfg.OnUnsubscribed != nil {
			c.cfg.OnUnsubscribed(address, e)
		}
		return
	}
	s.post(&edgev1.ClientFrame{Command: &edgev1.ClientFrame_Subscribe{Subscribe: again}}, func(f *edgev1.ServerFrame) {
		if e := f.GetError(); e != nil {
			s.refused(again, refused(e))
			return
		}
		gap := &publishv1.Gap{Address: address, After: want.GetAfter(), To: f.GetSubscribed().GetPosition(), Reason: "history_denied"}
		c.jump(gap)
		if want.GetAfter() != nil && again.GetAfter() == nil && c.cfg.OnGap != nil {
			c.cfg.OnGap(gap)
		}
	})
}

// unwatch notes that a subscription goes without presence.
func (c *Client) unwatch(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.subs[address]; s != nil {
		s.presence = false
	}
}

// advance notes a message and says whether it is new.
func (c *Client) advance(m *publishv1.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := m.GetPosition()
	s := c.subs[m.GetTo()]
	if s == nil && m.GetAckRequired() && p.GetEpoch() != "" {
		c.ownAt(m.GetTo(), p)
		return c.acks.first(m) && !c.repeated(m)
	}
	if s == nil || p.GetEpoch() == "" {
		return c.seen.first(m.GetTo() + "\n" + m.GetId())
	}
	if s.passed(p) {
		return false
	}
	s.moved(p)
	return !c.repeated(m)
}

// jump notes that a gap was told.
func (c *Client) jump(g *publishv1.Gap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.subs[g.GetAddress()]; s != nil {
		s.moved(g.GetTo())
	} else if g.GetTo() != nil || g.GetReason() != "slow_consumer" {
		c.ownAt(g.GetAddress(), g.GetTo())
	}
}
