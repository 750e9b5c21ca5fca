// Package pushserver is the older channel push server. Its channels are Trunkline's own, each with a token in the older
// alphabet. What is pushed is a message like any other. docs/dialects.md has the mapping.
package pushserver

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Socket is its WebSocket side, on any path. A connection is told its UUID, subscribes to channels by name, and is sent what
// is pushed to them.
type Socket struct {
	open   bool
	limits dialect.Limits
}

var (
	_ dialect.Stateful   = (*Socket)(nil)
	_ dialect.Handshaker = (*Socket)(nil)
	_ dialect.Counted    = (*Socket)(nil)
)

// NewSocket returns the dialect. Open, everybody may connect and subscribe to every channel. Otherwise a client needs a
// token that grants it, in the query or in the header Authorization. The token's client is a UUID.
func NewSocket(open bool, limits dialect.Limits) *Socket { return &Socket{open: open, limits: limits} }

// Name returns "pushserver".
func (*Socket) Name() string { return "pushserver" }

// Roster counts the clients.
func (*Socket) Roster() bus.Address { return bus.PushClients }

// Close returns the codes of the native protocol: the older server never closed, and its clients look at none.
func (*Socket) Close(e *bus.Error) (int, string) { return dialect.CloseCode(e), e.Reason }

// Hello takes every handshake. A subprotocol is not answered.
func (p *Socket) Hello(r *http.Request) (dialect.Hello, bool) {
	h := dialect.Hello{Connect: true, Token: dialect.Token(r), Limits: p.limits}
	switch {
	case h.Token != "":
		if p.open { // the original looks at no token, so sites have some of their own
			h.Guest = stranger()
		}
	case p.open:
		h.Identity = stranger()
	default:
		h.Refusal = bus.ErrTokenMissing.With("send a token as ?token= or as Authorization: Bearer; serve --legacy-open lets everybody connect, as the older system did",
			map[string]string{"setting": "legacy.open"})
	}
	return h, true
}

// everyChannel lets a stranger subscribe to every channel, and do nothing else.
var everyChannel = func() []bus.Grant {
	p, err := bus.ParsePattern("channels/*")
	if err != nil {
		panic(err) // it is one
	}
	return []bus.Grant{{Pattern: p, Actions: bus.Subscribe}}
}()

// stranger is a client without a token.
func stranger() *bus.Identity {
	return &bus.Identity{Client: uuid.NewString(), Grants: everyChannel, Expires: time.Now().AddDate(100, 0, 0), OutlivesLoss: true}
}

// Converse begins a conversation.
func (*Socket) Converse(c dialect.Capabilities, _ dialect.Hello) dialect.Conversation {
	return &conversation{conn: c.Conn, follower: c.Follower, names: make(map[bus.Address]string)}
}

// Check answers what is no handshake as the older server did.
func (*Socket) Check(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet && strings.Contains(strings.ToLower(r.Header.Get("Upgrade")), "websocket") {
		return true
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, "<html><head></head><body><h1>404 WebSocket Upgrade Failure</h1></body></html>")
	return false
}

// RefuseHandshake answers a refused handshake with an ERROR.
func (*Socket) RefuseHandshake(w http.ResponseWriter, e *bus.Error) {
	f := refused(e)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if f.Code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	dialect.SetRetryAfter(h, e)
	w.WriteHeader(f.Code)
	_ = json.NewEncoder(w).Encode(f) // the client may be gone
}
