package convert_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Whatever time is kept, an answer that has it can be encoded.
func TestTime_canBeTold(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Time{}, ""},
		{time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC), "2026-11-28T01:02:03Z"},
		{time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC), "0001-01-01T00:00:00Z"},
		{time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), "0001-01-01T00:00:00Z"},
		{time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), "0001-01-01T00:00:00.000000001Z"},
		{time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), "9999-12-31T23:59:59.999999999Z"},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "9999-12-31T23:59:59.999999999Z"},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("west", -3600)), "9999-12-31T23:59:59.999999999Z"},
		{time.UnixMilli(1 << 62), "9999-12-31T23:59:59.999999999Z"},
		{time.UnixMilli(-1 << 62), "0001-01-01T00:00:00Z"},
	} {
		got := convert.Time(c.at)
		if c.want == "" {
			if got != nil {
				t.Errorf("no time is %v", got)
			}
			continue
		}
		testkit.Check(t, got.CheckValid())
		if text := got.AsTime().Format(time.RFC3339Nano); text != c.want {
			t.Errorf("%v is told as %s, want %s", c.at, text, c.want)
		}
		for _, m := range []*bus.Message{{Published: c.at, Expires: c.at}, {Published: c.at}} {
			if _, err := protojson.Marshal(convert.MessageProto(m)); err != nil {
				t.Errorf("%v: %v", c.at, err)
			}
		}
	}
}
