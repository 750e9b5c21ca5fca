package dialect_test

import (
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

func TestName(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for text, want := range map[string]string{
		"ada": "ada", "room:1": "room:1", "": "x-", "a/b": "x-YS9i", "x-": "x-eC0", "x-YS9i": "x-eC1ZUzlp", "ä": "x-w6Q",
		" ": "x-IA", "a::b": "x-YTo6Yg", strings.Repeat("a", 255): strings.Repeat("a", 255),
	} {
		if got := dialect.Name(text); got != want || dialect.TextOf(got) != text {
			t.Errorf("%q: name %q, want %q; back %q", text, got, want, dialect.TextOf(got))
		}
	}
	for _, text := range []string{long, strings.Repeat("a", 256)} {
		name := dialect.Name(text)
		if !strings.HasPrefix(name, "x-sha256.") || bus.CheckName("name", name) != nil || dialect.TextOf(name) != name {
			t.Errorf("%q: name %q, back %q", text, name, dialect.TextOf(name))
		}
	}
	for _, name := range []string{"x-foo bar", "x-_w", "x-YWRh", "x-!"} { // stand for no text: not base64, not UTF-8, a name
		if got := dialect.TextOf(name); got != name {
			t.Errorf("%q stands for %q", name, got)
		}
	}
	if got := dialect.NameWithin(strings.Repeat("a", 100), 99); len(got) > 99 || bus.CheckName("name", got) != nil {
		t.Errorf("within 99 bytes: %q", got)
	}
}

func TestIdentity(t *testing.T) {
	for text, want := range map[string]string{
		"ada": "ada", "auth0|5f": "auth0%7C5f", "a b": "a%20b", "a/b": "a%2Fb", "50%": "50%25", "a%7Cb": "a%257Cb", "x-YS9i": "x-eC1ZUzlp",
		"": "x-", "a\nb": "x-YQpi", "ä": "%C3%A4", "x-": "x-eC0", strings.Repeat("|", 255): strings.Repeat("%7C", 255),
	} {
		if got := dialect.Identity(text); got != want || dialect.IdentityText(got) != text {
			t.Errorf("%q: name %q, want %q; back %q", text, got, want, dialect.IdentityText(got))
		}
	}
	for name, text := range map[string]string{"x-YSBi": "x-YSBi", "x-_w": "x-_w", "x-%7C": "x-|"} { // of tokens: they stand for no text
		if got := dialect.IdentityText(name); got != text {
			t.Errorf("%q stands for %q", name, got)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"", "ada", "x-", "a/b", "x-sha256.", strings.Repeat("é", 95), "a\x00"} {
		f.Add(seed, seed+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		name := dialect.Name(a)
		if err := bus.CheckName("name", name); err != nil {
			t.Errorf("%q: %v", a, err)
		}
		if (a == b) != (name == dialect.Name(b)) {
			t.Errorf("%q and %q are both %q", a, b, name)
		}
		who := dialect.Identity(a)
		if again, err := bus.ParseName("name", who); err != nil || again != who {
			t.Errorf("%q: %q is %q, %v", a, who, again, err)
		}
		if (a == b) != (who == dialect.Identity(b)) {
			t.Errorf("%q and %q are both %q", a, b, who)
		}
	})
}
