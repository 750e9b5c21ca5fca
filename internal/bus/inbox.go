package bus

import (
	"context"
	"slices"
	"strings"
	"time"
)

// AckScope says whose ack is enough. The numbers are the same as in trunkline.publish.v1.AckScope.
//
// The first ack ends a message of the scope AnyDevice and removes it. One of the scope EachDevice ends when every device
// that was given it until then has acknowledged it. It is kept on, for devices that come later, until its time is over or the
// inbox needs the room. What happens to it on those changes nothing any more.
type AckScope uint8

// The scopes. The zero AckScope says that a message asks for no ack.
const (
	AnyDevice  AckScope = 1
	EachDevice AckScope = 2
)

// AckTerms is what a publication that asks for an ack wants. Times are lengths that count from when the store takes the
// message, by the clock of the store: those of the callers need not agree.
type AckTerms struct {
	Scope AckScope
	// Timeout is for how long an ack keeps the message from counting as stored, and Keep for how long it is kept. A Door takes 0
	// for what is configured.
	Timeout, Keep time.Duration
	// CollapseKey, if set, makes the message take the place of an older one with the same key.
	CollapseKey string
	// MaxDeliveries is after how many deliveries without an ack the message goes to DeadLetter; 0 for never. With the scope
	// EachDevice each device has a count of its own.
	MaxDeliveries int
	DeadLetter    Address
	// Limit is how many messages may wait in the inbox; one more is refused with ErrInboxFull. What everybody acknowledged
	// does not wait: as many again are kept for devices that come later.
	Limit int
	// Author is the client or user that sends the message, which a Door sets; empty for a back end. What comes of the message counts
	// as the author's share of the log of events.
	Author string
}

// client is the name of the account of a client; empty for that of a back end.
func (a Author) client() string {
	if account := a.Account(); account.Kind != AccountKey {
		return account.Name
	}
	return ""
}

// HasInbox says whether messages to the address may ask for an ack: those to a client, a user or a session.
func (a Address) HasInbox() bool {
	switch a.Kind() {
	case KindClients, KindUsers, KindSessions:
		return true
	}
	return false
}

// EndReason says why a message left an inbox without an ack.
type EndReason string

// The reasons.
const (
	EndTTL        EndReason = "ttl"
	EndCollapsed  EndReason = "collapsed"
	EndDeadLetter EndReason = "dead_letter"
)

// DeliveryState says what became of a message that asks for an ack. The numbers are the same as in trunkline.publish.v1.DeliveryState.
type DeliveryState uint8

// The states.
const (
	StatePending DeliveryState = 1
	StateSent    DeliveryState = 2
	StateAcked   DeliveryState = 3
	StateStored  DeliveryState = 4
	StateExpired DeliveryState = 5
	StateDenied  DeliveryState = 6
)

// Final says whether the state of a delivery as a whole does not change any more. StateDenied may: another device may be
// given the message.
func (s DeliveryState) Final() bool { return s == StateAcked || s == StateExpired }

// MaxDevices is how many devices that were given one message are told apart, and how many that were denied it. A message
// of the scope EachDevice is not given to further ones: what they acknowledge could not be remembered.
const MaxDevices = 100

// ReceiptAge is how long a delivery is remembered after its end.
const ReceiptAge = 24 * time.Hour

// Device is what became of a message on one device, which is a client id.
type Device struct {
	Client      string
	Sent, Acked time.Time // zero when it was not
	// Denied is when the device was denied the message, zero when it was not, and Why is a sentence about that. It is
	// not given the message again.
	Denied time.Time
	Why    string
}

// Delivery is what is known of one message that asks for an ack.
type Delivery struct {
	To            Address
	ID            string
	Scope         AckScope
	Published     time.Time
	Deadline      time.Time
	Expires       time.Time
	Ended         time.Time // zero while it waits; see AckScope
	Reason        EndReason // empty unless it ended without an ack
	Deliveries    int
	Devices       []Device // ordered by client
	SentCount     int      // at most MaxDevices
	AckedCount    int      // of those, and at least 1 when it ended with an ack
	DeniedCount   int
	DeniedWhy     string // about the device that was denied it last
	MaxDeliveries int
	DeadLetter    Address
	Author        string // of AckTerms
}

