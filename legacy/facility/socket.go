// Package facility is the older system of facilities and audiences. A socket follows and publishes to a facility's broadcast,
// user, group and session audiences, which its query names. Frames are opaque bytes without an envelope. Back ends say whose
// sessions are. docs/dialects.md has the mapping.
package facility

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/origin"
	"github.com/trunkline/trunkline/legacy"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// SocketConfig is what a site of the older system has configured. The zero value of a field means its default.
type SocketConfig struct {
	// Path is what comes before the facility; DefaultPath unless set.
	Path string
	// Cookie is the name of the cookie that holds the session's key; DefaultCookie unless set.
	Cookie string
	// Default is what a socket asks for whose query names no audience, as a query; empty for nothing.
	Default string
	// Heartbeat is sent every few seconds, and swallowed from clients; empty for none.
	Heartbeat string
	// Expire is how long the last message is kept; 0 for not at all.
	Expire time.Duration
	// MaxMessage is the largest message of a client, in bytes; DefaultMaxMessage unless set.
	MaxMessage int64
	// Origins are of the pages that may connect besides those of the same host name; "*" for all.
	Origins []string
	// Open lets clients in that do not identify themselves, to broadcast audiences.
	Open bool
	// Commands runs command frames, called as a back end; nil when there are none.
	Commands legacyv1.CommandServiceClient
	// Refusal reads a *bus.Error out of what a call returned.
	Refusal func(error) error
}

// The defaults of SocketConfig.
const (
	DefaultPath       = "/ws/"
	DefaultCookie     = "sessionid"
	DefaultMaxMessage = legacy.DefaultMaxMessage
)

// Socket is its WebSocket side.
type Socket struct {
	cfg     SocketConfig
	allowed origin.List
}

var (
	_ dialect.Stateful   = (*Socket)(nil)
	_ dialect.Handshaker = (*Socket)(nil)
	_ dialect.Closer     = (*Socket)(nil)
)

// NewSocket returns the dialect.
func NewSocket(cfg SocketConfig) (*Socket, error) {
	cfg.Path, cfg.Cookie = cmp.Or(cfg.Path, DefaultPath), cmp.Or(cfg.Cookie, DefaultCookie)
	cfg.MaxMessage = cmp.Or(cfg.MaxMessage, DefaultMaxMessage)
	if !strings.HasPrefix(cfg.Path, "/") || !strings.HasSuffix(cfg.Path, "/") {
		return nil, fmt.Errorf("path: %q does not begin and end with a slash", cfg.Path)
	}
	if c := (&http.Cookie{Name: cfg.Cookie, Value: "x"}); c.Valid() != nil { //nolint:gosec // a cookie of a request has no flags
		return nil, fmt.Errorf("cookie: %q is not the name of a cookie", cfg.Cookie)
	}
	if err := checkDefault(cfg.Default); err != nil {
		return nil, err
	}
	if cfg.Refusal == nil {
		cfg.Refusal = func(err error) error { return err }
	}
	allowed, err := origin.NewList(cfg.Origins)
	if err != nil {
		return nil, fmt.Errorf("allowed_origins: %w", err)
	}
	return &Socket{cfg: cfg, allowed: allowed}, nil
}

// Name returns "facility".
func (*Socket) Name() string { return protocol }

// Hello takes every handshake that Check has let through.
func (f *Socket) Hello(r *http.Request) (dialect.Hello, bool) {
	w := wishesOf(r, f.cfg.Path, f.cfg.Default)
	h := dialect.Hello{
		Subprotocol: subprotocol(r), Connect: true, OnlyFollow: true, Limits: f.limits(),
		FollowAs: w.follow, Private: w, Place: w.place, Flaw: flawOf(r),
	}
	if !f.sameSite(r) {
		h.Refusal = bus.ErrOriginRefused.With("pages of this origin may not connect", map[string]string{"setting": "legacy.facility.allowed_origins"})
	}
	token, cookie := dialect.Token(r), ""
	if c, err := r.Cookie(f.cfg.Cookie); err == nil {
		cookie = c.Value
	}
	switch {
	case token != "":
		h.Token = token
		if f.cfg.Open { // the original looks at no token, so sites have some of their own
			h.Guest = anonymous()
		}
	case cookie != "":
		h.Token = bus.SessionCredential(cookie)
		if f.cfg.Open {
			h.Guest = anonymous()
		}
	case f.cfg.Open:
		h.Identity = anonymous()
	case h.Refusal == nil:
		h.Refusal = bus.ErrTokenMissing.With("no session; sign in first", map[string]string{"setting": "legacy.open"})
	}
	return h, true
}

// maxAudiences is how many audiences a socket may hear. A session has its groups, of which no token has as many.
const maxAudiences = 1000

// limits bounds a socket. A frame is a message, without anything around it.
func (f *Socket) limits() dialect.Limits {
	l := dialect.LimitsOf(f.cfg.MaxMessage)
	l.FrameSize, l.Subscriptions = f.cfg.MaxMessage, maxAudiences
	return l
}

// allTopics are the broadcast audiences of all facilities.
var allTopics = func() bus.Pattern {
	p, _ := bus.ParsePattern("broadcast/topics/*") // a constant that is one
	return p
}()

// anonymous is somebody of whom nothing is known: no two of them share anything but broadcast audiences.
func anonymous() *bus.Identity {
	return &bus.Identity{
		Grants:  []bus.Grant{{Pattern: allTopics, Actions: bus.Publish}},
		Expires: time.Now().AddDate(10, 0, 0), OutlivesLoss: true,
	}
}

// Close returns 1007 for what is no text, 1008 for what is not allowed, and 1009 for what is too large. Otherwise it returns what
// the older server closed with, after which its clients come back.
func (*Socket) Close(e *bus.Error) (int, string) {
	switch dialect.CloseCode(e) {
	case 1007:
		return 1007, ""
	case 4400, 4401, 4403, 4429:
		return 1008, e.Reason
	case 4413:
		return 1009, e.Reason
	}
	return 1001, "Websocket Closed"
}

// Closing returns the client's own code and text; 1000 for a frame without them.
func (*Socket) Closing(code int, text string) (int, string) {
	if code == 1005 {
		return 1000, ""
	}
	return code, text
}

// Converse begins a conversation.
func (f *Socket) Converse(c dialect.Capabilities, h dialect.Hello) dialect.Conversation {
	w, _ := h.Private.(wishes)
	return &talk{socket: f, conn: c.Conn, follower: c.Follower, publisher: c.Publisher, states: c.States, wishes: w}
}

var _ dialect.Conversation = (*talk)(nil)

// refusedHere says whether an audience is not the client's to publish to.
func refusedHere(err error) bool {
	var e *bus.Error
	return errors.As(err, &e) && (errors.Is(e, bus.ErrPublishDenied) || errors.Is(e, bus.ErrPermissionDenied))
}

// refusal returns the reason of an error.
func refusal(err error) *bus.Error {
	if e, ok := errors.AsType[*bus.Error](err); ok {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return bus.ErrDeadlineExceeded
	}
	return bus.ErrInternal
}
