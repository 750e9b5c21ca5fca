package bus_test

import (
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
)

func TestTokenDigest(t *testing.T) {
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := bus.TokenDigest("abc"); got != want {
		t.Errorf("got %s", got)
	}
}

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer  abc ": "abc", "BEARER a b": "a b",
		"": "", "Bearer": "", "Bearer ": "", "abc": "", "Basic abc": "", "Bearerabc": "",
	} {
		if got := bus.BearerToken(header); got != want {
			t.Errorf("%q: %q", header, got)
		}
	}
}
