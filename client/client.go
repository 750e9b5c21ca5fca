// Package client is a WebSocket client of Trunkline. It connects, subscribes and publishes, reconnects with full jitter, and
// resumes from positions. Its caller sees each message of a durable channel once and in order, or is told a gap.
package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// Config says where to connect and what to do with what arrives.
type Config struct {
	// URL is where the server is: http(s):// or ws(s)://; /v1/ws is added when it has no path. Required.
	URL string
	// Token returns the token. It is asked before each connection for which there is no resume ticket of the one before,
	// and before the token ends. Required.
	Token func(ctx context.Context) (string, error)
	// Name tells operators what this client is; at most 64 bytes.
	Name string
	// JSON speaks trunkline.v1.json instead of trunkline.v1.proto.
	JSON bool
	// TLS is for https and wss; nil for the defaults.
	TLS *tls.Config
	// Timeout is for the handshake and for commands whose context has no deadline; 10 s by default.
	Timeout time.Duration
	// MinBackoff and MaxBackoff bound the wait before a reconnect, of which full jitter takes a part;
	// 200 ms and 15 s by default.
	MinBackoff, MaxBackoff time.Duration
	// MaxFrame is the largest frame taken, in bytes; 16 MiB by default.
	MaxFrame int64

	// ManualAck leaves it to the caller to Ack messages that ask for an ack; otherwise a message is acknowledged when
	// OnMessage has returned.
	ManualAck bool
	// OnMessage gets every message, once. All On functions are called one at a time, in order, and must not wait
	// for this client; nil ones are not called.
	OnMessage func(m *publishv1.Message)
	// OnGap is told that messages of an address are missing; what comes next stands after them.
	OnGap func(g *publishv1.Gap)
	// OnDismissed is told that another device of the user has acknowledged messages.
	OnDismissed func(d *publishv1.Dismissed)
	// OnPresence is told who comes to an address and who leaves it, for a Subscription with Presence.
	OnPresence func(e *publishv1.PresenceEvent)
	// OnConnected is told each time the session opens.
	OnConnected func(c *edgev1.Connected)
	// OnDisconnected is told each time it ends; Run connects again unless it returns the same error.
	OnDisconnected func(err error)
	// OnUnsubscribed is told that the server ended a subscription; err is nil when a new token does not grant it,
	// or the channel was deleted.
	OnUnsubscribed func(address string, err error)
}

// Client is one connection that comes back. Methods may be called concurrently, also before Run; commands
// wait until the session is open.
type Client struct {
	cfg    Config
	url    string
	coding coding

	mu         sync.Mutex
	subs       map[string]*subscription
	session    *session      // nil while disconnected
	opened     chan struct{} // closed when session is set; replaced when it is unset
	ended      error         // why Run returned
	ticket     string        // of the last session, empty when it gave none
	ticketEnds time.Time
	seen       *recent                        // of messages without a position
	own        map[string]*publishv1.Position // up to where the own addresses were read, of which something is kept
	kept       map[string]*kept               // of those with one, by address
	acks       *acks
}

// New returns a client that is not connected; Run connects it.
func New(cfg Config) (*Client, error) {
	if cfg.Token == nil {
		return nil, errors.New("client: Token is nil")
	}
	address, err := endpoint(cfg.URL)
	if err != nil {
		return nil, err
	}
	cfg.Timeout, cfg.MaxFrame = cmp.Or(cfg.Timeout, 10*time.Second), cmp.Or(cfg.MaxFrame, 16<<20)
	cfg.MinBackoff, cfg.MaxBackoff = cmp.Or(cfg.MinBackoff, 200*time.Millisecond), cmp.Or(cfg.MaxBackoff, 15*time.Second)
	c := &Client{
		cfg: cfg, url: address, coding: binaryCoding{},
		subs: map[string]*subscription{}, opened: make(chan struct{}), seen: newRecent(), kept: map[string]*kept{}, acks: newAcks(),
	}
	if cfg.JSON {
		c.coding = jsonCoding{}
	}
	return c, nil
}

func endpoint(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("client: %q is not a URL such as http://localhost:8080", shown(s))
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("client: %q begins with neither http nor ws", shown(s))
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/ws"
	}
	return u.String(), nil
}

// shown is a URL without what may be a secret: a user, a password and a query.
func shown(s string) string {
	if before, _, query := strings.Cut(s, "?"); query {
		s = before + "?…"
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = "…" + s[i:]
	}
	return s
}

// Run connects, and connects again whenever the connection is lost, until ctx ends; then it returns nil. It
// returns an error when the server refuses for good, such as an *Error for a token that is not valid.
func (c *Client) Run(ctx context.Context) error {
	attempt := 0
	for {
		opened, err := c.once(ctx)
		if ctx.Err() != nil {
			c.end(context.Cause(ctx))
			return nil //nolint:nilerr // the caller has ended it
		}
		if c.cfg.OnDisconnected != nil {
			c.cfg.OnDisconnected(err)
		}
		if permanent(err) {
			c.end(err)
			return err
		}
		if opened {
			attempt = 0
		}
		if !wait(ctx, c.backoff(attempt, err)) {
			c.end(context.Cause(ctx))
			return nil
		}
		attempt++
	}
}

// end lets those who wait for a session go.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = err
		close(c.opened)
	}
}

// backoff is a random part of a bound that doubles; what the server asked for comes on top.
func (c *Client) backoff(attempt int, err error) time.Duration {
	bound := c.cfg.MaxBackoff
	if attempt < 16 {
		bound = min(bound, c.cfg.MinBackoff<<attempt)
	}
	return retryAfter(err) + rand.N(bound+1) //nolint:gosec // jitter is no secret
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// await returns the open session, waiting for it.
func (c *Client) await(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		s, opened, ended := c.session, c.opened, c.ended
		c.mu.Unlock()
		if ended != nil {
			return nil, fmt.Errorf("%w: %w", ErrClosed, ended)
		}
		if s != nil {
			return s, nil
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// userAgent is sent with the handshake.
var userAgent = http.Header{"User-Agent": {"trunkline-go"}}
