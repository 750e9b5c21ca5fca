package bus

import (
	"context"
	"slices"
	"strings"
	"time"
)

// AckScope says whose ack is enough. The numbers are those of trunkline.publish.v1.AckScope.
type AckScope uint8

// The scopes. The zero AckScope is that of a message that asks for no ack.
const (
	AnyDevice  AckScope = 1
	EachDevice AckScope = 2
)

// AckTerms is what a publication that asks for an ack wants. Times are absolute, so that both
// stores and every process mean the same moment.
type AckTerms struct {
	Scope AckScope
	// Deadline is until when an ack keeps the message from counting as stored, and Expires until when it is kept.
	Deadline, Expires time.Time
	// CollapseKey, if set, makes the message take the place of an older one with the same key.
	CollapseKey string
	// MaxDeliveries is after how many deliveries without an ack the message goes to DeadLetter; 0 for never.
	MaxDeliveries int
	DeadLetter    Address
	// Limit is how many messages may wait in the inbox; one more is refused with ErrInboxFull.
	Limit int
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

// DeliveryState says what became of a message that asks for an ack. The numbers are those of
// trunkline.publish.v1.DeliveryState.
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

// MaxDevices is how many devices that were given one message are told apart, and how many that were denied it; the
// counters go on beyond.
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
	Ended         time.Time // zero while it waits
	Reason        EndReason // empty unless it ended without an ack
	Deliveries    int
	Devices       []Device // ordered by client
	SentCount     int
	AckedCount    int
	DeniedCount   int
	DeniedWhy     string // about the device that was denied it last
	MaxDeliveries int
	DeadLetter    Address
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
	case d.Scope == EachDevice && d.SentCount > 0 && d.AckedCount >= d.SentCount:
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
}

// PendingQuery says which part of an inbox is wanted.
type PendingQuery struct {
	// Device leaves out what this device has acknowledged or was denied; empty for a look at everything.
	Device string
	// After is the offset after which the page begins, and Epoch the epoch of the Top of the page that it comes from; empty
	// for the first page. Where the inbox has lost its end since, the page begins at the end of what was left.
	After uint64
	Epoch string
	// Until leaves out what is beyond this offset; 0 for nothing.
	Until uint64
	Limit int
	// Deliver counts a delivery to the device for each message, and says which are dead.
	Deliver bool
}

// InboxStats says how full an inbox is.
type InboxStats struct {
	Count  int
	Oldest time.Time // zero when it is empty
}

// Due is a message whose deadline or end may have come.
type Due struct {
	To Address
	ID string
}

// Settlement is what Settle found.
type Settlement struct {
	// Changed is StateStored or StateExpired when the call made it so, and 0 otherwise. A message that every device was
	// denied counts as stored: the inbox keeps it.
	Changed DeliveryState
	// Next is when to look again; zero for never.
	Next time.Time
}

// Inboxes keeps messages that wait for an ack. A Publication with Ack enters the inbox in the same step in which it is
// published, gets the next position of its address, and stays until an ack or its end. The log that
// Since reads of such an address is its inbox: what was acknowledged is not in it, and that is no gap. A failover may change
// the epoch of an inbox like that of a log; what waits keeps the position under which it was published.
type Inboxes interface {
	// Pending returns a page of an inbox, oldest first.
	Pending(ctx context.Context, to Address, q PendingQuery) (PendingPage, error)
	// Ack acknowledges messages, and says by index what became of each: nil, ErrMessageNotFound or ErrStoreUnavailable.
	// Acknowledging twice is the same as once. The first ack of a message of scope AnyDevice removes it and
	// publishes a dismissal.
	Ack(ctx context.Context, acks []Ack) []error
	// MarkSent notes that messages were written to a device.
	MarkSent(ctx context.Context, sent []Ack) error
	// MarkDenied notes that devices may not have messages. The first denial of a device counts, and is final: Pending leaves the
	// message out for the device, MarkSent does not note it, and Ack changes nothing unless the device had been given the
	// message before. What has ended, is not known, or was acknowledged by the device stays as it is.
	MarkDenied(ctx context.Context, denied []Denial) error
	// Delivery returns what is known of a message, or ErrMessageNotFound. watch asks for hints: a message of
	// kind MessageReceipt on the address whenever it changes.
	Delivery(ctx context.Context, to Address, id string, watch bool) (Delivery, error)
	// DueDeliveries returns at most limit messages whose time may have come, and lends them to the caller for some
	// seconds: who does not Settle them in time leaves them to others.
	DueDeliveries(ctx context.Context, limit int) ([]Due, error)
	// Settle notes that a message is stored, or removes it when it has ended.
	Settle(ctx context.Context, d Due) (Settlement, error)
	// Discard removes a message for a reason. Returns ErrMessageNotFound when it does not wait.
	Discard(ctx context.Context, to Address, id string, why EndReason) error
	// InboxStats says how full an inbox is.
	InboxStats(ctx context.Context, to Address) (InboxStats, error)
}
