package fan_test

import (
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/fan"
)

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
			crowd := crowd(b, bench.m.To, 0, bench.subscribers)
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
	m := message(b, "channels/news")
	for _, d := range dialects {
		b.Run(d.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fan.MessageFrame(d, m)
			}
		})
	}
}
