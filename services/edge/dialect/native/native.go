// Package native is Trunkline's own WebSocket protocol: the frames of trunkline.edge.v1 as JSON text
// (subprotocol trunkline.v1.json) or as protobuf (trunkline.v1.proto). docs/protocol.md shows every frame.
package native

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// The subprotocols, as a client offers them.
const (
	SubprotocolJSON  = "trunkline.v1.json"
	SubprotocolProto = "trunkline.v1.proto"
)

// Offered returns the subprotocols of a handshake in the client's order.
func offered(r *http.Request) []string {
	var names []string
	for _, line := range r.Header["Sec-Websocket-Protocol"] /* as net/http writes it */ {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// hello takes the handshake when the client prefers the subprotocol over our other one.
func hello(r *http.Request, name, other string) (dialect.Hello, bool) {
	names := offered(r)
	at := slices.Index(names, name)
	rival := slices.Index(names, other)
	if at < 0 || rival >= 0 && rival < at {
		return dialect.Hello{}, false
	}
	return withToken(r, dialect.Hello{Subprotocol: name}), true
}

// withToken takes the token, which opens the session at once. In the query it is a page's, which can send it nowhere else.
func withToken(r *http.Request, h dialect.Hello) dialect.Hello {
	h.Token = dialect.Token(r)
	h.Connect = h.Token != ""
	h.OfPage = h.Connect && r.Header.Get("Authorization") == ""
	if h.Connect && len(r.URL.Query()["token"]) > 1 {
		h.Refusal = bus.ErrTokenInvalid.With("token was sent more than once", nil)
	}
	return h
}

// closing is the close frame of both encodings: the code of the catalogue and the reason's name.
func closing(e *bus.Error) (int, string) { return dialect.CloseCode(e), e.Reason }

// decodeError gives an error of the payload codec its reason and all its fields.
func decodeError(err error) error {
	var bad *payload.Error
	if !errors.As(err, &bad) {
		return bus.ErrProtocol.Wrap(err)
	}
	e := &bus.Error{Reason: bad.Kind.Reason(), Message: bad.Message}
	for _, v := range bad.Violations {
		e.Fields = append(e.Fields, bus.FieldViolation{Field: v.Field, Description: v.Description})
	}
	return e
}
