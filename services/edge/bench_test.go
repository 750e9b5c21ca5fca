package edge_test

import (
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge"
)

// How long a connect takes while nothing else happens, and while a thousand connections end at once: cleaning up must
// not hold up who comes in.
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
				eventually(b, func() bool { return h.edge.Connections() == 0 })
				b.StartTimer()
			}
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
		})
	}
}

// One message in one round of a shard.
func BenchmarkRound(b *testing.B) {
	news, others := message(b, "channels/news"), message(b, "channels/news")
	others.ExcludeClient = "its sender"
	for _, bench := range []struct {
		name        string
		subscribers int
		m           *bus.Message
	}{
		{"subscribers=1", 1, news},
		{"subscribers=100", 100, news},
		{"subscribers=1000", 1000, news},
		{"all but the sender, subscribers=1000", 1000, others},
	} {
		b.Run(bench.name, func(b *testing.B) {
			const unread = 32 // rounds that wait in the sockets until the subscribers read
			e, _ := still(b)
			crowd := edge.NewDelivery(b, e, bench.m.To, 0, bench.subscribers)
			crowd.Expect(unread, bench.m)
			b.ReportAllocs()
			rounds := 0
			for b.Loop() {
				crowd.Deliver(bench.m)
				if rounds++; rounds%unread == 0 {
					b.StopTimer()
					crowd.Read()
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*bench.subscribers), "ns/subscriber")
		})
	}
}

// The frame of a message: header, metadata and payload.
func BenchmarkFrame(b *testing.B) {
	_, dialects := still(b)
	m := message(b, "channels/news")
	for _, d := range dialects {
		b.Run(d.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				edge.MessageFrame(d, m)
			}
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
