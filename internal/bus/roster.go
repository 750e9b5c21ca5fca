package bus

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"time"
)

// Member is one connection that is subscribed to an address.
type Member struct {
	Connection string
	Client     string
	User       string
	Node       string
	Joined     time.Time
	// Quiet members make no events: an address of which nobody was told as occupied is not told as vacated either. The next
	// member that is not quiet tells of it.
	Quiet bool `json:"-"`
}

// MemberPage is a part of the members of an address, ordered by connection.
type MemberPage struct {
	Members []Member
	More    bool
	// Total is how many connections there are.
	Total int
}

// RosterTouch is how often each node keeps a roster from being forgotten. That its members live is known from its Beat.
const RosterTouch = 15 * time.Minute

// LostGrace is how long a client whose connection was lost may take to come back before it counts as gone.
const LostGrace = 10 * time.Second

// Roster keeps who is subscribed to an address on any node. A member is there until it leaves, or until it is reaped.
// The first connection of a client that joins, and the last one that goes, are announced in the same atomic step. The
// announcement is a live message on the address, of the kind MessagePresence. All of it may be repeated without harm. Where
// events are kept, the first member of an address and the last one that goes are noted in that step too. They are told as
// EventOccupied and EventVacated before the call returns, or by a Reap.
type Roster interface {
	// Join adds a member. A connection that was lost is there again.
	Join(ctx context.Context, to Address, m Member) error
	// Leave removes a member.
	Leave(ctx context.Context, to Address, connection string) error
	// Lose says that the connection of a member broke at the given time. The member stays until Reap is called after
	// the grace has passed since then.
	Lose(ctx context.Context, to Address, connection string, at time.Time, grace time.Duration) error
	// Members returns at most limit members whose connection sorts after the given one. It reads no more than the page.
	Members(ctx context.Context, to Address, after string, limit int) (MemberPage, error)
	// Listed says whether a connection of the client is among the members.
	Listed(ctx context.Context, to Address, client string) (bool, error)
}

// Reaper removes the members that will not leave by themselves. Every node runs one; all may do so at once.
type Reaper interface {
	// Kept returns a text that changes when the store may have lost what the node told it. It was then restarted or emptied, another
	// server took over, or the node was taken for dead. Each node asks at least every NodeTTL/3, and touches all its addresses when
	// the text has changed.
	Kept(ctx context.Context, node string) (string, error)
	// Touch keeps the rosters of the addresses from being forgotten, and notes that the node has members there. Each
	// node does so at least every RosterTouch. It returns the addresses where the store knows no member of the node: because
	// it lost them, or because the node was taken for dead.
	Touch(ctx context.Context, node string, addresses []Address) (missing []Address, err error)
	// Reap removes members whose grace is over, and members of nodes not heard of for as long as silent says. It removes each once,
	// and announces who has gone. It does a bounded part of the work and returns whether there is more. When no node at all was
	// heard of for so long, the store was away and not they: nobody is taken for dead. Where events are kept it tells of the open
	// connections of such nodes as disconnected, each once, and what others left untold.
	Reap(ctx context.Context, silent time.Duration) (more bool, err error)
}

// What a PresenceEvent tells.
const (
	PresenceJoined = "joined"
	PresenceLeft   = "left"
)

// Why a member left.
const (
	// LeftClean is a member that left, or was sent away.
	LeftClean = "left"
	// LeftLost is a member whose connection was lost.
	LeftLost = "lost"
	// LeftNode is a member whose node has died.
	LeftNode = "node_lost"
)

// MaxMembersInEvents is up to how many clients of an address presence events say which ones came and went, unless that is configured.
const MaxMembersInEvents = 500

// PresenceEvent says that a client came to an address or left it. As JSON it is the data of a MessagePresence of a store.
type PresenceEvent struct {
	// Kind is PresenceJoined or PresenceLeft.
	Kind string `json:"kind"`
	// Reason is why it left.
	Reason string `json:"reason,omitempty"`
	// Millis is when it happened, in milliseconds since the Unix epoch.
	Millis int64 `json:"at"`
	// Member is the client's first connection, or its last.
	Member Member `json:"member"`
	// Clients is how many clients are there now; 0 where that is not known, as well.
	Clients int `json:"clients"`
}

// Time is when it happened.
func (e PresenceEvent) Time() time.Time { return time.UnixMilli(e.Millis) }

// PresenceNews is what has changed in an address. As JSON it is the data of a MessagePresence that package presence hands on.
type PresenceNews struct {
	// Changes are in order, at most one of each client.
	Changes []PresenceEvent `json:"changes"`
	// Clients is how many clients are there now.
	Clients int `json:"clients"`
	// Unlisted is how many changes were too many to be listed. There are no others then.
	Unlisted int `json:"unlisted"`
}

// JSON writes the news.
func (n PresenceNews) JSON() []byte {
	data, _ := json.Marshal(n) // texts and numbers always encode
	return data
}

// PresenceNewsOf reads the news of a message of the kind MessagePresence. It returns ErrInternal when there are none.
func PresenceNewsOf(m *Message) (PresenceNews, error) {
	var n PresenceNews
	if m.Kind != MessagePresence {
		return n, ErrInternal
	}
	if err := json.Unmarshal(m.Data, &n); err != nil {
		return n, ErrInternal.Wrap(err)
	}
	return n, nil
}

// PresenceOf reads the event of a message of the kind MessagePresence. It returns ErrInternal when there is none, or one that no
// frame could tell.
func PresenceOf(m *Message) (PresenceEvent, error) {
	var e PresenceEvent
	if m.Kind != MessagePresence {
		return e, ErrInternal
	}
	if err := json.Unmarshal(m.Data, &e); err != nil {
		return e, ErrInternal.Wrap(err)
	}
	if !InTime(e.Time()) || !InTime(e.Member.Joined) || e.Clients < 0 || e.Clients > math.MaxInt32 {
		return e, ErrInternal
	}
	return e, nil
}

// Clone returns a member that shares no memory with what it was cut out of.
func (m Member) Clone() Member {
	m.Connection, m.Client, m.User, m.Node = strings.Clone(m.Connection), strings.Clone(m.Client), strings.Clone(m.User), strings.Clone(m.Node)
	return m
}
