// Package judge says whether a run of the system kept its promises. It reads a record of what publishers and subscribers did and
// saw, and nothing else. So it needs no trust in the system, and in the program that drove it.
package judge

import "strconv"

// Kind says what an event is about.
type Kind string

// The kinds of events. Each says which fields it has besides At.
const (
	// Sent says that the first call of a publish begins: Who, Address, Key, Digest, and Inbox when it asks for an ack.
	Sent Kind = "sent"
	// Answered says that a publish was answered OK: Key, Address, Position, and Repeat when it was recognized as a repetition.
	Answered Kind = "answered"
	// Refused says that a publish was refused for good: Key, Address, Reason.
	Refused Kind = "refused"
	// Unknown says that a publish ended without an answer, or with one that may be tried again: Key, Address, Reason.
	Unknown Kind = "unknown"
	// Subscribed says that a session follows an address: Who, Session, Address, and Position when the address has one. With Resumed
	// it goes on after From, otherwise it begins after Position. Recovered says what the server said of that. Since is when it was asked for. App says that Who sees what the
	// application of a client sees.
	Subscribed Kind = "subscribed"
	// Unsubscribed says that a session follows an address no more: Who, Session, Address.
	Unsubscribed Kind = "unsubscribed"
	// Delivered says that a message came: Who, Session, Address, Position, Key, Origin, Digest, Redelivered, and Inbox when it asks for
	// an ack.
	Delivered Kind = "delivered"
	// Gap says that messages are missing after From, up to Position: Who, Session, Address, Reason. Without an epoch in Position it is
	// not known where the address goes on.
	Gap Kind = "gap"
	// Acked says that the ack of a message was answered: Who, Address, Key.
	Acked Kind = "acked"
	// Ends says that a session has no right to what is published from now on: Session, Reason. What was published before may come
	// for the time Within. It is recorded before what it forbids.
	Ends Kind = "ends"
	// Finished says that Who has read an address to its end: Who, Address. What was answered before had to come.
	Finished Kind = "finished"
	// Present says that a member came to an address, Absent that it left: Who, Address. Within is how long nobody has to notice.
	Present Kind = "present"
	// Absent is the opposite of Present.
	Absent Kind = "absent"
	// Listed says that a list of the members of Address was asked for at the time Since, and has Who.
	Listed Kind = "listed"
	// Unlisted says that such a list does not have Who.
	Unlisted Kind = "unlisted"
)

// Position is a place in the log of an address.
type Position struct {
	Epoch string `json:"epoch,omitempty"`
	Seq   uint64 `json:"seq,omitempty"`
}

// String writes a position as EPOCH:SEQ.
func (p Position) String() string { return p.Epoch + ":" + strconv.FormatUint(p.Seq, 10) }

// Event is one line of a record. Events of one publisher, and those of one subscriber, stand in the order in which they happened.
// Those of different ones may stand in any order.
type Event struct {
	// At is when it happened, in microseconds by one monotonic clock of the whole record.
	At      int64  `json:"at"`
	Kind    Kind   `json:"kind"`
	Who     string `json:"who,omitempty"`
	Session string `json:"session,omitempty"`
	Address string `json:"address,omitempty"`
	// Key names a publish, however often it was tried. It is in the payload, so a delivery can name it.
	Key string `json:"key,omitempty"`
	// Digest is of the payload.
	Digest string `json:"digest,omitempty"`
	// Origin is the address that the payload says it was sent to.
	Origin   string   `json:"origin,omitempty"`
	Position Position `json:"position,omitzero"`
	From     Position `json:"from,omitzero"`
	Reason   string   `json:"reason,omitempty"`
	// Within and Since are in microseconds.
	Within      int64 `json:"within,omitempty"`
	Since       int64 `json:"since,omitempty"`
	Inbox       bool  `json:"inbox,omitempty"`
	EachDevice  bool  `json:"each_device,omitempty"`
	Repeat      bool  `json:"repeat,omitempty"`
	Resumed     bool  `json:"resumed,omitempty"`
	Recovered   bool  `json:"recovered,omitempty"`
	App         bool  `json:"app,omitempty"`
	Redelivered bool  `json:"redelivered,omitempty"`
}
