package redis_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/redis/resp"
	"github.com/trunkline/trunkline/internal/testkit"
)

var eve = bus.Subject{Kind: bus.SubjectUser, ID: "eve"}

func revokedAt(t *testing.T, s *redis.Store, sub bus.Subject) time.Time {
	t.Helper()
	times, err := s.RevokedBefore(t.Context(), []bus.Subject{sub})
	testkit.Check(t, err)
	return times[0]
}

func complete(t *testing.T, s *redis.Store) time.Time {
	t.Helper()
	return revokedAt(t, s, bus.Subject{Kind: bus.SubjectLost})
}

// later waits until what is noted now has certainly another time.
func later(t *testing.T, s *redis.Store, than time.Time) {
	t.Helper()
	testkit.Eventually(t, "a moment is over", func() bool { return s.Now().Sub(than) > 20*time.Millisecond })
}

func TestRevoke_worksWhenRedisIsFull(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	before := complete(t, s)
	at := top(t, s, bus.Revoked)
	for _, setting := range [][]string{{"maxmemory-policy", "noeviction"}, {"maxmemory", "1"}} {
		if out, err := server.CLI("config", "set", setting[0], setting[1]); err != nil {
			t.Fatal(out, err)
		}
	}
	testkit.Check(t, s.Revoke(t.Context(), eve, time.Time{}, time.Hour))
	page, err := s.Since(t.Context(), bus.Revoked, bus.RevocationLog, at, 10)
	testkit.Check(t, err)
	if revokedAt(t, s, eve).IsZero() || len(page.Messages) != 1 || !complete(t, s).Equal(before) {
		t.Errorf("revoked at %v, %d in the log", revokedAt(t, s, eve), len(page.Messages))
	}
}

// What is asked of the strictest messages is asked of a revocation too, and that the server still has it when that is found out.
func TestRevoke_saysWhenItIsNotAsDurableAsMessagesAre(t *testing.T) {
	for name, c := range map[string]struct {
		cfg      redis.Config
		replica  bool
		emptied  bool // before it is known that the replica has it
		inEffect bool
	}{
		"no replica":         {cfg: redis.Config{Replicas: 1}, inEffect: true},
		"no file":            {cfg: redis.Config{Fsync: true}, inEffect: true},
		"lost in the middle": {cfg: redis.Config{Replicas: 1}, replica: true, emptied: true},
		"all is well":        {cfg: redis.Config{Replicas: 1}, replica: true, inEffect: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, "--repl-diskless-sync-delay", "0")
			if c.replica {
				host, port, _ := strings.Cut(server.Addr(), ":")
				replica := redistest.Start(t, "--replicaof", host+" "+port)
				testkit.Eventually(t, "the replica follows", func() bool {
					out, _ := replica.CLI("info", "replication")
					return strings.Contains(out, "master_link_status:up")
				})
			}
			proxy := redistest.NewProxy(t, server.Addr(), 0, func(v resp.Value, wire []byte) [][]byte {
				if _, err := strconv.Atoi(string(v.Text)); c.emptied && v.Kind == resp.Bulk && err == nil { // the time of the revocation
					if out, err := server.CLI("flushall"); err != nil {
						t.Error(out, err)
					}
				}
				return [][]byte{wire}
			})
			c.cfg.URL = proxy.URL()
			s, err := redis.Open(c.cfg, slog.New(slog.DiscardHandler))
			testkit.Check(t, err)
			defer func() { testkit.Check(t, s.Close()) }()
			said := s.Revoke(t.Context(), eve, time.Time{}, time.Hour)
			if reached := c.replica && !c.emptied; errors.Is(said, bus.ErrNotReached) == reached || reached != (said == nil) {
				t.Errorf("error is %v", said)
			}
			if !revokedAt(t, s, eve).IsZero() != c.inEffect {
				t.Errorf("it is in effect: %t", !c.inEffect)
			}
		})
	}
}

// An emptied server does not know what was revoked. It says since when it does, once, whoever had followed what is gone.
func TestRevocations_anEmptiedServerSaysSo(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	before := complete(t, s)
	testkit.Check(t, s.Revoke(t.Context(), eve, time.Time{}, time.Hour))
	seen := top(t, s, bus.Revoked)
	if out, err := server.CLI("flushall"); err != nil || !strings.HasPrefix(out, "OK") {
		t.Fatal(out, err)
	}
	after := complete(t, s)
	if !after.After(before) {
		t.Errorf("complete since %v, and before it was emptied since %v", after, before)
	}
	later(t, s, after)
	testkit.Check(t, s.RevocationsSeen(t.Context(), seen))
	if again := complete(t, s); !again.Equal(after) {
		t.Errorf("the loss was noted twice, at %v and %v", after, again)
	}
}

