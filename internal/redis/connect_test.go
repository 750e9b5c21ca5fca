package redis_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// opens opens a store, and returns what it logs.
func opens(tb testing.TB, c redis.Config) (*redis.Store, *said) {
	tb.Helper()
	log := new(said)
	s, err := redis.Open(c, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	testkit.Check(tb, err)
	tb.Cleanup(func() { testkit.Check(tb, s.Close()) })
	return s, log
}

// works publishes and hears what was published.
func works(t *testing.T, s *redis.Store, name string) {
	t.Helper()
	testkit.Eventually(t, "the store is ready", func() bool { return s.Ping(t.Context()) == nil })
	a := address(t, "channels/"+name)
	r, _ := follow(t, s, a)
	arrives(t, s, r, a)
	page, err := s.Since(t.Context(), a, keep, bus.Position{}, 10)
	if err != nil || len(page.Messages) == 0 {
		t.Errorf("history: %+v, %v", page, err)
	}
}

// A Redis behind a Unix socket is one like any other, with a password and a database.
func TestStore_overAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.sock")
	server := redistest.Start(t, "--unixsocket", path)
	for _, url := range []string{"unix://" + path, "redis+unix://" + path + "?db=3"} {
		works(t, open(t, url), "socket")
	}
	set(t, server, "requirepass", "pa@ss")
	works(t, open(t, "unix://:pa%40ss@"+path+"?db=1"), "socket")
	if err := open(t, "unix://"+path).Ping(t.Context()); !errors.Is(err, bus.ErrStoreUnavailable) {
		t.Errorf("without the password: %v", err)
	}
}

// Two deployments that differ by the number of the database hear nothing of each other, live messages neither.
func TestStore_isAloneInItsDatabase(t *testing.T) {
	server := redistest.Start(t)
	at := func(db string) *redis.Store { return open(t, "redis://"+server.Addr()+"/"+db) }
	stores := map[string]*redis.Store{"0": at("0"), "1": at("1"), "11": at("11")}
	a, mine := address(t, "channels/live:x"), map[string]*receiver{}
	for db, s := range stores {
		mine[db], _ = follow(t, s, a)
	}
	for db, s := range stores {
		for _, p := range []bus.Publication{{Message: publication(a).Message}, publication(a)} {
			_, err := s.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
			m := <-mine[db].messages
			if m.ID != p.Message.ID {
				t.Errorf("database %s hears a message of another", db)
			}
		}
	}
	// Whatever came before the last message has come.
	for db, s := range stores {
		last := publication(a)
		_, err := s.Publish(t.Context(), bustest.Admit(last))
		testkit.Check(t, err)
		if m := <-mine[db].messages; m.ID != last.Message.ID {
			t.Errorf("database %s hears a message of another before its last", db)
		}
	}
}

// watcher is what a user of sentinels may do.
var watcher = strings.Fields("resetchannels &+switch-master &+replica-reconf-done -@all +sentinel|get-master-addr-by-name +sentinel|sentinels +subscribe +unsubscribe +ping")

// Sentinels have their own users and passwords, which may be equal to those of the servers.
func TestStore_signsInAtSentinels(t *testing.T) {
	for _, c := range []struct{ name, master, user, password string }{
		{name: "other passwords", master: "rpw", password: "spw"},
		{name: "equal passwords", master: "same", password: "same"},
		{name: "a password at the sentinels alone", password: "spw"},
		{name: "a user", master: "rpw", user: "watcher", password: "spw"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sentinel := redistest.StartSentinel(t)
			url := sentinel.URL()
			if c.master != "" {
				for _, server := range []*redistest.Server{sentinel.Master, sentinel.Replica} {
					set(t, server, "masterauth", c.master)
				}
				for _, server := range sentinel.Sentinels {
					cli(t, server, "sentinel", "set", "main", "auth-pass", c.master)
				}
				url = strings.Replace(url, "://", "://:"+c.master+"@", 1)
				for _, server := range []*redistest.Server{sentinel.Master, sentinel.Replica} {
					set(t, server, "requirepass", c.master)
				}
			}
			for _, server := range sentinel.Sentinels {
				if c.user != "" { // with what docs/operations.md names, and no more
					cli(t, server, append([]string{"acl", "setuser", c.user, "on", ">" + c.password}, watcher...)...)
				}
				cli(t, server, "sentinel", "config", "set", "sentinel-pass", "other")
				cli(t, server, "acl", "setuser", "default", "resetpass", ">"+defaultPassword(c.user, c.password))
			}
			s, log := opens(t, redis.Config{URL: url, SentinelUser: c.user, SentinelPassword: c.password})
			works(t, s, "sentinel")
			without, quiet := opens(t, redis.Config{URL: url})
			_, err := without.Publish(t.Context(), bustest.Admit(publication(address(t, "channels/a"))))
			var e *bus.Error
			if !errors.As(err, &e) || e.Unwrap() == nil || !strings.Contains(e.Unwrap().Error(), "NOAUTH") {
				t.Errorf("without the password: %v, because of %v", err, errors.Unwrap(err))
			}
			for _, server := range sentinel.Sentinels {
				if c.user == "" {
					continue
				}
				if out, err := server.CLI("-a", "other", "--no-auth-warning", "acl", "log"); err != nil || strings.TrimSpace(out) != "" {
					t.Errorf("refused: %s %v", out, err)
				}
			}
			for _, l := range []*said{log, quiet} {
				if l.count("spw")+l.count("rpw") > 0 {
					t.Error("a password is in the log")
				}
			}
		})
	}
}

