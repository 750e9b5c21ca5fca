// Package quota bounds what one account can make a store keep: a user, a client without a user, or an API key.
package quota

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/trunkline/trunkline/internal/bus"
)

// Config says how much accounts may use.
type Config struct {
	// Client is for users, and for clients without a user; Key is for back ends. Stranger is for all strangers of one network
	// address: nobody knows how many they are.
	Client, Key, Stranger Allowance
	// Namespaces say how many new addresses each of them may get from everybody together.
	Namespaces bus.Namespaces
	// Census counts the addresses that are kept; nil for nobody.
	Census bus.Census
	// Accounts is how many accounts are remembered, and as many of strangers besides, and Addresses how many addresses. What was used longest ago is forgotten: an
	// account then has its whole allowance, and an address counts as new. Default has both.
	Accounts, Addresses int
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Log hears of accounts that have used up a quota, at most once in ten seconds; discarded by default.
	Log *slog.Logger
}

// Default returns the defaults. People and services that do what they are for use a small part of them.
func Default() Config {
	return Config{
		Client: Allowance{
			Messages: 60_000, Bytes: 64 << 20, IdempotencyKeys: 20_000, Subscriptions: 6_000,
			Addresses: 10_000, Tokens: 1_000, Revocations: 1_000, Channels: 1_000,
		},
		Key: Allowance{
			IdempotencyKeys: 2_000_000, Subscriptions: 600_000,
			Addresses: 2_000_000, Tokens: 500_000, Revocations: 200_000, Channels: 200_000,
		},
		Stranger: Allowance{
			Messages: 600_000, Bytes: 256 << 20, IdempotencyKeys: 200_000, Subscriptions: 60_000,
			Addresses: 100_000, Tokens: 10_000, Revocations: 1_000, Channels: 10_000,
		},
		Accounts: 100_000, Addresses: 1_000_000,
	}
}

// shards is how many locks the accounts are spread over.
const shards = 16

// Quotas knows what accounts have left. It may be used concurrently.
type Quotas struct {
	now     func() time.Time
	seed    maphash.Seed
	rates   map[bus.AccountKind]*[limits]rating
	shards  [shards]shard
	known   known
	spaces  spaces
	census  bus.Census // nil for none
	metrics *metrics
	log     *slog.Logger
	warn    *rate.Limiter
}

// shard is a part of the accounts.
type shard struct {
	mu       sync.Mutex
	accounts *table
	// Strangers have a table of their own: whoever has many addresses must not make it forget what others have used.
	strangers *table
}

// table is accounts and what they have left, of which it forgets the one that was used longest ago.
type table = simplelru.LRU[bus.Account, *[limits]bucket]

// of returns the table that has an account.
func (s *shard) of(a bus.Account) *table {
	if a.Kind == bus.AccountPeer {
		return s.strangers
	}
	return s.accounts
}