// A replica that takes over without the last revocation is found out by whoever had seen it, and by nobody who had not.
func TestRevocations_aFailoverThatLosesOneIsNoticed(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.Start(t)
	cli := func(server *redistest.Server, args ...string) string {
		t.Helper()
		out, err := server.CLI(args...)
		testkit.Check(t, err)
		return out
	}
	host, port, _ := strings.Cut(master.Addr(), ":")
	cli(replica, "replicaof", host, port)
	s, next := open(t, master.URL()), open(t, replica.URL())
	before := complete(t, s)
	testkit.Check(t, s.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Time{}, time.Hour))
	kept := top(t, s, bus.Revoked)
	testkit.Eventually(t, "the replica has it", func() bool {
		return strings.TrimSpace(cli(replica, "hget", "tl:{system/revoked}:m", "o")) == "1"
	})
	cli(replica, "replicaof", "127.0.0.1", "1")
	testkit.Check(t, s.Revoke(t.Context(), eve, time.Time{}, time.Hour))
	lost := top(t, s, bus.Revoked)
	cli(replica, "replicaof", "no", "one")
	if !revokedAt(t, next, eve).IsZero() {
		t.Fatal("nothing was lost")
	}
	testkit.Check(t, next.RevocationsSeen(t.Context(), kept))
	if at := complete(t, next); !at.Equal(before) {
		t.Errorf("a follower who misses nothing raised it to %v", at)
	}
	testkit.Check(t, next.RevocationsSeen(t.Context(), lost))
	after := complete(t, next)
	if !after.After(before) {
		t.Errorf("complete since %v", after)
	}
	later(t, next, after)
	testkit.Check(t, next.RevocationsSeen(t.Context(), lost)) // another follower
	if at := complete(t, next); !at.Equal(after) {
		t.Errorf("the loss was noted twice, at %v and %v", after, at)
	}
	if revokedAt(t, next, bus.Subject{Kind: bus.SubjectUser, ID: "ada"}).IsZero() {
		t.Error("what was kept is lost")
	}
}

// A snapshot knows nothing of what was revoked after it. Whoever begins to ask when all who had followed have ended is told so.
func TestRevocations_aSnapshotIsNotBelieved(t *testing.T) {
	for name, ask := range map[string]func(*testing.T, *redis.Store){
		"who asks": func(*testing.T, *redis.Store) {},
		"who revokes": func(t *testing.T, s *redis.Store) {
			testkit.Check(t, s.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "x"}, time.Time{}, time.Hour))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s := open(t, server.URL())
			before := complete(t, s)
			testkit.Check(t, s.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Time{}, time.Hour))
			if out, err := server.CLI("save"); err != nil || !strings.HasPrefix(out, "OK") {
				t.Fatal(out, err)
			}
			testkit.Check(t, s.Revoke(t.Context(), eve, time.Time{}, time.Hour))
			server.Kill9()
			server.Restart()
			for _, setting := range [][]string{{"maxmemory-policy", "noeviction"}, {"maxmemory", "1"}} { // it is full, too
				if out, err := server.CLI("config", "set", setting[0], setting[1]); err != nil {
					t.Fatal(out, err)
				}
			}
			next := open(t, server.URL())
			ask(t, next)
			after := complete(t, next)
			if !revokedAt(t, next, eve).IsZero() || revokedAt(t, next, bus.Subject{Kind: bus.SubjectUser, ID: "ada"}).IsZero() {
				t.Fatal("it is not what the snapshot has")
			}
			if !after.After(before) || after.After(next.Now()) {
				t.Errorf("complete since %v, before since %v, now it is %v", after, before, next.Now())
			}
			if again := complete(t, open(t, server.URL())); !again.Equal(after) {
				t.Errorf("the loss was noted twice, at %v and %v", after, again)
			}
		})
	}
}

// A Redis that keeps a file of everything is believed after a restart.
func TestRevocations_aRestartWithAFileIsNoLoss(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	before := complete(t, open(t, server.URL()))
	server.Kill9()
	server.Restart()
	if after := complete(t, open(t, server.URL())); !after.Equal(before) {
		t.Errorf("complete since %v, and before the restart since %v", after, before)
	}
}

// Operators read of a loss in the log: they revoke again what they had revoked.
func TestRevocations_aLossIsLogged(t *testing.T) {
	for why, lose := range map[string]func(*redistest.Server){
		"does not know any more": func(s *redistest.Server) {
			if out, err := s.CLI("flushall"); err != nil {
				t.Fatal(out, err)
			}
		},
		"a snapshot": func(s *redistest.Server) {
			if out, err := s.CLI("save"); err != nil {
				t.Fatal(out, err)
			}
			s.Kill9()
			s.Restart()
		},
	} {
		t.Run(why, func(t *testing.T) {
			server := redistest.Start(t)
			var said bytes.Buffer
			s, err := redis.Open(redis.Config{URL: server.URL()}, slog.New(slog.NewTextHandler(&said, nil)))
			testkit.Check(t, err)
			complete(t, s)
			testkit.Check(t, s.Revoke(t.Context(), eve, time.Time{}, time.Hour))
			lose(server)
			testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
			testkit.Check(t, s.Revoke(t.Context(), eve, time.Time{}, time.Hour))
			complete(t, s)
			testkit.Check(t, s.Close())
			if !strings.Contains(said.String(), "revocations may be lost") || !strings.Contains(said.String(), why) {
				t.Errorf("the log says %q", said.String())
			}
		})
	}
}