// defaultPassword is the password of the default user of sentinels. It is another one where a named user signs in.
func defaultPassword(user, password string) string {
	if user != "" {
		return "other"
	}
	return password
}

func cli(t *testing.T, server *redistest.Server, args ...string) {
	t.Helper()
	if out, err := server.CLI(args...); err != nil || !strings.HasPrefix(out, "OK") {
		t.Fatal(args, out, err)
	}
}

// A server with TLS asks for a certificate by default. One that has changed is shown by the next connection.
func TestStore_showsItsCertificate(t *testing.T) {
	cert, key, ca := certificate(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	at := l.Addr().String()
	testkit.Check(t, l.Close())
	server := redistest.Start(t, "--tls-port", at[strings.LastIndex(at, ":")+1:], "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
	pair, err := tls.LoadX509KeyPair(cert, key)
	testkit.Check(t, err)
	strange, strangeKey, _ := certificate(t)
	wrong, err := tls.LoadX509KeyPair(strange, strangeKey)
	testkit.Check(t, err)
	var now atomic.Pointer[tls.Certificate]
	now.Store(&pair)
	s, _ := opens(t, redis.Config{URL: "rediss://" + at, CA: ca, Certificate: func() (*tls.Certificate, error) { return now.Load(), nil }})
	works(t, s, "mtls")
	now.Store(&wrong)
	_, _ = server.CLI("client", "kill", "skipme", "yes")
	testkit.Eventually(t, "the other certificate is refused", func() bool { return s.Ping(t.Context()) != nil })
	now.Store(&pair)
	works(t, s, "mtls")
	none, _ := opens(t, redis.Config{URL: "rediss://" + at, CA: ca})
	if err := none.Ping(t.Context()); !errors.Is(err, bus.ErrStoreUnavailable) {
		t.Errorf("without a certificate: %v", err)
	}
}

// A password that changes is read again by new connections, of commands and of subscriptions alike. While it cannot be read the
// last one is used.
func TestStore_readsItsPasswordAgain(t *testing.T) {
	single := redistest.Start(t)
	cluster := redistest.StartCluster(t)
	for name, c := range map[string]struct {
		servers []*redistest.Server
		scheme  string
		rest    string
	}{
		"single":  {[]*redistest.Server{single}, "redis://", single.Addr() + "/0"},
		"cluster": {cluster.Servers, "redis+cluster://", strings.TrimPrefix(cluster.URL(), "redis+cluster://")},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "url")
			rotate := func(password string) {
				for _, server := range c.servers {
					cli(t, server, "acl", "setuser", "ada", "reset", "on", ">"+password, "~*", "&*", "+@all")
				}
				testkit.Check(t, os.WriteFile(path, []byte(c.scheme+"ada:"+password+"@"+c.rest), 0o600))
			}
			rotate("first-pw")
			reread := func() (string, error) {
				b, err := os.ReadFile(path)
				return string(b), err
			}
			url, err := reread()
			testkit.Check(t, err)
			s, log := opens(t, redis.Config{URL: url, Reread: reread})
			a := address(t, "channels/rotated")
			r, f := follow(t, s, a)
			arrives(t, s, r, a)
			again := func() {
				t.Helper()
				for _, server := range c.servers {
					_, _ = server.CLI("client", "kill", "skipme", "yes")
				}
				drain(r)
				testkit.Eventually(t, "commands go", func() bool { return s.Ping(t.Context()) == nil })
				arrives(t, s, r, a)
				testkit.Eventually(t, "the feed is ready", func() bool { return f.Ready() == nil })
			}
			rotate("second-pw")
			again()
			testkit.Check(t, os.WriteFile(path, []byte("redis://ada:third-pw@elsewhere"), 0o600))
			for _, server := range c.servers {
				cli(t, server, "acl", "setuser", "ada", ">third-pw")
			}
			again()
			testkit.Check(t, os.Remove(path))
			again()
			if log.count("names another place") != 1 || log.count("cannot be read again") != 1 {
				t.Errorf("%d and %d warnings", log.count("names another place"), log.count("cannot be read again"))
			}
			if log.count("-pw") > 0 {
				t.Error("a password is in the log")
			}
		})
	}
}

// A server that lets nobody in has taken nothing: no command counts as done, and the cause is the refusal.
func TestStore_isRefusedWithAWrongPassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	cluster := redistest.StartCluster(t)
	for _, one := range cluster.Servers {
		cli(t, one, "acl", "setuser", "ada", "on", ">right", "~*", "&*", "+@all")
	}
	for name, url := range map[string]string{
		"single":  "redis://:wrong@" + server.Addr(),
		"cluster": strings.Replace(cluster.URL(), "://", "://ada:wrong@", 1),
	} {
		t.Run(name, func(t *testing.T) {
			s, log := opens(t, redis.Config{URL: url})
			a := address(t, "channels/a")
			strict := publication(a)
			strict.Durability, strict.Replicas = bus.Replicated, 1
			for _, p := range []bus.Publication{{Message: publication(a).Message}, publication(a), strict} {
				r, err := s.Publish(t.Context(), bustest.Admit(p))
				if !errors.Is(err, bus.ErrStoreUnavailable) {
					t.Errorf("publish: %+v, %v", r, err)
				}
			}
			_, err := s.Latest(t.Context(), a, keep, 0, 10)
			_, errs := s.Tops(t.Context(), []bus.Address{a})
			for what, err := range map[string]error{"history": err, "tops": errors.Join(errs...), "leave": s.Leave(t.Context(), a, "c"), "ping": s.Ping(t.Context())} {
				if !errors.Is(err, bus.ErrStoreUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if log.count("wrong@") > 0 {
				t.Error("the password is in the log")
			}
		})
	}
}
