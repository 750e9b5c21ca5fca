package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// EventKind says what an Event tells.
type EventKind string

// The kinds of event.
const (
	// EventConnected is a session that has opened, and EventDisconnected one that has ended.
	EventConnected    EventKind = "connected"
	EventDisconnected EventKind = "disconnected"
	// EventOccupied is the first member of an address that lists its subscribers, and EventVacated the last one that went.
	EventOccupied EventKind = "occupied"
	EventVacated  EventKind = "vacated"
	// EventStored is a message that nobody acknowledged in time, and EventExpired one that left its inbox without an ack.
	EventStored  EventKind = "stored"
	EventExpired EventKind = "expired"
	// EventGap stands where events of a node are missing, because more came than it could write.
	EventGap EventKind = "gap"
)

// Event is something that happened and that back ends may want to know. As JSON it is the data of a message in the log
// of EventLog. Fields that do not apply are empty.
type Event struct {
	// ID is the same however often the event is written or sent.
	ID   string    `json:"id"`
	Kind EventKind `json:"kind"`
	// Millis is when it happened, in milliseconds since the Unix epoch.
	Millis     int64  `json:"at"`
	Connection string `json:"connection,omitempty"`
	Client     string `json:"client,omitempty"`
	User       string `json:"user,omitempty"`
	Session    string `json:"session,omitempty"`
	Node       string `json:"node,omitempty"`
	Address    string `json:"address,omitempty"`
	Message    string `json:"message,omitempty"`
	Reason     string `json:"reason,omitempty"`
	// Missing is how many events an EventGap stands for.
	Missing uint64 `json:"missing,omitempty"`
}

// Time is when it happened.
func (e Event) Time() time.Time { return time.UnixMilli(e.Millis) }

// EventID returns the id of the event that the parts name: the same for the same parts.
func EventID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return "evt_" + hex.EncodeToString(sum[:16])
}

// eventWindow is how long a repeated event is known to be one. A process that has to tell it again does so within seconds.
const eventWindow = 10 * time.Minute

// Publication returns what appends the event to the log; a repeat within minutes appends nothing.
func (e Event) Publication(keep Retention) Publication {
	data, err := json.Marshal(e)
	if err != nil {
		data = []byte("{}") // texts and numbers always encode
	}
	return Publication{
		Message:   Message{ID: e.ID, To: EventLog, Data: data, ContentType: JSON},
		Retention: keep, IdempotencyKey: e.ID, Digest: "event", Window: eventWindow,
	}
}

// EventOf reads the event of a message of the log. It returns ErrInternal when there is none, or one of a time that cannot be told.
func EventOf(m *Message) (Event, error) {
	var e Event
	if err := json.Unmarshal(m.Data, &e); err != nil || e.ID == "" || !InTime(e.Time()) {
		return e, ErrInternal.Wrap(err)
	}
	return e, nil
}

// Cursors keeps how far readers have come in a log, and lends each reader's place to one process at a time.
type Cursors interface {
	// Claim makes owner the holder for ttl and returns the position; zero when there is none yet. Its holder prolongs it by
	// claiming again. held is false, and the position zero, while somebody else holds it.
	Claim(ctx context.Context, name, owner string, ttl time.Duration) (at Position, held bool, err error)
	// Advance notes a position and prolongs the claim. held is false, and nothing was noted, when owner does not hold it.
	Advance(ctx context.Context, name, owner string, at Position, ttl time.Duration) (held bool, err error)
	// Release ends the claim of owner, if it holds it.
	Release(ctx context.Context, name, owner string) error
}

// Connection is one open session, as it is remembered while events are kept.
type Connection struct {
	ID      string `json:"id"`
	Client  string `json:"client"`
	User    string `json:"user,omitempty"`
	Session string `json:"session,omitempty"`
	Node    string `json:"node"`
	Millis  int64  `json:"at"` // when it opened
	// Turn counts how often it was told as connected before: a node that was taken for dead tells again.
	Turn int `json:"turn,omitempty"`
}

// Connected returns the event of its beginning.
func (c Connection) Connected() Event { return c.event(EventConnected, time.UnixMilli(c.Millis)) }

// Disconnected returns the event of its end.
func (c Connection) Disconnected(at time.Time, reason string) Event {
	e := c.event(EventDisconnected, at)
	e.Reason = reason
	return e
}

func (c Connection) event(kind EventKind, at time.Time) Event {
	return Event{
		ID: EventID(string(kind), c.ID, strconv.Itoa(c.Turn)), Kind: kind, Millis: at.UnixMilli(),
		Connection: c.ID, Client: c.Client, User: c.User, Session: c.Session, Node: c.Node,
	}
}

// Connections remembers which sessions are open, so that somebody else can tell of their end when their process dies. The
// argument run names one life of a process, as Node.Name and Member.Node do. All of it may be repeated without harm.
type Connections interface {
	// Opened remembers connections. It comes before their EventConnected is written.
	Opened(ctx context.Context, run string, connections []Connection) error
	// Ended forgets connections. It comes after their EventDisconnected was written.
	Ended(ctx context.Context, run string, ids []string) error
	// Alive says that the process is alive, and returns how many of its connections are remembered. These are fewer than it has open
	// when it was taken for dead, or the store has lost them. Each process says so at least every second, and what Reap tells of a
	// dead one has the time at which that was heard last.
	Alive(ctx context.Context, run string) (int, error)
}

// Clone returns a connection that shares no memory with what it was cut out of.
func (c Connection) Clone() Connection {
	c.ID, c.Client, c.User = strings.Clone(c.ID), strings.Clone(c.Client), strings.Clone(c.User)
	c.Session, c.Node = strings.Clone(c.Session), strings.Clone(c.Node)
	return c
}
