package redis_test

import (
	"log/slog"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/bus/bustest/difftest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// The memory store and a real Redis cannot be told apart: not as time passes, nor when answers are lost, nor over restarts of Redis.
func TestStore_isTheSameAsMemory(t *testing.T) {
	clock := redistest.NewClock(t)
	server := clock.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	lossy := redistest.NewLossy(t, server.Addr())
	s, err := redis.Open(redis.Config{URL: lossy.URL(), Events: bustest.Events, Now: clock.Now}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	// A server that knows the scripts answers to them, and not that it does not: that is what is lost.
	warm := func() {
		for _, a := range []bus.Address{address(t, "channels/warm"), address(t, "users/warm")} {
			p := publication(a)
			if a.HasInbox() {
				p = mail(a, "warm")
			}
			_, err := s.Publish(t.Context(), bustest.Admit(p))
			testkit.Check(t, err)
		}
	}
	warm()
	steps := 10_000
	if testing.Short() {
		steps = 1_000
	}
	difftest.Same(t, memory.New(memory.Config{Now: clock.Now}), s, difftest.World{
		Steps: steps, Now: clock.Now, Advance: clock.Advance, Lose: lossy.Lose,
		Fork: func() {
			server.Kill9()
			server.Restart()
			testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
			warm()
		},
	})
}
