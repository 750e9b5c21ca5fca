// Package rooms is the older acknowledging message server, at /ws/{room}. Its frames have a command. A client gives itself
// an id, by which it is written to. Room ids come from one counter over all processes. The mapping is in docs/dialects.md.
package rooms

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	table "github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Namespace is the part before the first colon of the channels that connections meet on.
const Namespace = "rooms"

// everybody is the channel of all rooms together.
const everybody = "all"

// Path is where connections are taken; the name of the room follows.
const Path = "/ws/"

// SocketConfig says how the protocol is spoken. The zero value is the original's way, closed to clients without a token.
type SocketConfig struct {
	// Open lets clients without a token in.
	Open bool
	// Addressed delivers a message that names its addressee to nobody else.
	Addressed bool
	// Apart makes each room a pool of its own.
	Apart bool
	// BindIDs lets clients take no ids but those of their tokens. Closed, it is always so.
	BindIDs bool
	// AckTimeout is how long an addressee's ack may take before the message counts as stored; the server's own when 0.
	AckTimeout time.Duration
	// Keep is how long a message waits for its addressee; the server's own when 0.
	Keep time.Duration
	// MaxMessage is the largest data of a command, in bytes; legacy.DefaultMaxMessage unless set.
	MaxMessage int64
}

// Socket is its WebSocket side. It may be used concurrently.
type Socket struct{ cfg SocketConfig }

var (
	_ dialect.Stateful   = (*Socket)(nil)
	_ dialect.Handshaker = (*Socket)(nil)
)

// NewSocket returns the dialect.
func NewSocket(cfg SocketConfig) *Socket {
	cfg.MaxMessage = cmp.Or(cfg.MaxMessage, legacy.DefaultMaxMessage)
	cfg.BindIDs = cfg.BindIDs || !cfg.Open
	return &Socket{cfg: cfg}
}

// Name returns "rooms".
func (*Socket) Name() string { return "rooms" }

// Close returns the code of the catalogue. The original had none of its own.
func (*Socket) Close(e *bus.Error) (int, string) { return dialect.CloseCode(e), e.Reason }

// Check lets handshakes on /ws/{room} through, and answers everything else as the original does.
func (*Socket) Check(w http.ResponseWriter, r *http.Request) bool {
	if legacy.AllowEveryOrigin(w, r) {
		return false
	}
	_, ok := room(r)
	switch {
	case r.Method != http.MethodGet || !ok:
		answer(w, http.StatusNotFound, "Not Found")
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		http.Error(w, "Bad Request", http.StatusBadRequest)
	default:
		return true
	}
	return false
}

// answer writes {"message": text}, as the original's errors are.
func answer(w http.ResponseWriter, code int, text string) {
	body, _ := json.Marshal(map[string]string{"message": text}) // a text always encodes
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client may be gone
}

// RefuseHandshake answers a refused handshake in the shape of the original's errors.
func (*Socket) RefuseHandshake(w http.ResponseWriter, e *bus.Error) {
	dialect.SetRetryAfter(w.Header(), e)
	code := table.Of(e.Reason).HTTP
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	answer(w, code, e.Reason+": "+e.Message)
}

// room returns the room of a handshake: the one segment after /ws/, which may be empty.
func room(r *http.Request) (string, bool) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), Path)
	if !ok || strings.Contains(rest, "/") {
		return "", false
	}
	name, err := url.PathUnescape(rest)
	return name, err == nil
}

// Hello takes a handshake on /ws/{room}. With a token the connection is the token's client; without one, where that is open,
// it is a client with a fresh id.
func (d *Socket) Hello(r *http.Request) (dialect.Hello, bool) {
	name, ok := room(r)
	if !ok {
		return dialect.Hello{}, false
	}
	pool := d.pool(name)
	h := dialect.Hello{
		Token: dialect.Token(r), Connect: true, Single: true, Limits: dialect.LimitsOf(d.cfg.MaxMessage), Follow: []dialect.Follow{{Address: pool, Presence: true}},
	}
	switch {
	case h.Token != "":
		if d.cfg.Open { // the original looks at no token, so sites have some of their own
			h.Guest = stranger(pool)
		}
	case d.cfg.Open:
		h.Identity = stranger(pool)
	default:
		h.Refusal = bus.ErrTokenMissing.With("no token; send one as Authorization: Bearer TOKEN or as ?token=TOKEN; "+
			"serve --legacy-open lets everybody connect, as the older system did", map[string]string{"setting": "legacy.open"})
	}
	return h, true
}

// pool is the channel on which the connections of a room meet.
func (d *Socket) pool(room string) bus.Address {
	name := everybody
	if d.cfg.Apart {
		name = dialect.NameWithin(room, bus.MaxNameLength-len(Namespace)-1)
	}
	a, _ := bus.NewAddress(bus.KindChannels, Namespace+":"+name) // a name after a name and a colon is one
	return a
}

// stranger is somebody without a token: a fresh id, the pool, and messages to any id.
func stranger(pool bus.Address) *bus.Identity {
	return &bus.Identity{
		Client: newID(), Expires: time.Now().AddDate(100, 0, 0), OutlivesLoss: true,
		Grants: []bus.Grant{
			{Pattern: pattern(pool.String()), Actions: bus.Subscribe | bus.Publish | bus.Presence},
			{Pattern: pattern(string(bus.KindClients) + "/*"), Actions: bus.Publish},
		},
	}
}

func pattern(text string) bus.Pattern {
	p, err := bus.ParsePattern(text)
	if err != nil {
		panic(fmt.Sprintf("rooms: %v", err)) // an address, or a constant
	}
	return p
}

// newID returns 32 hex digits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Converse begins the conversation of a connection.
func (d *Socket) Converse(c dialect.Capabilities, h dialect.Hello) dialect.Conversation {
	return &conversation{cfg: d.cfg, conn: c.Conn, follower: c.Follower, publisher: c.Publisher, pool: h.Follow[0].Address}
}
