package edge

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
)

func (p *parcel) mark() bool { return p.m != nil && p.m.Kind == bus.MessageMark }

// expect makes the subscription wait for a mark of its own, and returns it.
func (sh *shard) expect(sub *subscription) (mark string, marked <-chan struct{}) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sub.mark, sub.marked = uuid.NewString(), make(chan struct{})
	return sub.mark, sub.marked
}

// reach notes that a mark has come. The caller holds the lock.
func (s *subscription) reach(mark string) {
	if s.marked != nil && mark == s.mark {
		close(s.marked)
		s.marked = nil
	}
}

// holds says whether the message is among what is held, and so comes anyway.
func (sh *shard) holds(sub *subscription, last bus.Last) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return slices.ContainsFunc(sub.held, func(p *parcel) bool { return last.Is(p.m) })
}

// comes says whether a message of the log comes to a subscription that holds. Of another epoch that cannot be said: then the
// message is left out when it comes.
func (sh *shard) comes(sub *subscription, p bus.Position) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := sub.line.At()
	if p.Epoch != at.Epoch {
		sub.line.Given(p)
		return false
	}
	return p.Offset > at.Offset
}

// readLasts reads what the addresses of the requests retain, for those that ask for it. They are followed and holding.
func (s *session) readLasts(ctx context.Context, requests []*request) error {
	var g errgroup.Group
	g.SetLimit(questions)
	for _, req := range requests {
		if req != nil && req.last {
			g.Go(func() (err error) {
				req.kept, err = s.readLast(ctx, req)
				return err
			})
		}
	}
	return g.Wait()
}

// readLast returns what an address retains; nil when there is nothing, or it comes anyway.
func (s *session) readLast(ctx context.Context, req *request) (*bus.Message, error) {
	mark, marked := s.shard.expect(req.sub)
	last, err := s.owner.tail.Retained(ctx, req.sub.address, mark)
	if err != nil || last.Message == nil {
		return nil, err
	}
	m := *last.Message
	m.Redelivered = true
	if !m.Position.IsZero() { // of a log: it comes if it is after the place where the subscription begins
		if s.shard.comes(req.sub, m.Position) {
			return nil, nil
		}
		return &m, nil
	}
	select {
	case <-marked: // everything before the reading has come
	case <-ctx.Done():
		return nil, bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
	if s.shard.holds(req.sub, last) {
		return nil, nil
	}
	return &m, nil
}

// giveLast writes what an address retains, at the client's pace.
func (s *session) giveLast(req *request) {
	if req == nil || req.kept == nil || !req.kept.For(s.clientID(), s.id) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), replayTimeout)
	defer cancel()
	if b := s.messageFrame(req.kept); len(b) > 0 {
		_ = s.paced(ctx, b) // a client that is gone is noticed by its reader
	}
}
