package redis_test

import (
	"errors"
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
	b.Run("durable, pipeline of 100", func(b *testing.B) {
		ps := make([]bus.Publication, 100)
		for i := range ps {
			ps[i] = p
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, errs := s.PublishAll(b.Context(), bustest.AdmitAll(ps...)); errors.Join(errs...) != nil {
				b.Fatal(errors.Join(errs...))
			}
		}
		b.ReportMetric(float64(b.Elapsed())/float64(time.Duration(b.N*len(ps))), "ns/message")
	})
}
