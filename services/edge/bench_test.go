package edge_test

import (
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// How long a connect takes while nothing else happens, and while a thousand connections end at once. Cleaning up must not
// hold up a client that comes in.
func BenchmarkConnect(b *testing.B) {
	for name, ending := range map[string]int{"quiet": 0, "while 1000 end": 1000} {
		b.Run(name, func(b *testing.B) {
			h := start(b, edge.Config{})
			token := h.token("ada", everything)
			var worst time.Duration
			for b.Loop() {
				b.StopTimer()
				crowd := make([]*client, ending)
				for i := range crowd {
					crowd[i] = h.connected(token)
					crowd[i].subscribe("channels/crowd")
				}
				var done sync.WaitGroup
				for part := range 4 {
					done.Go(func() {
						for i := part; i < len(crowd); i += 4 {
							_ = crowd[i].ws.NetConn().Close()
						}
					})
				}
				b.StartTimer()
				for range 20 {
					begin := time.Now()
					c := h.connected(token)
					worst = max(worst, time.Since(begin))
					_ = c.ws.NetConn().Close()
				}
				b.StopTimer()
				done.Wait()
				testkit.Eventually(b, "no connection is left", func() bool { return h.edge.Connections() == 0 })
				b.StartTimer()
			}
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
		})
	}
}

// A connect's question to the auth service over gRPC: one at a time, and many at once, which share their calls.
func BenchmarkValidate(b *testing.B) {
	h := start(b, edge.Config{})
	token := h.token("ada", everything)
	ask := func() {
		if _, err := h.edge.Validate(b.Context(), token); err != nil {
			b.Error(err)
		}
	}
	b.Run("one at a time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ask()
		}
	})
	b.Run("64 at once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var all sync.WaitGroup
			for range 64 {
				all.Go(ask)
			}
			all.Wait()
		}
	})
}