// New returns quotas that nobody has used yet.
func New(cfg Config, reg prometheus.Registerer) (*Quotas, error) {
	d := Default()
	if cfg.Accounts <= 0 {
		cfg.Accounts = d.Accounts
	}
	if cfg.Addresses <= 0 {
		cfg.Addresses = d.Addresses
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	q := &Quotas{
		now: cfg.Now, seed: maphash.MakeSeed(), census: cfg.Census, metrics: newMetrics(reg), log: cfg.Log, warn: rate.NewLimiter(rate.Every(10*time.Second), 1),
	}
	client := cfg.Client.rates("quotas.client.")
	q.rates = map[bus.AccountKind]*[limits]rating{
		bus.AccountKey: cfg.Key.rates("quotas.key."), bus.AccountUser: client, bus.AccountClient: client,
		bus.AccountPeer: cfg.Stranger.rates("quotas.stranger."),
	}
	for i := range q.shards {
		for _, t := range []**table{&q.shards[i].accounts, &q.shards[i].strangers} {
			made, err := simplelru.NewLRU[bus.Account, *[limits]bucket](max(cfg.Accounts/shards, 1), nil)
			if err != nil {
				return nil, fmt.Errorf("make the table of accounts: %w", err)
			}
			*t = made
		}
	}
	q.known.init(cfg.Addresses)
	q.spaces = newSpaces(cfg.Namespaces, q.metrics, q.now())
	return q, nil
}

// Charge takes a charge from an account. It takes all of it or nothing, and then returns bus.ErrQuotaExceeded.
func (q *Quotas) Charge(a bus.Account, c bus.Charge) error {
	costs := costsOf(c)
	now := q.now()
	m := met{}
	if !c.Address.IsZero() {
		if m = q.meet(&c, now); !m.known {
			costs[addresses] = 1
		}
	}
	rates := q.rates[a.Kind]
	if rates == nil {
		return bus.ErrInternal // no author has such an account
	}
	room := q.spaces.of(c.Address)
	if m.fresh() {
		if err := q.admits(a, room, c.Address); err != nil {
			return err
		}
	}
	if costs[addresses] > 0 {
		if wait, ok := room.take(now); !ok {
			return q.full(a, room, wait)
		}
	}
	short, wait := q.take(a, rates, &costs, now)
	if short >= 0 {
		if costs[addresses] > 0 {
			room.back()
		}
		return q.refuse(a, limit(short), rates[short], wait)
	}
	q.metrics.count(a.Kind, &costs)
	if !c.Address.IsZero() {
		room.used.add(&costs)
		q.remember(room, c.Address, m)
	}
	return nil
}

// met is what a process knows of an address that a call is about.
type met struct {
	hash  uint64
	known bool
	noted uint16 // the day on which it was noted last; 0 for never
	today uint16 // 0 where the call keeps nothing that is counted
}

// fresh says whether the address has to be counted, and was not yet.
func (m met) fresh() bool { return m.today > 0 && m.noted == 0 }

// meet looks an address up.
func (q *Quotas) meet(c *bus.Charge, now time.Time) met {
	m := met{hash: maphash.String(q.seed, c.Address.String())}
	m.noted, m.known = q.known.has(m.hash)
	if q.census != nil && c.Messages > 0 {
		m.today = day(now)
	}
	return m
}

// remember remembers an address of a call that was let in, and notes it once a day where something is kept of it.
func (q *Quotas) remember(room *space, a bus.Address, m met) {
	if m.today != m.noted && m.today > 0 && room.note(a, m.fresh()) {
		q.known.add(m.hash, m.today)
	} else if !m.known {
		q.known.add(m.hash, 0)
	}
}

// take takes what everything costs. When something is left that does not suffice it takes nothing, and returns which limit that is and
// how long to wait; otherwise -1.
func (q *Quotas) take(a bus.Account, rates *[limits]rating, costs *[limits]float64, now time.Time) (short int, wait time.Duration) {
	s := &q.shards[maphash.String(q.seed, a.Name)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	buckets, ok := s.of(a).Get(a)
	if !ok {
		buckets = new([limits]bucket)
		for i := range buckets {
			buckets[i] = bucket{left: rates[i].amount, at: now}
		}
		a.Name = strings.Clone(a.Name) // it may be a part of a whole frame
		s.of(a).Add(a, buckets)
	}
	for i, cost := range costs {
		if cost == 0 || rates[i].amount == 0 {
			continue
		}
		buckets[i].fill(rates[i], now)
		// What is more than the whole allowance needs a full one.
		if missing := min(cost, rates[i].amount) - buckets[i].left; missing > 0 {
			return i, time.Duration(missing / rates[i].amount * float64(rates[i].per))
		}
	}
	for i, cost := range costs {
		if rates[i].amount > 0 {
			buckets[i].left -= cost
		}
	}
	return -1, 0
}

// refuse returns the refusal, which names the setting and says when to come back.
func (q *Quotas) refuse(a bus.Account, l limit, r rating, wait time.Duration) error {
	q.metrics.refused.WithLabelValues(a.Kind.String(), l.String()).Inc()
	amount := strconv.FormatFloat(r.amount, 'f', -1, 64)
	if q.warn.Allow() {
		q.log.Warn("an account has used up a quota", slog.String("kind", a.Kind.String()), slog.String("account", a.Name),
			slog.String("setting", r.setting), slog.String("limit", amount))
	}
	text := fmt.Sprintf("this %s may use %s %s in %s, and has; come back after the delay, or raise %s", a.Kind, amount, l.words(), r.period(), r.setting)
	facts := map[string]string{"setting": r.setting, "limit": amount, "account": a.Kind.String()}
	return bus.ErrQuotaExceeded.With(text, facts).Retry(max(wait.Truncate(time.Millisecond)+time.Millisecond, leastWait))
}

// leastWait is the shortest time to come back after: a refused caller must not ask all the time.
const leastWait = 100 * time.Millisecond

// full returns the refusal of a new address in a namespace that has got enough of them.
func (q *Quotas) full(a bus.Account, s *space, wait time.Duration) error {
	q.metrics.refused.WithLabelValues("namespace", addresses.String()).Inc()
	amount := strconv.FormatFloat(s.rating.amount, 'f', -1, 64)
	if q.warn.Allow() {
		q.log.Warn("a namespace has used up its new addresses", slog.String("setting", s.rating.setting), slog.String("limit", amount),
			slog.String("kind", a.Kind.String()), slog.String("account", a.Name))
	}
	text := fmt.Sprintf("this namespace may get %s new addresses in an hour, and has; come back after the delay, or raise %s", amount, s.rating.setting)
	facts := map[string]string{"setting": s.rating.setting, "limit": amount, "account": "namespace"}
	return bus.ErrQuotaExceeded.With(text, facts).Retry(max(wait.Truncate(time.Millisecond)+time.Millisecond, leastWait))
}

// crowd returns the refusal of one more address in a namespace that keeps as many as it may.
func (q *Quotas) crowd(a bus.Account, s *space) error {
	q.metrics.refused.WithLabelValues("namespace", "addresses_kept").Inc()
	amount := strconv.Itoa(s.most)
	if q.warn.Allow() {
		q.log.Warn("a namespace keeps as many addresses as it may", slog.String("setting", s.setting), slog.String("limit", amount),
			slog.String("kind", a.Kind.String()), slog.String("account", a.Name))
	}
	text := fmt.Sprintf("this namespace may keep %s addresses, and does; use one of those, come back when some have ended, or raise %s", amount, s.setting)
	return bus.ErrQuotaExceeded.With(text, map[string]string{"setting": s.setting, "limit": amount, "account": "namespace"}).Retry(fullWait)
}
