package rooms_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/trunkline/trunkline/legacy/rooms"
)

// FuzzRoom says that a room is the one segment behind the path, whatever is in its name.
func FuzzRoom(f *testing.F) {
	f.Fuzz(func(t *testing.T, name, path string) {
		r := &http.Request{URL: &url.URL{Path: rooms.Path + name, RawPath: rooms.Path + url.PathEscape(name)}}
		if got, ok := rooms.Room(r); !ok || got != name {
			t.Errorf("%q is the room %q, %t", name, got, ok)
		}
		u, err := url.ParseRequestURI("/" + path)
		if err != nil {
			return
		}
		if got, ok := rooms.Room(&http.Request{URL: u}); ok && u.Path != rooms.Path+got {
			t.Errorf("%q is the room %q", u, got)
		}
	})
}