// Sort puts the devices in order.
func (d *Delivery) Sort() {
	slices.SortFunc(d.Devices, func(a, b Device) int { return strings.Compare(a.Client, b.Client) })
}

// State returns the state at a time. It follows from what was noted, so that no timer has to
// fire for a receipt to be right.
func (d *Delivery) State(now time.Time) DeliveryState {
	switch {
	case d.Reason != "":
		return StateExpired
	case !d.Ended.IsZero():
		return StateAcked
	case !now.Before(d.Expires):
		return StateExpired
	case !now.Before(d.Deadline):
		if d.SentCount == 0 && d.DeniedCount > 0 {
			return StateDenied
		}
		return StateStored
	case d.SentCount > 0:
		return StateSent
	}
	return StatePending
}

// For says whether a device may still be given the message, as far as its devices are known. It has not acknowledged the message,
// was not denied it, and can still be told apart.
func (d *Delivery) For(client string) bool {
	for _, v := range d.Devices {
		if v.Client == client {
			return v.Acked.IsZero() && v.Denied.IsZero()
		}
	}
	return d.Scope != EachDevice || d.SentCount < MaxDevices
}

// Judge says what settling the message does at a time; stored says whether that was noted before.
func (d *Delivery) Judge(at time.Time, stored bool) Verdict {
	v := Verdict{Due: Due{To: d.To, ID: d.ID}, At: at, Deadline: d.Deadline, Expires: d.Expires, Author: d.Author}
	switch {
	case d.Reason != "":
		v.Ended, v.Reason = d.Ended, d.Reason
	case !d.Ended.IsZero():
	case !at.Before(d.Expires):
		v.Changed = StateExpired
	case at.Before(d.Deadline):
		v.Next = earlier(d.Deadline, d.Expires)
	default:
		v.Next = d.Expires
		if !stored {
			v.Changed = StateStored
		}
	}
	return v
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// DeviceState returns the state of one device at a time.
func (d *Delivery) DeviceState(v Device, now time.Time) DeliveryState {
	if !v.Acked.IsZero() {
		return StateAcked
	}
	if !v.Denied.IsZero() {
		return StateDenied
	}
	if s := d.State(now); s == StateExpired || s == StateAcked && d.Scope == AnyDevice {
		return s
	}
	if !now.Before(d.Expires) {
		return StateExpired
	}
	if !now.Before(d.Deadline) {
		return StateStored
	}
	return StateSent
}

// Ack is one acknowledgement.
type Ack struct {
	To Address
	ID string
	// Device is the client id that acknowledges, and Connection the one of its connections that needs no dismissal.
	Device, Connection string
	// Again says of a message that was written to the device, not acknowledged by it, that it was a redelivery: each counts.
	Again bool
}

// Denial says that a device may not have a message.
type Denial struct {
	To     Address
	ID     string
	Device string // a client id
	Why    string // one sentence
}

// maxSentence is how many bytes of a sentence are kept.
const maxSentence = 256

// Sentence is what is kept of Why.
func (d Denial) Sentence() string {
	if len(d.Why) <= maxSentence {
		return d.Why
	}
	return strings.ToValidUTF8(d.Why[:maxSentence], "")
}

// Waiting is one message of an inbox.
type Waiting struct {
	*Message
	Deliveries int
	// Dead is set when the message was delivered as often as it may be: it is to go to its dead letters.
	Dead     bool
	Delivery Delivery // without devices
}

// PendingPage is a part of an inbox.
type PendingPage struct {
	Messages []Waiting
	// Next is the offset of the last entry looked at, and More whether there is something after it.
	Next uint64
	More bool
	// Top is the newest position of the address; zero when nothing ever asked for an ack.
	Top Position
	// Unproved is set when nothing proves that everything acknowledged has survived since the position of the query.
	Unproved bool
}

// PendingQuery says which part of an inbox is wanted.
type PendingQuery struct {
	// Device leaves out what this device has acknowledged, was denied or may not be given; empty for a look at everything
	// that waits.
	Device string
	// After is the offset after which the page begins, and Epoch the epoch in Top of the page that it comes from. Both are empty for
	// the first page. Where the inbox has lost its end since, the page begins at the end of what was left.
	After uint64
	Epoch string
	// Until leaves out what is beyond this offset; 0 for nothing.
	Until uint64
	Limit int
	// Deliver says which messages are dead to the device. Deliveries count when MarkSent hears of them.
	Deliver bool
}

// InboxStats says how full an inbox is.
type InboxStats struct {
	Count  int       // of what waits
	Oldest time.Time // of what is kept; zero when nothing is
}

// Due is a message whose deadline or end may have come.
type Due struct {
	To Address
	ID string
}

// DueStats says how much there is to settle.
type DueStats struct {
	// Count is how many messages are to be looked at, now or later. Late is for how long the most overdue one has been due.
	Count int
	Late  time.Duration
}

// Verdict is what Settle would do to a message at a time.
type Verdict struct {
	Due
	// At is the time, by the clock of the store that has the message.
	At time.Time
	// Changed and Next come from the Settlement.
	Changed DeliveryState
	Next    time.Time
	// Deadline and Expires are the message's; zero when it is not known.
	Deadline, Expires time.Time
	// Author is the author of the AckTerms.
	Author string
	// Ended and Reason are set for a message that has left its inbox without an ack since the last look.
	Ended  time.Time
	Reason EndReason
}

// Settlement is what Settle found.
type Settlement struct {
	// Changed is StateStored or StateExpired when the call made it so, and 0 otherwise. A message that every device was
	// denied counts as stored: the inbox keeps it.
	Changed DeliveryState
	// Next is when to look again; zero for never.
	Next time.Time
}

// Inboxes keeps messages that wait for an ack. A Publication with Ack enters the inbox in the step in which it is published. It
// gets the next position of its address, and stays until an ack or its end. A Publication whose message id waits in the inbox
// already is a repeat of it, as with an idempotency key. The log that Since reads of such an address is its inbox: what was
// acknowledged is not in it, and that is no gap. A failover may change the epoch of an inbox like that of a log; what waits keeps
// the position under which it was published.
type Inboxes interface {
	// Pending returns a page of an inbox, oldest first.
	Pending(ctx context.Context, to Address, q PendingQuery) (PendingPage, error)
	// Ack acknowledges messages, and says by index what became of each: nil, ErrMessageNotFound or ErrStoreUnavailable.
	// Acknowledging twice is the same as once, and what has ended stays as it ended. The first ack of a message of scope
	// AnyDevice removes it and publishes a dismissal. An ack that was answered is never followed by a delivery to the device.
	Ack(ctx context.Context, acks []Ack) []error
	// MarkSent notes that messages were written to a device. Notes of a first delivery may be repeated.
	MarkSent(ctx context.Context, sent []Ack) error
	// MarkDenied notes that devices may not have messages. The first denial of a device counts, and is final. Pending leaves the
	// message out for the device, and MarkSent does not note it. Ack changes nothing unless the device had been given the message
	// before. What has ended, is not known, or was acknowledged by the device stays as it is.
	MarkDenied(ctx context.Context, denied []Denial) error
	// Delivery returns what is known of a message, or ErrMessageNotFound. watch asks for hints: a message of
	// kind MessageReceipt on the address whenever it changes.
	Delivery(ctx context.Context, to Address, id string, watch bool) (Delivery, error)
	// Discard removes a message for a reason. Returns ErrMessageNotFound when it does not wait.
	Discard(ctx context.Context, to Address, id string, why EndReason) error
	// InboxStats says how full an inbox is.
	InboxStats(ctx context.Context, to Address) (InboxStats, error)
	Dues
}

// Dues notes when messages that wait for an ack have to be looked at. A message leaves it with the ack that ends it, or
// with the look after another end.
type Dues interface {
	// DueDeliveries returns at most limit messages whose time may have come, and lends them to the caller for some seconds. What is
	// not settled in time is left to others.
	DueDeliveries(ctx context.Context, limit int) ([]Due, error)
	// Judge says by index what Settle would do to messages now, and changes nothing. A verdict that is told before it is carried out
	// is never forgotten: when the teller dies in between, another process tells it again.
	Judge(ctx context.Context, due []Due) ([]Verdict, []error)
	// SettleAll carries out verdicts, by index, as of the time of each: what has come later is left for the next look.
	SettleAll(ctx context.Context, list []Verdict) ([]Settlement, []error)
	// Settle judges one message and carries that out: it notes that the message is stored, or removes it when it has ended.
	Settle(ctx context.Context, d Due) (Settlement, error)
	// DueStats says how much there is to settle.
	DueStats(ctx context.Context) (DueStats, error)
}
