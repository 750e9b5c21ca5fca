package revoked_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/testkit"
)

// call is an open call.
type call struct {
	who *bus.Identity

	mu  sync.Mutex
	end *bus.Error
}

func (c *call) Identity() *bus.Identity { return c.who }

func (c *call) End(why *bus.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		c.end = why
	}
}

// reason is why the call has ended; empty while it is open.
func (c *call) reason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		return ""
	}
	return c.end.Reason
}

// process is a follower with open calls, on a store of its own.
type process struct {
	tb       testing.TB
	store    *redis.Store
	follower *revoked.Follower

	mu    sync.Mutex
	calls []*call
}

// follows starts a process that reaches its server by a URL, and waits until it hears revocations.
func follows(tb testing.TB, url string) *process {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := redis.Open(redis.Config{URL: url}, log)
	testkit.Check(tb, err)
	p := &process{tb: tb, store: store, follower: revoked.New(store, revoked.Config{Log: log})}
	p.follower.Add(p.open)
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return p.follower.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		testkit.Check(tb, errors.Join(g.Wait(), store.Close()))
	})
	testkit.Eventually(tb, "the follower is sure", p.follower.Sure)
	return p
}

func (p *process) open(wanted func(*bus.Identity) bool) []revoked.Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []revoked.Call
	for _, c := range p.calls {
		if c.reason() == "" && wanted(c.who) {
			all = append(all, c)
		}
	}
	return all
}

// opens opens a call with a token that is issued now, by the store's clock.
func (p *process) opens(user string, outlivesLoss bool) *call {
	p.tb.Helper()
	c := &call{who: &bus.Identity{
		Client: "c-" + user, User: user, TokenID: "t-" + user, Issued: p.store.Now(), Expires: time.Now().Add(time.Hour), OutlivesLoss: outlivesLoss,
	}}
	p.mu.Lock()
	p.calls = append(p.calls, c)
	p.mu.Unlock()
	p.follower.Opened(p.tb.Context(), c, time.Now())
	if why := c.reason(); why != "" {
		p.tb.Fatalf("a new call ends with %s", why)
	}
	return c
}

func (p *process) revoke(user string) {
	p.tb.Helper()
	testkit.Check(p.tb, p.store.Revoke(p.tb.Context(), bus.Subject{Kind: bus.SubjectUser, ID: user}, time.Time{}, time.Hour))
}

// later waits until what is issued from now on is younger than what was issued before.
func (p *process) later() {
	p.tb.Helper()
	at := p.store.Now().Add(20 * time.Millisecond)
	testkit.Eventually(p.tb, "time passes", func() bool { return p.store.Now().After(at) })
}

// ends waits until a call has ended for a reason.
func ends(tb testing.TB, what string, c *call, reasons ...string) {
	tb.Helper()
	testkit.Eventually(tb, what+" ends", func() bool { return c.reason() != "" })
	for _, r := range reasons {
		if c.reason() == r {
			return
		}
	}
	tb.Errorf("%s ended with %s, want %v", what, c.reason(), reasons)
}

// stays says that a call is still open.
func stays(tb testing.TB, what string, c *call) {
	tb.Helper()
	if why := c.reason(); why != "" {
		tb.Errorf("%s ended with %s", what, why)
	}
}

func cli(tb testing.TB, server *redistest.Server, args ...string) string {
	tb.Helper()
	out, err := server.CLI(args...)
	testkit.Check(tb, err)
	return strings.TrimSpace(out)
}

const (
	tokenRevoked = "TOKEN_REVOKED"
	tokenExpired = "TOKEN_EXPIRED"
)

