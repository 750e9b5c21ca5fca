package native_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

var encodings = []dialect.Stateless{native.JSON{}, native.Proto{}}

// published is the answer to a publish, the most frequent one.
func published() *edgev1.ServerFrame {
	return &edgev1.ServerFrame{Id: 7, Event: &edgev1.ServerFrame_Published{Published: &publishv1.PublishResponse{
		Id: "018f4e6e-7b7a-7c3e-9d2a-000000000000", Durability: publishv1.Durability_DURABILITY_ACCEPTED,
		PublishTime: timestamppb.New(time.UnixMilli(1_700_000_000_123)), Position: &publishv1.Position{Epoch: "abcdefghijklm", Offset: 12345},
	}}}
}

func BenchmarkReply(b *testing.B) {
	f := published()
	for _, d := range encodings {
		b.Run(d.Name(), func(b *testing.B) {
			buf := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = d.Reply(buf[:0], f)
			}
		})
	}
}

// A message is encoded without an allocation into a buffer that has room for it; an answer in JSON costs one.
func TestEncode_allocations(t *testing.T) {
	buf := make([]byte, 0, 1<<10)
	all := messages(t)
	most := map[string]float64{"json": 1, "proto": 0}
	for _, d := range encodings {
		for _, kind := range []string{"least", "binary", "empty"} {
			m := all[kind]
			if n := testing.AllocsPerRun(100, func() { d.Message(buf, &m) }); n > 0 {
				t.Errorf("%s: a message (%s) costs %g allocations", d.Name(), kind, n)
			}
		}
		f := published()
		if n := testing.AllocsPerRun(100, func() { _, _ = d.Reply(buf, f) }); n > most[d.Name()] {
			t.Errorf("%s: an answer costs %g allocations, want %g at most", d.Name(), n, most[d.Name()])
		}
	}
}
