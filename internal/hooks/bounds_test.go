package hooks_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
)

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A long reason is cut, and only what is left of it is kept.
func TestAuthorizer_keepsNothingOfALongReason(t *testing.T) {
	s := &service{decide: func(string, string) *hooksv1.Decision {
		return &hooksv1.Decision{Reason: strings.Repeat("x", 60<<10)}
	}}
	a, _ := serve(t, s, hooks.Config{Cache: time.Hour})
	ask := func(i int) {
		err := a.Authorize(t.Context(), question(t, bus.Publish, "ada", fmt.Sprint("channels/", i)))
		if !errors.Is(err, bus.ErrPublishDenied) {
			t.Fatal(err)
		}
	}
	ask(0)
	before := heap()
	for i := range 300 {
		ask(i + 1)
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("300 refusals keep %d bytes", grown)
	}
	ask(0) // the cache is in use until here
}

// A no that cannot be read is no yes, where what cannot be asked is allowed: not UTF-8, or larger than an answer may be.
func TestAuthorizer_anUnreadableNoIsNoYes(t *testing.T) {
	for what, reason := range map[string]string{"not UTF-8": "no \xff", "too large": strings.Repeat("x", 1<<20)} {
		s := &service{decide: func(string, string) *hooksv1.Decision { return &hooksv1.Decision{Reason: reason} }}
		a, stop := serve(t, s, hooks.Config{FailOpen: true, Timeout: 5 * time.Second})
		for _, action := range []bus.Action{bus.Connect, bus.Subscribe, bus.Publish} {
			if err := a.Authorize(t.Context(), question(t, action, "eve", "channels/a")); err == nil {
				t.Errorf("%s: %s is allowed", what, action)
			}
		}
		stop()
		if err := a.Authorize(t.Context(), question(t, bus.Publish, "eve", "channels/b")); err != nil {
			t.Errorf("nobody answers: %v", err)
		}
	}
}

// What reorders or hides text does not reach a client.
func TestAuthorizer_reasonsAreText(t *testing.T) {
	s := &service{decide: func(string, string) *hooksv1.Decision {
		return &hooksv1.Decision{Reason: "a\u202eb\u2066c\u2028d\x00e\u0085f"}
	}}
	a, _ := serve(t, s, hooks.Config{})
	err := a.Authorize(t.Context(), question(t, bus.Publish, "eve", "channels/a"))
	if err == nil || err.Error() != "a b c d e f" {
		t.Errorf("%q", err)
	}
}

// Answers leave when their time is over, whether or not anybody asks again.
func TestAuthorizer_forgetsOnTime(t *testing.T) {
	s := &service{decide: func(string, string) *hooksv1.Decision { return &hooksv1.Decision{Allowed: true} }}
	a, _ := serve(t, s, hooks.Config{Cache: time.Minute})
	for i := range 5 {
		if err := a.Authorize(t.Context(), question(t, bus.Publish, "ada", fmt.Sprint("channels/", i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.Forget(time.Now()); n != 5 {
		t.Errorf("%d are kept", n)
	}
	if n := a.Forget(time.Now().Add(time.Minute)); n != 0 {
		t.Errorf("%d are kept after their time", n)
	}
}
