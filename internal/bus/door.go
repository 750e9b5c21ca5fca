package bus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"
)

// Admitted is a publication that a Door has let in: what a store takes. Nothing but a Door makes one, so that no way to
// a store goes past it. The zero Admitted is refused by every store.
type Admitted struct{ p *Publication }

// Publication returns what was let in.
func (a Admitted) Publication() Publication {
	if a.p == nil {
		return Publication{}
	}
	return *a.p
}

// Publications returns what was let in, by index.
func Publications(list []Admitted) []Publication {
	ps := make([]Publication, len(list))
	for i, a := range list {
		ps[i] = a.Publication()
	}
	return ps
}

// AdmittedState is a change of a state, or its removal, that a Door has let in.
type AdmittedState struct{ c *StateChange }

// Change returns what was let in.
func (a AdmittedState) Change() StateChange {
	if a.c == nil {
		return StateChange{}
	}
	return *a.c
}

// AdmittedRecord is a record for a bridged channel that a Door has let in.
type AdmittedRecord struct{ record []byte }

// Record returns what was let in.
func (a AdmittedRecord) Record() []byte { return a.record }

// Caller is for whom something is published. It decides by what it was given: a token, a key, or the token of a channel.
type Caller interface {
	// Check returns nil when the caller may do the action on the address, and otherwise the refusal.
	Check(action Action, a Address) error
	// Who returns the identity whose token it is; nil for a back end.
	Who() *Identity
	// Author returns who it is that publishes. A back end may say who a message is from; a client's own token says it.
	Author(from Sender) Author
}

// Who returns the identity itself: it is its own caller.
func (id *Identity) Who() *Identity { return id }

// Placed is an identity with what its socket has said of itself, which the authorizer is told.
type Placed struct {
	*Identity
	Place *Place
}

// Author returns the identity's client, whatever is said.
func (id *Identity) Author(Sender) Author {
	return Author{Sender: Sender{Client: id.Client, User: id.User}, Peer: id.Peer}
}

// Holder is who has the token of one channel, or speaks for one kind of address. It may publish there and nowhere else.
type Holder struct {
	// Channel is the channel; zero for all addresses of Kind.
	Channel Address
	Kind    Kind
	// By is who speaks for the kind, and pays.
	By Author
}

// Check returns nil for a publish to what is held.
func (h Holder) Check(action Action, a Address) error {
	held := a.WithoutTopic() == h.Channel
	if h.Channel.IsZero() {
		held = h.Kind != "" && a.Kind() == h.Kind
	}
	if action == Publish && held {
		return nil
	}
	return Denied(action, a)
}

// Who returns nil: no token of a client is behind it.
func (Holder) Who() *Identity { return nil }

// Author returns what is held.
func (h Holder) Author(from Sender) Author {
	if h.Channel.IsZero() {
		return Author{Key: cmp.Or(h.By.Key, string(h.Kind)+"/"), Sender: from, Peer: h.By.Peer}
	}
	return Author{Key: h.Channel.String(), Sender: from}
}

// What a publication may be where nothing else is configured.
const (
	// DefaultMaxMessage is the largest payload, in bytes.
	DefaultMaxMessage = 64 << 10
	// DefaultMaxState is the largest state, in bytes.
	DefaultMaxState = 64 << 10
	// DefaultWindow is how long an idempotency key is remembered.
	DefaultWindow = 10 * time.Minute
	// DefaultMaxChannels is how many channels may be created.
	DefaultMaxChannels = 100_000
)

// DoorConfig is what a Door decides by. The zero value of a field means its default.
type DoorConfig struct {
	Namespaces Namespaces
	// MaxMessage is the largest payload, in bytes, where a namespace does not allow more; DefaultMaxMessage unless set.
	MaxMessage int
	// MaxState is the largest state, in bytes, and no more than MaxMessage; DefaultMaxState unless set. A change of a state copies
	// the whole of it, so what messages may have would be much for a few bytes of change.
	MaxState int
	// Window is how long an idempotency key is remembered; DefaultWindow unless set.
	Window time.Duration
	// Authorizer is asked about what the grants of a token allow; nil for nobody. Back ends are not asked about.
	Authorizer Authorizer
	// Channel looks up the channel of dead letters where channels have to be created first. It returns
	// ErrChannelNotFound; nil refuses such dead letters.
	Channel func(ctx context.Context, a Address) (Channel, error)
	// Charging takes what is let in from the account of its author; nil for nobody.
	Charging Charging
}

// Door decides what may be published, and how it is kept. It is the only way to a store. For every address that is going to be
// written, it takes three steps on behalf of the caller. It checks the grant, then the form and the limits, then asks the
// authorizer. It sets what the namespace says. It may be used concurrently.
type Door struct {
	cfg   DoorConfig
	inbox Inbox
}