// A process that was cut off from before a revocation until after the loss of it ends what may be revoked. A process that heard
// everything ends nothing else, and writes the revocation again.
func TestFollower_whoMissedALossEndsWhatMayBeRevoked(t *testing.T) {
	server := redistest.Start(t)
	wire := redistest.NewWire(t, server)
	whole, cut := follows(t, server.URL()), follows(t, wire.URL())
	ada, bob := cut.opens("ada", false), cut.opens("bob", false)
	adaAllowed, bobAllowed := cut.opens("ada", true), cut.opens("bob", true)
	adaThere, bobThere := whole.opens("ada", false), whole.opens("bob", false)
	whole.later()
	wire.Cut()
	whole.revoke("ada")
	ends(t, "ada, who was heard of", adaThere, tokenRevoked)
	cli(t, server, "flushall")
	wire.Mend(server)
	ends(t, "ada, who was revoked meanwhile", ada, tokenExpired, tokenRevoked)
	ends(t, "bob, who may be", bob, tokenExpired)
	ends(t, "ada, whose token outlives a loss", adaAllowed, tokenRevoked)
	testkit.Eventually(t, "both have noticed the loss", func() bool {
		old := *bobThere.who
		return whole.follower.Refused(&old) != nil && cut.follower.Refused(&old) != nil
	})
	stays(t, "bob, of whom everything was heard", bobThere)
	stays(t, "bob, whose token outlives a loss", bobAllowed)
	times, err := cut.store.RevokedBefore(t.Context(), []bus.Subject{{Kind: bus.SubjectUser, ID: "ada"}})
	testkit.Check(t, err)
	if times[0].IsZero() {
		t.Error("the revocation was not written again")
	}
	stays(t, "carol, who comes later", cut.opens("carol", false))
}

// Nobody is left who heard of the revocation: neither memory nor position of another process tells of it.
func TestFollower_whoMissedALossAloneEndsWhatMayBeRevoked(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *redistest.Server){
		"emptied":       func(t *testing.T, s *redistest.Server) { cli(t, s, "flushall") },
		"emptied twice": func(t *testing.T, s *redistest.Server) { cli(t, s, "flushall"); cli(t, s, "flushall") },
		"no file":       func(_ *testing.T, s *redistest.Server) { s.Kill9(); s.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			wire := redistest.NewWire(t, server)
			revoker, err := redis.Open(redis.Config{URL: server.URL()}, slog.New(slog.DiscardHandler))
			testkit.Check(t, err)
			defer func() { testkit.Check(t, revoker.Close()) }()
			cut := follows(t, wire.URL())
			ada := cut.opens("ada", false)
			cut.later()
			wire.Cut()
			testkit.Check(t, revoker.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Time{}, time.Hour))
			lose(t, server)
			wire.Mend(server)
			ends(t, "ada", ada, tokenExpired)
		})
	}
}

// While a process comes back, the store is emptied: before it asks, between its questions, or after.
func TestFollower_aLossWhileItComesBack(t *testing.T) {
	server := redistest.Start(t)
	wire := redistest.NewWire(t, server)
	whole, cut := follows(t, server.URL()), follows(t, wire.URL())
	for round := range 5 {
		ada := cut.opens("ada", false)
		cut.later()
		wire.Cut()
		whole.revoke("ada")
		wire.Mend(server)
		timer := time.NewTimer(time.Duration(round) * 30 * time.Millisecond)
		<-timer.C
		cli(t, server, "flushall")
		ends(t, "ada", ada, tokenExpired, tokenRevoked)
		testkit.Eventually(t, "both are sure again", func() bool { return whole.follower.Sure() && cut.follower.Sure() })
		whole.later()
	}
}

// The log goes on anew for a process whose subscription is dead and does not show it yet. That is no proof of having heard
// everything.
func TestFollower_aDeadSubscriptionProvesNothing(t *testing.T) {
	server := redistest.Start(t)
	wire := redistest.NewWire(t, server)
	revoker, err := redis.Open(redis.Config{URL: server.URL()}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	defer func() { testkit.Check(t, revoker.Close()) }()
	deaf := follows(t, wire.URL())
	// The log has to have something, so that its end can be missed.
	testkit.Check(t, revoker.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "eve"}, time.Time{}, time.Hour))
	eve := &bus.Identity{Client: "c", User: "eve", TokenID: "t", Issued: time.Unix(1, 0), OutlivesLoss: true}
	testkit.Eventually(t, "it hears of eve", func() bool { return deaf.follower.Refused(eve) != nil })
	ada := deaf.opens("ada", false)
	deaf.later()
	wire.Deafen()
	testkit.Check(t, revoker.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Time{}, time.Hour))
	cli(t, server, "flushall")
	ends(t, "ada", ada, tokenExpired)
}

