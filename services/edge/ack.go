package edge

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// acks tells the store what was written and what was acknowledged. Sessions do not wait for it: what comes while a
// call is under way goes with the next one.
type acks struct {
	store   bus.Inboxes
	timeout time.Duration
	failed  func(error)
	unnoted prometheus.Counter // notes that were dropped
	running sync.WaitGroup

	mu      sync.Mutex
	sent    []bus.Ack
	waiting []*acking
	ids     int            // of waiting
	of      map[string]int // ids by connection
	busy    bool
}

// acking is one ack command of a connection.
type acking struct {
	connection string
	acks       []bus.Ack
	done       func([]error)
}

const (
	// ackBatch is how many acks go into one call, about.
	ackBatch = 512
	// sentLimit is how many notes of what was written may wait. More are dropped: a receipt then says less
	// than is true, and never more.
	sentLimit = 1 << 16
	// ackLimit is how many messages may wait to be acknowledged, and ackLimitOf of one connection. More are refused.
	ackLimit   = 1 << 17
	ackLimitOf = 1 << 14
)

// errAcksWait refuses an ack.
var errAcksWait = bus.ErrStoreUnavailable.With("too many acks wait for the store", nil)

// wrote notes that messages were written to a device.
func (a *acks) wrote(notes []bus.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	room := max(min(len(notes), sentLimit-len(a.sent)), 0)
	a.sent = append(a.sent, notes[:room]...)
	a.unnoted.Add(float64(len(notes) - room))
	a.start()
}