// NewDoor returns a door.
func NewDoor(cfg DoorConfig) *Door {
	cfg.MaxMessage = cmp.Or(cfg.MaxMessage, DefaultMaxMessage)
	cfg.MaxState = cmp.Or(cfg.MaxState, DefaultMaxState)
	cfg.Window = cmp.Or(cfg.Window, DefaultWindow)
	return &Door{cfg: cfg, inbox: cfg.Namespaces.Inbox.WithDefaults()}
}

// Limit is the largest payload that an address takes, in bytes.
func (d *Door) Limit(a Address) int {
	return max(d.cfg.MaxMessage, d.cfg.Namespaces.For(a).MaxMessage)
}

// May returns nil when the caller may write to every one of the addresses. Its grants decide, and then, if it is a client, the
// authorizer. It is for a role that hands a request on to a service, which takes its word about the caller.
func (d *Door) May(ctx context.Context, who Caller, targets ...Address) error {
	if err := granted(who, targets); err != nil {
		return err
	}
	return d.ask(ctx, who, targets)
}

// granted checks addresses against what the caller was given. The addresses of Trunkline itself are nobody's.
func granted(who Caller, targets []Address) error {
	for _, a := range targets {
		if a.Kind() == KindSystem {
			return Denied(Publish, a)
		}
		if err := who.Check(Publish, a); err != nil {
			return err
		}
	}
	return nil
}

func (d *Door) ask(ctx context.Context, who Caller, targets []Address) error {
	id := who.Who()
	if id == nil {
		return nil
	}
	q := Question{Identity: id, Action: Publish}
	if p, ok := who.(Placed); ok {
		q.Place = p.Place
	}
	for _, q.Address = range targets {
		if err := Authorize(ctx, d.cfg.Authorizer, q); err != nil {
			return err
		}
	}
	return nil
}

// Admit returns the publication as a store takes it, or why the caller may not publish it. A refusal for its form names all
// bad fields, those in wrong too, which is what the caller of Admit has found.
func (d *Door) Admit(ctx context.Context, who Caller, p Publication, wrong ...FieldViolation) (Admitted, error) {
	if err := d.prepare(who, &p, wrong); err != nil {
		return Admitted{}, err
	}
	if err := d.ask(ctx, who, p.targets()); err != nil {
		return Admitted{}, err
	}
	if err := d.checkDeadLetters(ctx, &p); err != nil {
		return Admitted{}, err
	}
	author := who.Author(p.Message.From)
	if err := d.cfg.Charging.Take(author, p.charge()); err != nil {
		return Admitted{}, err
	}
	if p.Ack != nil {
		p.Ack.Author = author.client()
	}
	return Admitted{&p}, nil
}

// prepare checks what can be checked without asking anybody, and sets how the publication is kept.
func (d *Door) prepare(who Caller, p *Publication, wrong []FieldViolation) error {
	if err := granted(who, p.targets()); err != nil {
		return err
	}
	return d.check(who, p, wrong)
}

// targets returns every address that the publication is going to write to, now or later.
func (p *Publication) targets() []Address {
	var list []Address
	if !p.Message.To.IsZero() {
		list = append(list, p.Message.To)
	}
	if p.Ack != nil && !p.Ack.DeadLetter.IsZero() {
		list = append(list, p.Ack.DeadLetter)
	}
	return list
}

// checkDeadLetters refuses dead letters for a channel that was not created where that is asked for. The store checks the
// channel of the message itself in its own step.
func (d *Door) checkDeadLetters(ctx context.Context, p *Publication) error {
	if p.Ack == nil || p.Ack.DeadLetter.IsZero() || !d.cfg.Namespaces.For(p.Ack.DeadLetter).Explicit {
		return nil
	}
	a := p.Ack.DeadLetter.WithoutTopic()
	if d.cfg.Channel == nil {
		return ErrChannelNotFound.With("", map[string]string{"address": a.String()})
	}
	_, err := d.cfg.Channel(ctx, a)
	return err
}

// Request is one publication of several, and what is known to be wrong with it.
type Request struct {
	Publication Publication
	Wrong       []FieldViolation
}

// questionsAtOnce is how many publications of a batch are asked about at the same time.
const questionsAtOnce = 16