// A process whose subscription was never interrupted has heard everything until the store was emptied.
func TestFollower_whoHeardEverythingKeepsItsCalls(t *testing.T) {
	server := redistest.Start(t)
	whole := follows(t, server.URL())
	ada := whole.opens("ada", false)
	whole.later()
	for range 3 {
		whole.revoke("somebody") // so that the log is not empty
		cli(t, server, "flushall")
		testkit.Eventually(t, "the loss is noticed", func() bool {
			return whole.follower.Refused(ada.who) != nil && whole.follower.Sure()
		})
		stays(t, "ada", ada)
		whole.later()
	}
}

// A restart that loses nothing ends nothing.
func TestFollower_aRestartWithAFileEndsNothing(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	p := follows(t, server.URL())
	ada, bob := p.opens("ada", false), p.opens("bob", false)
	p.later()
	server.Kill9()
	testkit.Eventually(t, "it is cut off", func() bool { return !p.follower.Sure() })
	server.Restart()
	testkit.Eventually(t, "it is sure again", p.follower.Sure)
	stays(t, "ada", ada)
	p.revoke("ada")
	ends(t, "ada", ada, tokenRevoked)
	stays(t, "bob", bob)
}

// A replica takes over without the last revocation, which one process has heard. Whoever was back before it said so ends what may
// be revoked then.
func TestFollower_aFailoverThatLostTheEnd(t *testing.T) {
	master, replica := redistest.Start(t), redistest.Start(t)
	host, port, _ := strings.Cut(master.Addr(), ":")
	cli(t, replica, "replicaof", host, port)
	there, cut := redistest.NewWire(t, master), redistest.NewWire(t, master)
	heard, missed := follows(t, there.URL()), follows(t, cut.URL())
	heard.revoke("eve")
	testkit.Eventually(t, "the replica has the log", func() bool { return cli(t, replica, "hget", "tl:{system/revoked}:m", "o") == "1" })
	cli(t, replica, "replicaof", "127.0.0.1", "1")
	ada, bob, allowed := missed.opens("ada", false), missed.opens("bob", false), missed.opens("ada", true)
	heard.later()
	cut.Cut()
	testkit.Eventually(t, "it is cut off", func() bool { return !missed.follower.Sure() })
	adaThere := heard.opens("ada", false)
	heard.later()
	heard.revoke("ada")
	ends(t, "ada, who was heard of", adaThere, tokenRevoked)
	there.Cut()
	cli(t, replica, "replicaof", "no", "one")
	cut.Mend(replica)
	testkit.Eventually(t, "it is sure of the replica", missed.follower.Sure)
	stays(t, "ada, of whose revocation nobody there knows", ada)
	there.Mend(replica)
	ends(t, "ada, who was revoked meanwhile", ada, tokenExpired, tokenRevoked)
	ends(t, "bob, who may be", bob, tokenExpired)
	ends(t, "ada, whose token outlives a loss", allowed, tokenRevoked)
}

// A snapshot knows nothing of what was revoked after it.
func TestFollower_aSnapshotEndsWhatMayBeRevoked(t *testing.T) {
	server := redistest.Start(t)
	p := follows(t, server.URL())
	bob := p.opens("bob", false)
	p.revoke("eve")
	cli(t, server, "save")
	allowed := p.opens("ada", true)
	p.later()
	p.revoke("ada")
	ends(t, "ada, whose token outlives a loss", allowed, tokenRevoked)
	server.Kill9()
	server.Restart()
	ends(t, "bob", bob, tokenExpired)
	testkit.Eventually(t, "the revocation is written again", func() bool {
		times, err := p.store.RevokedBefore(t.Context(), []bus.Subject{{Kind: bus.SubjectUser, ID: "ada"}})
		return err == nil && !times[0].IsZero()
	})
}
