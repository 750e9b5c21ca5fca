// Package relay is the older relay system. Its tokens are opaque, and addresses at the same time; its records reach older
// edges and our own. The mapping is in docs/dialects.md.
package relay

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Socket is its WebSocket side, on any path. A token in the query is the client's address. The server sends {"message": X};
// what a client sends is read and ignored.
type Socket struct {
	// MaxRecord is the largest record, in bytes. Four of them may wait for a client that reads slowly, if that is more than otherwise.
	MaxRecord int64
}

var _ dialect.Stateless = Socket{}

// Name returns "relay".
func (Socket) Name() string { return "relay" }

// Opcode returns Text.
func (Socket) Opcode() dialect.Opcode { return dialect.Text }

// Hello takes every handshake. The token is checked before the upgrade. A missing, empty or unknown one is refused after it
// by a close frame without a code, as the older edge did.
func (s Socket) Hello(r *http.Request) (dialect.Hello, bool) {
	h := dialect.Hello{Token: r.URL.Query().Get("token"), Connect: true, RefuseLate: true}
	h.Limits.QueueBytes = dialect.LimitsOf(s.MaxRecord).QueueBytes
	return h, true
}

// Decode ignores what a client sends.
func (Socket) Decode(dialect.Opcode, []byte) (*edgev1.ClientFrame, error) { return nil, nil }

// Number returns 0: there are no commands.
func (Socket) Number([]byte) uint32 { return 0 }

// Reply says nothing: success is silent, and so is a refusal.
func (Socket) Reply([]byte, *edgev1.ServerFrame) ([]byte, error) { return nil, nil }

// Close returns no code: the client sees 1005.
func (Socket) Close(*bus.Error) (int, string) { return 0, "" }

// Message writes {"message": X}; X is the payload as it is. A message without one, such as a
// record of the older system without a message member, is {}.
func (Socket) Message(dst []byte, m *bus.Message) []byte {
	if len(m.Data) == 0 {
		return append(dst, `{}`...)
	}
	dst = append(dst, `{"message":`...)
	switch m.ContentType {
	case bus.Text:
		text, _ := json.Marshal(string(m.Data)) // a string always encodes
		dst = append(dst, text...)
	case bus.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, m.Data)
		dst = append(dst, '"')
	default:
		dst = append(dst, m.Data...)
	}
	return append(dst, '}')
}