// ack acknowledges messages for a connection and calls done with what became of each. It returns an error, and does nothing,
// when as many wait already as may.
func (a *acks) ack(connection string, list []bus.Ack, done func([]error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(list)
	if n > 0 && (a.ids+n > ackLimit || a.of[connection]+n > ackLimitOf) {
		return errAcksWait
	}
	a.waiting = append(a.waiting, &acking{connection, list, done})
	a.ids += n
	a.of[connection] += n
	a.start()
	return nil
}

// taken counts commands as waiting no more. The caller holds the lock.
func (a *acks) taken(commands []*acking) {
	for _, c := range commands {
		a.ids -= len(c.acks)
		if a.of[c.connection] -= len(c.acks); a.of[c.connection] <= 0 {
			delete(a.of, c.connection)
		}
	}
}

// lengths says how many acks and how many notes wait.
func (a *acks) lengths() (ids, sent int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ids, len(a.sent)
}

// flush waits until the store has what was acknowledged before.
func (a *acks) flush(ctx context.Context) error {
	done := make(chan struct{})
	if err := a.ack("", nil, func([]error) { close(done) }); err != nil { // calls come one after the other
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
}

// start makes sure that somebody sends. The caller holds the lock.
func (a *acks) start() {
	if !a.busy {
		a.busy = true
		a.running.Go(a.send)
	}
}

// send makes calls until nothing waits.
func (a *acks) send() {
	for {
		a.mu.Lock()
		sent := a.sent[:min(len(a.sent), ackBatch)]
		a.sent = a.sent[len(sent):]
		n, size := 0, 0
		for n < len(a.waiting) && size < ackBatch {
			size += len(a.waiting[n].acks)
			n++
		}
		commands := a.waiting[:n]
		a.waiting = a.waiting[n:]
		a.taken(commands)
		if len(sent)+n == 0 {
			a.sent, a.waiting, a.busy = nil, nil, false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		a.call(sent, commands, size)
	}
}

func (a *acks) call(sent []bus.Ack, commands []*acking, size int) {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	if len(sent) > 0 { // before the acks: a device that was given a message is to be known when the others have acknowledged it
		if err := a.store.MarkSent(ctx, sent); err != nil {
			a.failed(err)
		}
	}
	if len(commands) == 0 {
		return
	}
	all := make([]bus.Ack, 0, size)
	for _, c := range commands {
		all = append(all, c.acks...)
	}
	errs := a.store.Ack(ctx, all)
	for _, c := range commands {
		c.done(errs[:len(c.acks)])
		errs = errs[len(c.acks):]
	}
}

// ack carries out an ack command. It is answered when the store has it, and only when it has an id.
func (s *session) ack(id uint32, who *bus.Identity, req *publishv1.AckMessagesRequest) error {
	var bad bus.Invalid
	a := bad.Address("ack.address", req.GetAddress())
	if req.GetClient() != "" && req.GetClient() != who.Client {
		bad.Add("ack.client", "is set by the server from the token; leave it out")
	}
	rpc.CheckAcks(&bad, req)
	if err := bad.Err(); err != nil {
		return err
	}
	if !a.HasInbox() || !who.Owns(a) {
		return bus.ErrPermissionDenied.With("messages to "+a.String()+" are not this client's to acknowledge", map[string]string{"address": a.String()})
	}
	list := make([]bus.Ack, len(req.GetIds()))
	for i, message := range req.GetIds() {
		list[i] = bus.Ack{To: a, ID: message, Device: who.Client, Connection: s.id}
	}
	return s.owner.acks.ack(s.id, list, func(errs []error) {
		if id == 0 {
			return
		}
		for _, err := range errs {
			if e := rpc.FromError(err); e != nil && e.RetryAfter > 0 { // as a whole: the client tries all again
				s.replyError(id, e)
				return
			}
		}
		s.reply(&edgev1.ServerFrame{Id: id, Event: &edgev1.ServerFrame_Acked{Acked: rpc.AckAnswer(list, errs)}})
	})
}

// noteSent notes which of the parcels that were handed to the session's connection ask for an ack.
func (s *session) noteSent(sub *subscription, due []*parcel) {
	if !sub.owned {
		return
	}
	var notes []bus.Ack
	for _, p := range due {
		if p.m != nil && p.m.Ack != 0 {
			notes = append(notes, bus.Ack{To: p.m.To, ID: p.m.ID, Device: s.clientID()})
		}
	}
	s.written(notes)
}

// redeliverPage is how many messages of an inbox are read at once: what a reconnect costs does not
// grow with what waits.
const redeliverPage = 64

// redeliver hands over what waits in the inbox of an address, oldest first, and then lets messages through.
func (s *session) redeliver(sub *subscription, at bus.Position) {
	if at.IsStart() && s.shard.begin(sub) { // nothing ever asked for an ack here
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), replayTimeout)
	defer cancel()
	if err := s.redeliverAll(ctx, sub); err != nil {
		s.refuse(rpc.FromError(err))
	}
}

func (s *session) redeliverAll(ctx context.Context, sub *subscription) error {
	var after bus.Position
	for {
		s.shard.reading(sub)
		page, err := s.pending(ctx, sub, after)
		if err == nil {
			err = s.hand(ctx, page.Messages)
		}
		if err != nil {
			return err
		}
		after = bus.Position{Epoch: page.Top.Epoch, Offset: page.Next}
		if !page.More && s.shard.flip(sub, page.Top) {
			return nil
		}
	}
}

// hand writes messages of an inbox, and moves those that nobody acknowledged too often to their dead letters.
func (s *session) hand(ctx context.Context, list []bus.Waiting) error {
	var out []byte
	var notes []bus.Ack
	for i, w := range list {
		if w.Dead {
			if err := s.owner.bury(ctx, w); err != nil {
				return err
			}
		} else {
			m := *w.Message
			m.Redelivered = true
			out = append(out, s.messageFrame(&m)...)
			notes = append(notes, bus.Ack{To: m.To, ID: m.ID, Device: s.clientID(), Again: true})
		}
		if len(out) > 0 && (len(out) >= replayPiece || i == len(list)-1) {
			if err := s.sendPaced(ctx, out); err != nil {
				return err
			}
			s.written(notes)
			out, notes = nil, nil
		}
	}
	return nil
}

// bury publishes a message to its dead letters and removes it. Whoever is interrupted in between, or does it at the
// same time, publishes it once. Where the dead letters cannot be written any more, because their channel was deleted since,
// the message ends all the same: it would hold up the inbox for ever.
func (e *Edge) bury(ctx context.Context, w bus.Waiting) error {
	if _, err := e.store.Publish(ctx, e.writer.door.Buried(w)); err != nil {
		if rpc.FromError(err).RetryAfter > 0 {
			return err
		}
		e.log.Warn("a dead letter has no place to go and is dropped", "message", w.ID, "to", w.Delivery.DeadLetter.String(), "error", err.Error())
	}
	if err := e.store.Discard(ctx, w.To, w.ID, bus.EndDeadLetter); err != nil && rpc.FromError(err).RetryAfter > 0 {
		return err
	}
	return nil
}
