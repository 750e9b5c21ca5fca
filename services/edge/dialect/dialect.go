// Package dialect is what the edge asks of a WebSocket protocol. The native
// frames (trunkline.edge.v1) are the language between a session and every
// dialect: an older protocol is a translation from and to them.
package dialect

import (
	"net/http"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/refusal"
)

// Opcode is the type of a WebSocket message (RFC 6455, section 11.8).
type Opcode byte

// The opcodes of data frames.
const (
	Text   Opcode = 1
	Binary Opcode = 2
)

// Dialect is one WebSocket protocol in one encoding. It is also either Stateless or Stateful, and may be used
// concurrently.
type Dialect interface {
	// Name labels metrics and logs.
	Name() string
	// Hello reads a handshake; false when it is not for this dialect.
	Hello(r *http.Request) (Hello, bool)
	// Close returns the code and the text of the close frame for a refusal; code 0 means a close frame without one.
	Close(e *bus.Error) (code int, text string)
}

// Stateless is a dialect whose frames are the same for every connection. It keeps nothing about a connection, so
// that encoded bytes are shared by all of them.
type Stateless interface {
	Dialect
	// Opcode is the type of every frame the server sends.
	Opcode() Opcode
	// Decode reads a client's frame, whose text is known to be UTF-8. It returns nil for a frame
	// that the protocol ignores, and an *bus.Error for one that breaks it.
	Decode(op Opcode, data []byte) (*edgev1.ClientFrame, error)
	// Number reads the client's number of the command in a frame, whatever else is wrong with the frame. It is 0 where there
	// is none, or none that can be read. It is asked for refusals alone.
	Number(data []byte) uint32
	// Reply appends the payload of an answer or event to dst; it returns nil when the protocol has no words for it. An error says
	// that it has words, and the frame cannot be put into them.
	Reply(dst []byte, f *edgev1.ServerFrame) ([]byte, error)
	// Message appends the payload of a message to dst; it returns nil when the protocol has no words for it.
	Message(dst []byte, m *bus.Message) []byte
}

// Hello is what a handshake says.
type Hello struct {
	// Subprotocol is echoed; empty for none.
	Subprotocol string
	// Token is the credential in the handshake; empty when there is none.
	Token string
	// Connect opens the session with Token at once; otherwise the first frame must be a connect.
	Connect bool
	// Identity, if set, is who connects: a dialect that is open to everybody makes one, and no token is asked for.
	Identity *bus.Identity
	// Guest, if set, connects when nobody knows Token.
	Guest *bus.Identity
	// Refusal, if set, refuses the handshake.
	Refusal *bus.Error
	// Flaw, if set, refuses it too, but not before who connects, and whether they may, was found out.
	Flaw *bus.Error
	// Place is what the authorizer is told of the socket; nil for the dialect's name alone.
	Place *bus.Place
	// Follow is followed from the start, before the handshake is answered. What the identity or the authorizer
	// do not allow is left out. While nobody can be asked, the handshake is refused.
	Follow []Follow
	// FollowAs, if set, says what is followed besides, once it is known who connects.
	FollowAs func(who *bus.Identity) []Follow
	// OnlyFollow leaves the identity's own addresses out: nothing else is followed.
	OnlyFollow bool
	// Limits are the dialect's own.
	Limits Limits
	// Single lists the connection in rosters as a client of its own, by the connection's id. Each connection comes and goes
	// by itself, whichever client it belongs to.
	Single bool
	// Private is for the dialect's Converse.
	Private any
	// RefuseLate refuses a bad token with a close frame after the upgrade, as an older protocol
	// did, instead of an HTTP status.
	RefuseLate bool
	// OfPage says that the token came in the way that pages have. They see no HTTP status, so a token that is refused for good is
	// refused with a close frame too.
	OfPage bool
}

// Limits bounds one connection. The edge's own limit holds where a field is 0.
type Limits struct {
	// FrameSize is the largest frame of the client, in bytes.
	FrameSize int64
	// QueueBytes is how much may wait for a client that reads slowly, where that is more than the edge's own limit.
	QueueBytes int
	// Subscriptions is how many addresses may be followed besides the client's own.
	Subscriptions int
}

const (
	// around is what may stand around a message in a frame.
	around = 64 << 10
	// queued is how many of the largest messages may wait. A subscription that is behind keeps a quarter of that, so one of them.
	queued = 4
)

// LimitsOf returns the limits of a dialect whose messages have up to size bytes, either way.
func LimitsOf(size int64) Limits {
	return Limits{FrameSize: size + around, QueueBytes: int(queued * (size + around))}
}

// ErrWrongOpcode is a text frame where the subprotocol speaks binary, or the reverse.
var ErrWrongOpcode = bus.ErrUnsupportedMediaType.With(
	"trunkline.v1.json speaks text frames and trunkline.v1.proto binary ones", map[string]string{"close": "1003"})

// CloseCode returns the close code of a refusal. It comes from the refusal's row in the table of refusals. Where the frame
// itself was at fault, it is one of RFC 6455, section 7.4.1.
func CloseCode(e *bus.Error) int {
	switch e.Metadata["close"] {
	case "1003":
		return 1003
	case "1007":
		return 1007
	}
	row := refusal.Row{} // of a reason of a newer service
	if refusal.Known(e.Reason) {
		row = refusal.Of(e.Reason)
	}
	return row.Closing(e.RetryAfter > 0)
}

// Follow is an address to follow.
type Follow struct {
	Address bus.Address
	// Presence also asks for presence events.
	Presence bool
	// Last gives the message that the address retains first, if it does not come anyway. Of several addresses all of them
	// are given in the order of the addresses, before anything else.
	Last bool
}
