package native_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// FuzzNumber holds the reader of numbers to the decoders: of a frame that can be read it finds the same number.
func FuzzNumber(f *testing.F) {
	for _, frame := range []string{
		`{"id":7,"ping":{}}`, `{"ping":{},"id":"7"}`, ` { "\u0069d" : 7e0 , "publish" : {"to":"}\"","data":[{"id":8},"]"]} } `, `{"id":null}`, `{}`, `{"id":4294967295}`,
		"", "\x08\x07", "\x08\x07\x4A\x00\x08\x09", "\x4A\x00\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", "\x0A\x00", "\x0D\x01\x02\x03\x04",
		`{"id":7,"publish":{"to":"x`, `{"id":7]`, `{"id":[}`, `{"id":"7\`,
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		want := new(edgev1.ClientFrame)
		if got := (native.JSON{}).Number(frame); payload.Unmarshal(frame, want) == nil && got != want.GetId() {
			t.Errorf("JSON %q: %d, want %d", frame, got, want.GetId())
		}
		if got := (native.Proto{}).Number(frame); proto.Unmarshal(frame, want) == nil && got != want.GetId() {
			t.Errorf("protobuf %x: %d, want %d", frame, got, want.GetId())
		}
	})
}
