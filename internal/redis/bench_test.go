package redis_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// What a publish costs against a server of its own: a live message, which is a push, and durable ones, which a script
// appends.
func BenchmarkPublish(b *testing.B) {
	s := open(b, redistest.Start(b).URL())
	a, err := bus.ParseAddress("channels/bench")
	if err != nil {
		b.Fatal(err)
	}
	p := publication(a)
	p.Message.Data = []byte(strings.Repeat("x", 128))
	live := p
	live.Retention = bus.Retention{}
	single := func(p bus.Publication) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Publish(b.Context(), bustest.Admit(p)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("live", single(live))
	b.Run("durable", single(p))
	pipeline := func(b *testing.B, to func(i int) bus.Address) {
		b.Helper()
		ps := make([]bus.Publication, 100)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			for i := range ps {
				n++
				ps[i] = p
				ps[i].Message.To = to(n)
			}
			if _, errs := s.PublishAll(b.Context(), bustest.AdmitAll(ps...)); errors.Join(errs...) != nil {
				b.Fatal(errors.Join(errs...))
			}
		}
		b.ReportMetric(float64(b.Elapsed())/float64(time.Duration(b.N*len(ps))), "ns/message")
	}
	b.Run("durable, pipeline of 100", func(b *testing.B) { pipeline(b, func(int) bus.Address { return a }) })
	b.Run("durable, pipeline of 100 new names", func(b *testing.B) {
		pipeline(b, func(i int) bus.Address { return address(b, "channels/new:"+strconv.Itoa(b.N)+":"+strconv.Itoa(i)) })
	})
}
