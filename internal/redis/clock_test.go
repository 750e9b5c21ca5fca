package redis_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// skew is more than a log is kept by default.
const skew = 11 * time.Minute

// skewed returns stores of three processes on one server: one with a right clock, one with a clock that is ahead, and one
// whose clock is behind.
func skewed(t *testing.T, url string) (right, ahead, behind *redis.Store) {
	t.Helper()
	with := func(by time.Duration) *redis.Store {
		s, err := redis.Open(redis.Config{URL: url, Events: bustest.Events, Now: func() time.Time { return time.Now().Add(by) }}, slog.New(slog.DiscardHandler))
		check(t, err)
		t.Cleanup(func() { check(t, s.Close()) })
		return s
	}
	return with(0), with(skew), with(-skew)
}

func TestClock_isTheServers(t *testing.T) {
	right, ahead, behind := skewed(t, redistest.Start(t).URL())
	for name, s := range map[string]*redis.Store{"right": right, "ahead": ahead, "behind": behind} {
		if off := time.Since(s.Now()).Abs(); off > time.Minute {
			t.Errorf("a process whose clock is %s is off by %s", name, off)
		}
	}
}

func TestClock_withoutAServerIsThatOfTheProcess(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	server.Kill9()
	if off := time.Since(s.Now()).Abs(); off > time.Minute {
		t.Errorf("it is off by %s", off)
	}
	server.Restart()
	_, ahead, _ := skewed(t, server.URL())
	server.Kill9()
	first := ahead.Now()
	server.Restart()
	until(t, "the server has been asked again", func() bool { return first.Sub(ahead.Now()) > skew/2 })
}
