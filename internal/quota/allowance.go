package quota

import (
	"math"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Allowance is how much one account may use. Each amount may be used at once, and comes back evenly over its period. Zero is no limit.
type Allowance struct {
	// Messages are those that are sent in a minute.
	Messages int
	// Bytes of messages and states are those that are kept in a minute.
	Bytes int
	// IdempotencyKeys are those that are remembered in a minute.
	IdempotencyKeys int
	// Subscriptions are those that begin in a minute.
	Subscriptions int
	// Addresses are new ones in an hour: that this process has not met lately.
	Addresses int
	// Tokens are the refresh tokens in an hour, and tokens of older systems. Exchanges are free.
	Tokens int
	// Revocations are those in an hour.
	Revocations int
	// Channels are those that are created in an hour. Each KiB of labels counts as one more.
	Channels int
}

// limit is one of the amounts of an Allowance.
type limit int

// The limits, in the order in which they are refused.
const (
	messages limit = iota
	bytes
	keys
	subscriptions
	addresses
	tokens
	revocations
	channels
	limits
)

// String names the limit in metrics, and in settings with its period.
func (l limit) String() string {
	return [limits]string{
		"messages", "bytes", "idempotency_keys", "subscriptions", "addresses", "tokens", "revocations", "channels",
	}[l]
}

// words names what is limited in a sentence.
func (l limit) words() string {
	return [limits]string{
		"messages", "bytes of messages and states", "idempotency keys", "subscriptions", "new addresses", "tokens", "revocations", "channels",
	}[l]
}

// rating is how fast one amount comes back.
type rating struct {
	amount  float64
	per     time.Duration
	setting string
}

func (r rating) period() string {
	if r.per == time.Hour {
		return "an hour"
	}
	return "a minute"
}

// rates returns the amounts with their periods.
func (a Allowance) rates(prefix string) *[limits]rating {
	var out [limits]rating
	for l, amount := range [limits]int{
		a.Messages, a.Bytes, a.IdempotencyKeys, a.Subscriptions, a.Addresses, a.Tokens, a.Revocations, a.Channels,
	} {
		r := rating{amount: float64(amount), per: time.Minute, setting: prefix + limit(l).String() + "_per_minute"}
		if limit(l) >= addresses {
			r.per, r.setting = time.Hour, prefix+limit(l).String()+"_per_hour"
		}
		out[l] = r
	}
	return &out
}

// costsOf returns what a charge costs, but for an address that is new.
func costsOf(c bus.Charge) [limits]float64 {
	return [limits]float64{
		messages: float64(c.Messages), bytes: float64(c.Bytes), keys: float64(c.IdempotencyKeys), subscriptions: float64(c.Subscriptions),
		tokens: float64(c.Tokens), revocations: float64(c.Revocations), channels: float64(c.Channels),
	}
}

// bucket is what is left of one allowance.
type bucket struct {
	left float64
	at   time.Time
}

// fill adds what has come since.
func (b *bucket) fill(r rating, now time.Time) {
	if since := now.Sub(b.at); since > 0 {
		b.left = math.Min(r.amount, b.left+r.amount*float64(since)/float64(r.per))
	}
	b.at = now
}
