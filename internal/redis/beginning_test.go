package redis_test

import (
	"errors"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// newcomers are addresses that a client knows, and that nothing was published to when it asked.
type newcomers struct {
	channel, inbox bus.Address
	starts         []bus.Position
}

// meet returns new addresses, with the positions that clients are given.
func meet(t *testing.T, s *redis.Store, name string) newcomers {
	t.Helper()
	n := newcomers{channel: address(t, "channels/"+name), inbox: address(t, "users/"+name)}
	starts, errs := s.Tops(t.Context(), []bus.Address{n.channel, n.inbox})
	testkit.Check(t, bus.FirstError(errs))
	n.starts = starts
	return n
}

// resume comes back to both from the positions, and returns whether a gap is told.
func (n newcomers) resume(t *testing.T, s *redis.Store) (told []bool) {
	t.Helper()
	_, channel := s.Since(t.Context(), n.channel, long, n.starts[0], 100)
	_, inbox := s.Since(t.Context(), n.inbox, bus.Retention{Inbox: true}, n.starts[1], 100)
	for _, err := range []error{channel, inbox} {
		if err != nil && !errors.Is(err, bus.ErrGap) {
			t.Fatal(err)
		}
		told = append(told, err != nil)
	}
	return told
}

// Of an address all of whose messages are lost nothing is left that could tell of it. Whoever comes back to its beginning is told all
// the same, and also when something was published to it since.
func TestBeginning_endsWithWhatMayBeLost(t *testing.T) {
	for name, publishAfter := range map[string]bool{"silent": false, "published to since": true} {
		t.Run("failover, "+name, func(t *testing.T) {
			sentinel := redistest.StartSentinel(t)
			s := open(t, sentinel.URL())
			n := meet(t, s, "new")
			numbered(t, s, address(t, "channels/other"), 1)
			testkit.Eventually(t, "the replica has the beginning", func() bool {
				_, err := s.Publish(t.Context(), bustest.Admit(replicated(address(t, "channels/other"), "mark", 1)))
				return err == nil
			})
			sentinel.Cut()
			numbered(t, s, n.channel, 3)
			mailed(t, s, n.inbox, 1, 3)
			sentinel.Master.Kill9()
			testkit.Eventually(t, "publishing works again", func() bool {
				p := publication(address(t, "channels/other"))
				_, err := s.Publish(t.Context(), bustest.Admit(p))
				return err == nil
			})
			if publishAfter {
				numbered(t, s, n.channel, 1)
				mailed(t, s, n.inbox, 4, 4)
			}
			if told := n.resume(t, s); !told[0] || !told[1] {
				t.Errorf("a gap is told %v", told)
			}
		})
		t.Run("file, "+name, func(t *testing.T) {
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
			s := open(t, server.URL())
			n := meet(t, s, "new")
			numbered(t, s, address(t, "channels/other"), 1)
			size := server.FileSize()
			numbered(t, s, n.channel, 3)
			mailed(t, s, n.inbox, 1, 3)
			cutAndRestart(t, server, s, size)
			if publishAfter {
				numbered(t, s, n.channel, 1)
				mailed(t, s, n.inbox, 4, 4)
			}
			if told := n.resume(t, s); !told[0] || !told[1] {
				t.Errorf("a gap is told %v", told)
			}
		})
	}
}

// cutAndRestart loses what was written after the file had a size.
func cutAndRestart(t *testing.T, server *redistest.Server, s *redis.Store, size int64) {
	t.Helper()
	server.Kill9()
	server.CutFile(server.FileSize() - size)
	server.Restart()
	testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
}

// A log that ends sooner than was confirmed shows that a file was cut. Other logs may have been lost with it as a whole.
func TestBeginning_endsWithALogThatWasCut(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.URL())
	n := meet(t, s, "new")
	other := address(t, "channels/other")
	numbered(t, s, other, 1)
	size := server.FileSize()
	numbered(t, s, n.channel, 3)
	mailed(t, s, n.inbox, 1, 3)
	numbered(t, s, other, 1)
	cutAndRestart(t, server, s, size)
	numbered(t, s, other, 1) // it is seen here
	if told := n.resume(t, s); !told[0] || !told[1] {
		t.Errorf("a gap is told %v", told)
	}
}

// Where everything is there, the beginning stays, through any number of lives.
func TestBeginning_staysWhereNothingCanBeLost(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		s := open(t, server.URL())
		n := meet(t, s, "new")
		for range 3 {
			server.Kill9()
			server.Restart()
			testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
			if told := n.resume(t, s); told[0] || told[1] {
				t.Errorf("a gap is told %v", told)
			}
		}
	})
	t.Run("failover", func(t *testing.T) {
		sentinel := redistest.StartSentinel(t)
		s := least(t, sentinel.URL(), redis.Least{Durability: bus.Replicated, Replicas: 1})
		testkit.Eventually(t, "the replica is older than the beginning", func() bool { return uptime(t, sentinel.Master) > 6 })
		n := meet(t, s, "new")
		testkit.Eventually(t, "the replica has the beginning", func() bool {
			_, err := s.Publish(t.Context(), bustest.Admit(replicated(address(t, "channels/other"), "mark", 1)))
			return err == nil
		})
		testkit.Check(t, s.Ping(t.Context())) // it sees that there is one replica
		sentinel.Master.Kill9()
		testkit.Eventually(t, "publishing works again", func() bool {
			_, err := s.Publish(t.Context(), bustest.Admit(publication(address(t, "channels/other"))))
			return err == nil
		})
		if told := n.resume(t, s); told[0] || told[1] {
			t.Errorf("a gap is told %v", told)
		}
	})
}
