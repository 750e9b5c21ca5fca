package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// lives returns how many subscribers each life of a server has.
func lives(t *testing.T, server *redistest.Server) map[string]int64 {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { testkit.Check(t, c.Close()) }()
	names, err := c.PubSubChannels(t.Context(), "tl:life:*").Result()
	testkit.Check(t, err)
	n, err := c.PubSubNumSub(t.Context(), names...).Result()
	testkit.Check(t, err)
	return n
}

// lifeOf is the channel of the life that a server is in.
func lifeOf(t *testing.T, server *redistest.Server) string {
	t.Helper()
	out, err := server.CLI("info", "replication")
	testkit.Check(t, err)
	_, id, _ := strings.Cut(out, "master_replid:")
	id, _, _ = strings.Cut(id, "\r\n")
	return "tl:life:" + id
}

// keepsOnly waits until so many connections keep the life of a server, and none keeps another.
func keepsOnly(t *testing.T, server *redistest.Server, connections int64) {
	t.Helper()
	testkit.Eventually(t, "the life of the server is kept, and no other", func() bool {
		n := lives(t, server)
		return len(n) == 1 && n[lifeOf(t, server)] == connections
	})
}

// Each connection of a feed keeps the life of its server, for as long as the server is in it.
func TestLife_isKeptWhileTheServerIsInIt(t *testing.T) {
	t.Run("single", func(t *testing.T) {
		server := redistest.Start(t)
		s := open(t, server.URL())
		follow(t, s, address(t, "channels/life"))
		keepsOnly(t, server, 2)
		before := lifeOf(t, server)
		server.Kill9()
		server.Restart()
		keepsOnly(t, server, 2)
		if before == lifeOf(t, server) {
			t.Error("a restart is no new life")
		}
	})
	t.Run("a master that becomes a replica and a master again", func(t *testing.T) {
		server, other := redistest.Start(t), redistest.Start(t, "--repl-diskless-sync-delay", "0")
		s := open(t, server.URL())
		follow(t, s, address(t, "channels/life"))
		keepsOnly(t, server, 2)
		_, port, _ := strings.Cut(other.Addr(), ":")
		_, err := server.CLI("replicaof", "127.0.0.1", port)
		testkit.Check(t, err)
		testkit.Eventually(t, "a replica's life is kept by nobody", func() bool { return len(lives(t, server)) == 0 })
		_, err = server.CLI("replicaof", "no", "one")
		testkit.Check(t, err)
		keepsOnly(t, server, 2)
	})
	t.Run("cluster", func(t *testing.T) {
		c := redistest.StartCluster(t)
		s := open(t, c.URL())
		follow(t, s, address(t, "channels/life"))
		for _, server := range c.Servers {
			keepsOnly(t, server, 1)
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		sentinel := redistest.StartSentinel(t)
		s := open(t, sentinel.URL())
		follow(t, s, address(t, "channels/life"))
		keepsOnly(t, sentinel.Master, 2)
		if n := lives(t, sentinel.Replica); len(n) > 0 {
			t.Errorf("the replica has %v", n)
		}
		sentinel.Master.Kill9()
		keepsOnly(t, sentinel.Replica, 2)
	})
	t.Run("until it may not be asked any more", func(t *testing.T) {
		server := redistest.Start(t)
		s, log := counting(t, redis.Config{URL: server.URL()})
		a := address(t, "channels/life")
		r, _ := follow(t, s, a)
		keepsOnly(t, server, 2)
		_, err := server.CLI("acl", "setuser", "default", "-info")
		testkit.Check(t, err)
		testkit.Eventually(t, "nobody keeps the life", func() bool { return len(lives(t, server)) == 0 })
		arrives(t, s, r, a)
		if lines := log.lines.Load(); lines > 0 {
			t.Errorf("%d warnings", lines)
		}
	})
	t.Run("without the right to ask", func(t *testing.T) {
		server := redistest.Start(t)
		_, err := server.CLI("acl", "setuser", "default", "-info")
		testkit.Check(t, err)
		s := open(t, server.URL())
		a := address(t, "channels/life")
		r, _ := follow(t, s, a)
		arrives(t, s, r, a)
		if n := lives(t, server); len(n) > 0 {
			t.Errorf("there is %v", n)
		}
	})
}

// A server that does not know HELLO is spoken to in RESP 2, with its password.
func TestFeed_speaksTheOlderProtocol(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "HELLO", "NOHELLO", "--requirepass", "hunter2")
	s, log := counting(t, redis.Config{URL: "redis://:hunter2@" + server.Addr()})
	a, b := address(t, "channels/older"), address(t, "channels/older2")
	r, f := follow(t, s, a)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 20 {
		testkit.Check(t, f.Subscribe(ctx, b))
		arrives(t, s, r, b)
		f.Unsubscribe(b)
		arrives(t, s, r, a)
	}
	if lines := log.lines.Load(); lines > 0 || len(r.interrupted) > 0 {
		t.Errorf("%d warnings, %d interruptions", lines, len(r.interrupted))
	}
}