// AdmitAll is Admit for several, by index. The authorizer is asked about some of them at a time, and for half of the time that ctx has
// left. What it has not answered by then is refused, or allowed, as it is when nobody answers. So the others can still be sent.
func (d *Door) AdmitAll(ctx context.Context, who Caller, list []Request) ([]Admitted, []error) {
	in, errs := make([]Admitted, len(list)), make([]error, len(list))
	if who.Who() == nil || d.cfg.Authorizer == nil {
		for i, r := range list {
			in[i], errs[i] = d.Admit(ctx, who, r.Publication, r.Wrong...)
		}
		return in, errs
	}
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Until(end)/2))
		defer cancel()
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(questionsAtOnce, len(list)) {
		wg.Go(func() {
			for i := range next {
				in[i], errs[i] = d.Admit(ctx, who, list[i].Publication, list[i].Wrong...)
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	wg.Wait()
	return in, errs
}

// Entry is the leave of one caller to write to one address. Nothing but a Door makes one.
type Entry struct {
	who Caller
	to  Address
}

// Enter returns the leave to write to an address. It is for a caller that reads before it writes, and must not read without the right to write.
func (d *Door) Enter(ctx context.Context, who Caller, to Address) (Entry, error) {
	if err := d.May(ctx, who, to); err != nil {
		return Entry{}, err
	}
	return Entry{who: who, to: to}, nil
}

// AdmitState returns the change of a state as a store takes it, or what is wrong with it. The message that tells of it is
// checked like any other. A removal is a change whose message says no more than the address.
func (d *Door) AdmitState(e Entry, c StateChange) (AdmittedState, error) {
	if e.who == nil || e.to != c.Message.To {
		return AdmittedState{}, Denied(Publish, c.Message.To)
	}
	if err := d.prepare(e.who, &c.Publication, nil); err != nil {
		return AdmittedState{}, err
	}
	c.Message.Attributes = maps.Clone(c.Message.Attributes)
	if c.Message.Attributes == nil {
		c.Message.Attributes = map[string]string{}
	}
	c.Message.Attributes[StateRevision] = strconv.FormatUint(c.Revision+1, 10)
	if n, limit := len(c.Value), min(d.cfg.MaxState, d.cfg.MaxMessage); n > limit {
		return AdmittedState{}, tooLarge(fmt.Sprintf("the state would have %d bytes", n), n, limit)
	}
	cost := c.charge()
	if len(c.Value) > 0 { // and no removal, which makes room
		cost.Address, cost.Bytes = c.Message.To, cost.Bytes+len(c.Value)
	}
	if err := d.cfg.Charging.Take(e.who.Author(c.Message.From), cost); err != nil {
		return AdmittedState{}, err
	}
	return AdmittedState{&c}, nil
}

// AdmitRecord lets a record in that a bridge sends on as it is. The message m is the one that the record stands for here. It is
// nil when the record reaches nobody that we know.
func (d *Door) AdmitRecord(ctx context.Context, who Caller, m *Message, record []byte) (AdmittedRecord, error) {
	if m != nil {
		if _, err := d.Admit(ctx, who, Publication{Message: *m}); err != nil {
			return AdmittedRecord{}, err
		}
	}
	return AdmittedRecord{record}, nil
}

// Tell returns an event as it is written to the log of events, which is Trunkline's own.
func (d *Door) Tell(e Event) Admitted {
	p := e.Publication(d.cfg.Namespaces.Events)
	return Admitted{&p}
}

// buriedWindow is how long a repeat of a burial is recognised.
const buriedWindow = time.Hour

// reserved begins the names of attributes that no caller sets: receivers believe what they say.
const reserved = "trunkline-"

// StateRevision is the attribute of a message that tells of a change of a state: the revision that the change made.
const StateRevision = reserved + "state"

// DeadLetterOf is the attribute of a dead letter that names the address it was for.
const DeadLetterOf = reserved + "dead-letter-of"

// Buried returns a message that nobody acknowledged as it goes to its dead letters. Its sender was admitted there
// when the message was sent: a store keeps the address of dead letters from nothing but an Admitted. Whoever is interrupted,
// or does it at the same time, publishes it once.
func (d *Door) Buried(w Waiting) Admitted {
	m := *w.Message
	attributes := map[string]string{DeadLetterOf: m.To.String()}
	maps.Copy(attributes, m.Attributes)
	from := m.To
	m.Attributes, m.To, m.Ack, m.Position, m.Expires = attributes, w.Delivery.DeadLetter, 0, Position{}, time.Time{}
	p := Publication{
		Message: m, Retain: AsConfigured, IdempotencyKey: "dead:" + from.String() + ":" + m.ID, Digest: m.ID, Window: buriedWindow,
	}
	d.settle(&p)
	return Admitted{&p}
}

// AdmitInTest lets a publication in as it is. It is for tests of stores, and for nothing else: a test of this package looks
// for every use.
func AdmitInTest(p Publication) Admitted { return Admitted{&p} }

// AdmitStateInTest lets the change of a state in as it is, likewise.
func AdmitStateInTest(c StateChange) AdmittedState { return AdmittedState{&c} }

// AdmitRecordInTest lets a record in as it is, likewise.
func AdmitRecordInTest(record []byte) AdmittedRecord { return AdmittedRecord{record} }
