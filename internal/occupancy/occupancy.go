// Package occupancy counts what stays open, such as streams and connections: how many one token, user, API key or IP address
// has. It is the one place that does so, whichever door they came by.
package occupancy

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Limit is how many one holder may have open. Zero is no limit.
type Limit struct {
	// Most is the number.
	Most int
	// Setting is the key of the setting that says so; a refusal names it.
	Setting string
}

// Limits has a limit for each kind of holder.
type Limits struct {
	Token, User, Key, IP Limit
}

// Opener is a caller that has something open. What is empty does not count.
type Opener struct {
	// Token is what tells one token from another.
	Token string
	// User is whose token it is, and Client whose it is when it names no user.
	User, Client string
	// Key is the id of an API key.
	Key string
	// IP is the address that the call came from.
	IP string
}

// Of returns the holder that an identity is.
func Of(id *bus.Identity) Opener {
	h := Opener{Token: id.TokenID, User: id.User}
	if h.Token == "" { // of an issuer that numbers no tokens
		h.Token = id.Client + "\n" + strconv.FormatInt(id.Expires.UnixNano(), 36)
	}
	if id.User == "" {
		h.Client = id.Client
	}
	return h
}

// Counter counts. It may be used concurrently.
type Counter struct {
	limits Limits

	mu   sync.Mutex
	open map[seat]*int // pointers: to write a number again would write the name again, which may be a part of a whole frame
}

// seat is a kind of holder and its name.
type seat struct {
	kind kind
	name string
}

type kind uint8

const (
	ofToken kind = iota
	ofUser
	ofClient
	ofKey
	ofIP
)

// sentences are what a holder is told that has as many open as it may have.
var sentences = map[kind]string{ //nolint:gosec // there is no credential in it
	ofToken:  "too many are open with this token",
	ofUser:   "too many are open for this user",
	ofClient: "too many are open for this client",
	ofKey:    "too many are open with this API key",
	ofIP:     "too many are open from this IP address",
}

// comeBack is when a holder may ask again: by then some of its others may have ended.
const comeBack = 5 * time.Second

// New returns a counter at zero.
func New(limits Limits) *Counter { return &Counter{limits: limits, open: make(map[seat]*int)} }

// seats are those that a holder takes, and their limits.
func (c *Counter) seats(h Opener) [5]struct {
	seat
	limit Limit
} {
	return [5]struct {
		seat
		limit Limit
	}{
		{seat{ofToken, h.Token}, c.limits.Token},
		{seat{ofUser, h.User}, c.limits.User},
		{seat{ofClient, h.Client}, c.limits.User},
		{seat{ofKey, h.Key}, c.limits.Key},
		{seat{ofIP, h.IP}, c.limits.IP},
	}
}

// Enter counts one more for a holder until Leave. It returns ErrConnectionLimit when that is more than a limit allows, and counts
// nothing then. A nil counter counts nothing and refuses nobody.
func (c *Counter) Enter(h Opener) error {
	if c == nil {
		return nil
	}
	seats := c.seats(h)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range seats {
		if s.name != "" && s.limit.Most > 0 && c.count(s.seat) >= s.limit.Most {
			return bus.ErrConnectionLimit.With(sentences[s.kind],
				map[string]string{"rule": s.limit.Setting, "limit": strconv.Itoa(s.limit.Most)}).Retry(comeBack)
		}
	}
	for _, s := range seats {
		if s.name != "" && s.limit.Most > 0 { // what has no limit is not worth remembering
			n := c.open[s.seat]
			if n == nil {
				n = new(int)
				c.open[seat{s.kind, strings.Clone(s.name)}] = n
			}
			*n++
		}
	}
	return nil
}

// count is how many of a seat are taken. The caller holds the lock.
func (c *Counter) count(s seat) int {
	if n := c.open[s]; n != nil {
		return *n
	}
	return 0
}

// Leave undoes one Enter that succeeded, of the same holder.
func (c *Counter) Leave(h Opener) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seats(h) {
		if n := c.open[s.seat]; n != nil && *n > 1 {
			*n--
		} else {
			delete(c.open, s.seat)
		}
	}
}

// Holders is how many names are remembered: none when nothing is open.
func (c *Counter) Holders() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}
