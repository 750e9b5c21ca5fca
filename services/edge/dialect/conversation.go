package dialect

import (
	"context"
	"fmt"
	"net/http"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// Conversation speaks a Stateful dialect on one connection.
type Conversation interface {
	// Start is called once, before anything else, when the connection is open and has not been given a message yet.
	Start(ctx context.Context)
	// Receive takes a frame of the client; a text is known to be UTF-8. Frames come in order, one at a time. data is
	// the caller's, and changes after Receive.
	Receive(ctx context.Context, op Opcode, data []byte)
	// Message appends the payload of the frame for a message to dst, and says of which type it is. It returns nil when this
	// client is not to have the message. It is called in the order of delivery, at the same time as Receive, and must
	// neither block nor use the Conn.
	Message(dst []byte, m *bus.Message) (Opcode, []byte)
	// Event does the same for everything else that a server says. Such are gaps, dismissals, presence, refusals, and that an
	// address is not followed any more because its channel was deleted. The frames of Event are of text.
	Event(dst []byte, f *edgev1.ServerFrame) []byte
	// Tick is called about every second, and returns the payload of a text frame to send, or nil. It
	// must neither block nor use the Conn.
	Tick(now time.Time) []byte
}

// Capabilities is what a Conversation is given of its connection. It keeps those that it needs. Their methods are called by
// Start and Receive alone.
type Capabilities struct {
	Conn      Conn
	Follower  Follower
	Publisher Publisher
	States    States
}

// Conn is who a connection is, and what is said to it.
type Conn interface {
	// ID identifies the connection.
	ID() string
	// Identity is who the connection is.
	Identity() *bus.Identity
	// Become gives the connection another identity, if the authorizer lets it connect. The connection leaves the own
	// addresses that the new identity does not have, and follows the others. What waits in their inboxes is delivered.
	Become(ctx context.Context, who *bus.Identity) error
	// Write sends a frame. The payload may be used again. It waits for a client that is behind. A client that does not read its answers
	// is then not read either, and cannot make more of them wait.
	Write(op Opcode, payload []byte)
	// Refuse ends the connection.
	Refuse(e *bus.Error)
}

// Follower follows addresses for a connection, and looks at channels and rosters.
type Follower interface {
	// Subscribe follows an address. It calls followed, which may be nil, when no message can be missed any more and none has
	// been given to Message. Following twice is an error, and so is what the identity or the authorizer do not allow.
	Subscribe(ctx context.Context, f Follow, followed func()) error
	// Unsubscribe ends that, and says whether there was a subscription.
	Unsubscribe(a bus.Address) bool
	// Subscribed says whether the address is followed: it stops being when its channel is deleted.
	Subscribed(a bus.Address) bool
	// Created returns nil when the channel was created, and ErrChannelNotFound when it was not.
	Created(ctx context.Context, a bus.Address) error
	// Listed says whether a connection of the client, on any node, is in the roster of the address. One that has just come
	// or gone may be told otherwise.
	Listed(ctx context.Context, a bus.Address, client string) (bool, error)
}

// Publisher publishes and acknowledges for a connection.
type Publisher interface {
	// Publish publishes as the connection's identity.
	Publish(ctx context.Context, req *publishv1.PublishRequest) (*publishv1.PublishResponse, error)
	// Ack acknowledges a message of an address that is the identity's own, or was before Become. It does not wait. A store
	// that does not take it is told to Event as an error.
	Ack(to bus.Address, id string)
}

// States reads and changes the objects that addresses have.
type States interface {
	// State returns the object of an address, which the identity must be allowed to read the history of.
	State(ctx context.Context, a bus.Address) (*publishv1.State, error)
	// UpdateState changes it; the identity must be allowed to publish there.
	UpdateState(ctx context.Context, req *publishv1.UpdateStateRequest) (*publishv1.State, error)
}

// Strict is a dialect whose clients know that they may be refused for sending too fast. Clients of other dialects would lose what
// they sent, so they are read more slowly.
type Strict interface {
	Dialect
	// RefusesHaste does nothing: it says that this is such a dialect.
	RefusesHaste()
}

// Closer is a dialect that answers a client's close frame in words of its own.
type Closer interface {
	Dialect
	// Closing returns the code and the text of the answer; code is 1005 for a frame without one, and 0 makes one.
	Closing(code int, text string) (int, string)
}

// Counted is a dialect whose connections are counted on all nodes.
type Counted interface {
	Dialect
	// Roster is the address whose members they are. It is a system address, which nobody can name, or a channel.
	Roster() bus.Address
}

// Handshaker is a dialect that answers handshakes in words of its own.
type Handshaker interface {
	Dialect
	// Check looks at a request before anything else. It answers what is no handshake and then returns false. It may put
	// headers right that RFC 6455 is strict about.
	Check(w http.ResponseWriter, r *http.Request) bool
	// RefuseHandshake answers a handshake that is refused.
	RefuseHandshake(w http.ResponseWriter, e *bus.Error)
}

// Stateful is a dialect whose frames depend on the connection that they are for: each connection has a Conversation.
type Stateful interface {
	Dialect
	// Converse begins the conversation of a connection. It is called before the handshake is answered, when the connection's
	// identity is known and what Hello.Follow names is followed. It must not use c yet.
	Converse(c Capabilities, h Hello) Conversation
}

// Check returns an error when a dialect is neither Stateless nor Stateful, or both.
func Check(d Dialect) error {
	_, stateless := d.(Stateless)
	_, stateful := d.(Stateful)
	if stateless == stateful {
		return fmt.Errorf("the dialect %s must be either stateless or stateful", d.Name())
	}
	return nil
}
