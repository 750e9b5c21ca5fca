package redis_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

const aclFile = "../../deploy/redis.acl"

// granted are the rules of the user of deploy/redis.acl.
func granted(tb testing.TB) []string {
	tb.Helper()
	b, err := os.ReadFile(aclFile)
	testkit.Check(tb, err)
	_, line, ok := strings.Cut(string(b), "user trunkline ")
	if !ok {
		tb.Fatal(aclFile + " has no user trunkline")
	}
	line, _, _ = strings.Cut(line, "\n")
	return strings.Fields(line)
}

// asUser puts the user of the ACL file into a URL.
func asUser(url string) string { return strings.Replace(url, "://", "://trunkline:change-me@", 1) }

// startACL starts a server with the ACL file, and an administrator besides.
func startACL(t *testing.T, args ...string) (server *redistest.Server, admin func(args ...string) string) {
	t.Helper()
	b, err := os.ReadFile(aclFile)
	testkit.Check(t, err)
	path := filepath.Join(t.TempDir(), "users.acl")
	testkit.Check(t, os.WriteFile(path, append(b, "user admin on nopass ~* &* +@all\n"...), 0o600))
	server = redistest.Start(t, append([]string{"--aclfile", path}, args...)...)
	return server, func(args ...string) string {
		t.Helper()
		out, err := server.CLI(append([]string{"--user", "admin", "--pass", "any", "--no-auth-warning"}, args...)...)
		if err != nil {
			t.Fatal(out, err)
		}
		return out
	}
}

var called = regexp.MustCompile(`cmdstat_([a-z|]+):calls=[1-9]`)

// The user of deploy/redis.acl may do what a store does and nothing else. The contract holds, nothing was refused, and there is
// no command that was not used.
func TestACL_isEnoughAndTheLeast(t *testing.T) {
	used := map[string]bool{"ltrim": true, "xtrim": true} // bound what the contract does not fill
	after := func(t *testing.T, cli func(args ...string) string) {
		t.Helper()
		if refused := strings.TrimSpace(cli("acl", "log")); refused != "" {
			t.Errorf("refused:\n%s", refused)
		}
		for _, m := range called.FindAllStringSubmatch(cli("info", "commandstats"), -1) {
			used[m[1]] = true
		}
	}
	t.Run("single", func(t *testing.T) {
		server, admin := startACL(t)
		bustest.Run(t, func(tb testing.TB) bus.Store { return open(tb, asUser(server.URL())) })
		s := openWith(t, asUser(server.URL()), 1)
		_ = s.Ping(t.Context()) // asks for replicas, which are not there
		_, _ = s.Publish(t.Context(), bustest.Admit(replicated(address(t, "channels/strict"), "k", 1)))
		after(t, admin)
	})
	t.Run("sentinel", func(t *testing.T) {
		sentinel := redistest.StartSentinel(t)
		for _, server := range []*redistest.Server{sentinel.Master, sentinel.Replica} {
			if out, err := server.CLI(append([]string{"acl", "setuser", "trunkline"}, granted(t)...)...); err != nil || !strings.HasPrefix(out, "OK") {
				t.Fatal(out, err)
			}
		}
		s := open(t, asUser(sentinel.URL()))
		a := address(t, "channels/sentinel")
		r, _ := follow(t, s, a)
		arrives(t, s, r, a)
		after(t, func(args ...string) string {
			out, err := sentinel.Master.CLI(args...)
			testkit.Check(t, err)
			return out
		})
	})
	t.Run("cluster", func(t *testing.T) {
		c := redistest.StartCluster(t)
		for _, server := range c.Servers {
			for _, args := range [][]string{append([]string{"acl", "setuser", "trunkline"}, granted(t)...), {"config", "resetstat"}} {
				if out, err := server.CLI(args...); err != nil || !strings.HasPrefix(out, "OK") {
					t.Fatal(out, err)
				}
			}
		}
		bustest.Run(t, func(tb testing.TB) bus.Store { return open(tb, asUser(c.URL())) })
		for _, server := range c.Servers {
			after(t, func(args ...string) string {
				out, err := server.CLI(args...)
				testkit.Check(t, err)
				return out
			})
		}
	})
	if t.Failed() {
		return
	}
	for _, rule := range granted(t) {
		if command, ok := strings.CutPrefix(rule, "+"); ok && !used[command] {
			t.Errorf("%s is granted and not used", command)
		}
	}
	for _, rule := range []string{"~*", "allkeys", "&*", "allchannels", "nopass"} {
		if slices.Contains(granted(t), rule) {
			t.Errorf("%s is granted", rule)
		}
	}
}

// A user that may not ask how the server syncs cannot be promised FSYNCED, although the server would give it. Readiness and
// publishes say so, and nothing is published, until the user is allowed to ask.
func TestACL_withoutConfigFsyncedIsNotClaimed(t *testing.T) {
	server, admin := startACL(t, "--appendonly", "yes", "--appendfsync", "always")
	cannot := func(err error) bool {
		var e *bus.Error
		return errors.As(err, &e) && e.Reason == "DURABILITY_UNAVAILABLE" && e.Metadata["setting"] == "acl" &&
			strings.Contains(e.Message, "FSYNCED cannot be proved") && strings.Contains(e.Message, "+config|get")
	}
	store := func(fsync bool) *redis.Store {
		s, err := redis.Open(redis.Config{URL: asUser(server.URL()), Fsync: fsync}, slog.New(slog.DiscardHandler))
		testkit.Check(t, err)
		t.Cleanup(func() { testkit.Check(t, s.Close()) })
		return s
	}
	s, a := store(true), address(t, "channels/fsynced")
	p := publication(a)
	p.Durability = bus.Fsynced
	if err := s.Ping(t.Context()); !cannot(err) {
		t.Errorf("ping: %v", err)
	}
	if r, err := s.Publish(t.Context(), bustest.Admit(p)); !cannot(err) || r.Durability == bus.Fsynced {
		t.Errorf("publish: %+v, %v", r, err)
	}
	accepted := publication(a)
	if r, err := s.Publish(t.Context(), bustest.Admit(accepted)); err != nil || r.Position.Offset != 1 || r.Durability != bus.Accepted {
		t.Errorf("an accepted one is the first: %+v, %v", r, err)
	}
	if err := store(false).Ping(t.Context()); err != nil {
		t.Errorf("where nobody asks for it: %v", err)
	}
	admin("acl", "setuser", "trunkline", "+config|get")
	s = store(true)
	testkit.Check(t, s.Ping(t.Context()))
	if r, err := s.Publish(t.Context(), bustest.Admit(p)); err != nil || r.Durability != bus.Fsynced {
		t.Errorf("with CONFIG GET: %+v, %v", r, err)
	}
	// The right is taken away after it was asked: what is appended now is not known to be on the disk.
	admin("acl", "setuser", "trunkline", "-config|get")
	p = publication(a)
	p.Durability = bus.Fsynced
	if r, err := s.Publish(t.Context(), bustest.Admit(p)); !errors.Is(err, bus.ErrNotReached) || r.Durability == bus.Fsynced {
		t.Errorf("without it again: %+v, %v", r, err)
	}
}
