package bus

import (
	"context"
	"strconv"
	"time"
)

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

// Connections remembers which sessions are open, so that somebody else can tell of their end when their process dies.
// run names one life of a process, as Node.Name and Member.Node do. All of it may be repeated without harm.
type Connections interface {
	// Opened remembers connections. It comes before their EventConnected is written.
	Opened(ctx context.Context, run string, connections []Connection) error
	// Ended forgets connections. It comes after their EventDisconnected was written.
	Ended(ctx context.Context, run string, ids []string) error
	// Alive says that the process is alive, and returns how many of its connections are remembered: fewer than it has open
	// when it was taken for dead, or the store has lost them. Each process says so at least every second, and what Reap
	// tells of a dead one has the time at which that was heard last.
	Alive(ctx context.Context, run string) (int, error)
}
