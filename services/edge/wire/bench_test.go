package wire_test

import (
	"testing"

	"github.com/trunkline/trunkline/services/edge/wire"
)

// What a slow reader costs: 256 frames that find a backlog, and the way of such a backlog to the reader.
func BenchmarkQueue(b *testing.B) {
	frame := make([]byte, 256)
	put := func(q *wire.Queue) {
		q.Fill()
		for range 256 {
			q.Put(frame)
		}
	}
	b.Run("put", func(b *testing.B) {
		q := wire.NewQueue(b)
		b.ReportAllocs()
		for b.Loop() {
			put(q)
			q.Drop()
		}
		q.Drain()
	})
	b.Run("drain", func(b *testing.B) {
		q := wire.NewQueue(b)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			put(q)
			b.StartTimer()
			q.Drain()
		}
	})
}
