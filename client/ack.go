package client

import (
	"context"
	"sync"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// acks is what this client has acknowledged and the server has not confirmed, and how far it has read in each
// inbox. Acks outlive connections: they are sent again until they are confirmed.
type acks struct {
	wake chan struct{}

	mu        sync.Mutex
	read      map[string][]*publishv1.Position // by address, the last one of each epoch
	unsent    map[string][]string              // ids, by address
	unsure    map[string]map[string]bool       // sent and not confirmed
	confirmed chan struct{}                    // closed when nothing is left; nil when nobody waits
}

func newAcks() *acks {
	return &acks{
		wake: make(chan struct{}, 1), read: map[string][]*publishv1.Position{},
		unsent: map[string][]string{}, unsure: map[string]map[string]bool{},
	}
}

// epochsRead is how many epochs of an inbox are told apart. A failover of the store begins one.
const epochsRead = 16

// first says whether a message of an inbox is new. An inbox is delivered in the order of its
// offsets, on each connection from the oldest that waits. What is not beyond the last one of its epoch was had before.
func (a *acks) first(m *publishv1.Message) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, read := m.GetPosition(), a.read[m.GetTo()]
	for i, last := range read {
		if last.GetEpoch() == p.GetEpoch() {
			if p.GetOffset() <= last.GetOffset() {
				return false
			}
			read[i] = p
			return true
		}
	}
	if len(read) == epochsRead {
		read = read[1:]
	}
	a.read[m.GetTo()] = append(read, p)
	return true
}

func (a *acks) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Ack acknowledges a message that asks for an ack. It does not wait: acks go together, and again after a lost
// connection, until the server has confirmed them.
func (c *Client) Ack(m *publishv1.Message) {
	if !m.GetAckRequired() {
		return
	}
	c.acks.mu.Lock()
	c.acks.unsent[m.GetTo()] = append(c.acks.unsent[m.GetTo()], m.GetId())
	c.acks.mu.Unlock()
	c.acks.signal()
}

// Flush waits until the server has confirmed every ack, or ctx ends.
func (c *Client) Flush(ctx context.Context) error {
	for {
		c.acks.mu.Lock()
		if len(c.acks.unsent)+len(c.acks.unsure) == 0 {
			c.acks.mu.Unlock()
			return nil
		}
		if c.acks.confirmed == nil {
			c.acks.confirmed = make(chan struct{})
		}
		confirmed := c.acks.confirmed
		c.acks.mu.Unlock()
		select {
		case <-confirmed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// again makes a new session send what the last one did not hear of.
func (a *acks) again() {
	a.mu.Lock()
	for address, ids := range a.unsure {
		for id := range ids {
			a.unsent[address] = append(a.unsent[address], id)
		}
	}
	clear(a.unsure)
	a.mu.Unlock()
	a.signal()
}

// maxAcks is how many ids one frame has.
const maxAcks = 1000

// take returns what one frame acknowledges; nil when nothing waits.
func (a *acks) take() *publishv1.AckMessagesRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	for address, ids := range a.unsent {
		n := min(len(ids), maxAcks)
		req := &publishv1.AckMessagesRequest{Address: address, Ids: ids[:n:n]}
		if a.unsent[address] = ids[n:]; n == len(ids) {
			delete(a.unsent, address)
		}
		if a.unsure[address] == nil {
			a.unsure[address] = map[string]bool{}
		}
		for _, id := range req.GetIds() {
			a.unsure[address][id] = true
		}
		return req
	}
	return nil
}

// answered takes the answer to a frame. What was refused for good is not sent again: the message is not there.
func (a *acks) answered(req *publishv1.AckMessagesRequest, f *edgev1.ServerFrame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := f.GetError()
	for _, id := range req.GetIds() {
		delete(a.unsure[req.GetAddress()], id)
		if e.GetRetryDelay() != nil {
			a.unsent[req.GetAddress()] = append(a.unsent[req.GetAddress()], id)
		}
	}
	if len(a.unsure[req.GetAddress()]) == 0 {
		delete(a.unsure, req.GetAddress())
	}
	if a.confirmed != nil && len(a.unsent)+len(a.unsure) == 0 {
		close(a.confirmed)
		a.confirmed = nil
	}
}

// acknowledge sends acks until ctx ends; while one frame is under way, what comes waits for the next.
func (s *session) acknowledge(ctx context.Context) error {
	a := s.client.acks
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		}
		if !s.isOpen() {
			continue // opening it wakes this again
		}
		for req := a.take(); req != nil; req = a.take() {
			call, cancel := context.WithTimeout(ctx, s.client.cfg.Timeout)
			p, ok := s.post(&edgev1.ClientFrame{Command: &edgev1.ClientFrame_Ack{Ack: req}}, func(f *edgev1.ServerFrame) { a.answered(req, f) })
			if !ok {
				cancel()
				return nil // the next session sends it again
			}
			var retry bool
			select {
			case f := <-p.answer:
				retry = f.GetError().GetRetryDelay() != nil
			case <-call.Done():
			}
			cancel()
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the caller has ended, and that is no fault
			}
			if retry && !wait(ctx, s.client.cfg.MinBackoff) {
				return nil
			}
		}
	}
}

// isOpen says whether connect has been answered.
func (s *session) isOpen() bool {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return s.client.session == s
}
