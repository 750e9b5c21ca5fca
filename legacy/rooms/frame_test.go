package rooms_test

import (
	"testing"
	"unicode/utf8"

	"github.com/trunkline/trunkline/legacy/rooms"
)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"command":"sendMessage","data":{"to":"b"}}`, `{"command":"x"}`, `{}`, `[`, `{"command":7}`, `{"command":"x","data":{"to":1}}`, `{"command":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		name, to, err := rooms.Parse(frame)
		if err == nil && (name == "" || len(name) > 1024 || len(to) > 1024 || !utf8.ValidString(name) || !utf8.ValidString(to)) {
			t.Errorf("%q is the command %q to %q", frame, name, to)
		}
	})
}

func FuzzMessageID(f *testing.F) {
	for _, seed := range []string{"6ba7b810-9dad-41d1-80b4-00c04fd430c8", "0123456789abcdef0123456789abcdef", "=", "order-7", "00000000-0000-0000-0000-000000000001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if id == "" || len(id) > 128 { // no message has such an id
			return
		}
		if back, ok := rooms.MessageID(rooms.WireID(id)); !ok || back != id {
			t.Errorf("%q is %q on the wire, and that is %q, %t", id, rooms.WireID(id), back, ok)
		}
	})
}
