package bus_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/names"
)

// plainName is the grammar of the names of channels and topics, written a second time.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@=+-]*(:[_.@=+-]*[A-Za-z0-9][A-Za-z0-9_.@=+-]*)*$`)

func isPlainName(s string) bool { return len(s) <= 255 && plainName.MatchString(s) }

// isAddress is a second parser of addresses, slow and without messages.
func isAddress(s string) bool {
	base, topic, topical := strings.Cut(s, "/topics/")
	kind, id, _ := strings.Cut(base, "/")
	switch {
	case topical && !isPlainName(topic):
		return false
	case base == "broadcast":
		return true
	case kind == "channels":
		return isPlainName(id)
	case kind != "clients" && kind != "users" && kind != "groups" && kind != "sessions" || strings.ContainsAny(id, "/*"):
		return false
	}
	raw, err := url.PathUnescape(id)
	return err == nil && raw != "" && len(raw) <= 255 && utf8.ValidString(raw) && !strings.ContainsFunc(raw, unicode.IsControl)
}

// FuzzAddress holds the parser of addresses to a second one. What it takes has one canonical form, made of its parts, which every
// other reader of addresses reads as the same.
func FuzzAddress(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		a, err := bus.ParseAddress(s)
		if (err == nil) != isAddress(s) {
			t.Fatalf("%q: %v, %v", s, a, err)
		}
		if err != nil {
			if !a.IsZero() || len(err.Error()) > 600 {
				t.Fatalf("%q is refused with %v and %v", s, a, err)
			}
			return
		}
		text := a.String()
		if again, err := bus.ParseAddress(text); err != nil || again != a {
			t.Fatalf("%q is %v, which is %v, %v", s, a, again, err)
		}
		if stored, err := bus.StoredAddress(text); err != nil || stored != a {
			t.Fatalf("%q is %v, which is stored as %v, %v", s, a, stored, err)
		}
		if names.Address(s) != text {
			t.Fatalf("%q is %v, and %s by itself", s, a, names.Address(s))
		}
		parts := string(a.Kind())
		if a.Kind() != bus.KindBroadcast {
			parts += "/" + a.ID()
		}
		if a.Topic() != "" {
			parts += "/topics/" + a.Topic()
		}
		if parts != text || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("{}*?[]", r) }) {
			t.Fatalf("%q is %v, in parts %s", s, a, parts)
		}
	})
}

// FuzzPattern holds patterns to regular expressions. A pattern has one canonical form, and covers what begins as it does.
func FuzzPattern(f *testing.F) {
	f.Fuzz(func(t *testing.T, pattern, address string) {
		p, err := bus.ParsePattern(pattern)
		if err != nil {
			return
		}
		if again, err := bus.ParsePattern(p.String()); err != nil || again != p {
			t.Fatalf("%q is %v, which is %v, %v", pattern, p, again, err)
		}
		a, err := bus.ParseAddress(address)
		if err != nil {
			return
		}
		prefix, star := strings.CutSuffix(p.String(), "*")
		oracle := "^" + regexp.QuoteMeta(prefix)
		if !star {
			oracle += "$"
		}
		if want := regexp.MustCompile(oracle).MatchString(a.String()); p.Covers(a) != want {
			t.Fatalf("%v covers %v: %t, want %t", p, a, p.Covers(a), want)
		}
		if p.Covers(a) && a.Kind() != bus.KindBroadcast && prefix != "" && !strings.HasPrefix(prefix, string(a.Kind())+"/") {
			t.Fatalf("%v covers %v, which is of another kind", p, a)
		}
		// A name that goes on is another name: a pattern ends where a part of a name does.
		if star && a.Kind() == bus.KindChannels && p.Covers(a) && a.String() == strings.TrimRight(prefix, ":") {
			t.Fatalf("%v covers %v itself", p, a)
		}
	})
}

// FuzzRecords reads what stands in the logs of events, of revocations and of presence. What is taken is written as it was read.
func FuzzRecords(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &bus.Message{Kind: bus.MessagePresence, Data: data}
		if e, err := bus.EventOf(m); err == nil {
			told(t, e.Time())
			p := e.Publication(bus.Retention{})
			if again, err := bus.EventOf(&p.Message); err != nil || again != e || p.Message.ID != e.ID || p.Message.To != bus.EventLog {
				t.Errorf("%q is %+v, which is %+v, %v", data, e, again, err)
			}
		}
		if e, err := bus.PresenceOf(m); err == nil {
			told(t, e.Time())
			told(t, e.Member.Joined)
			if int(int32(e.Clients)) != e.Clients || e.Clients < 0 {
				t.Errorf("there are %d clients", e.Clients)
			}
			same(t, e, func(b []byte) (bus.PresenceEvent, error) {
				return bus.PresenceOf(&bus.Message{Kind: bus.MessagePresence, Data: b})
			})
		}
		if n, err := bus.PresenceNewsOf(m); err == nil {
			same(t, n, func(b []byte) (bus.PresenceNews, error) {
				return bus.PresenceNewsOf(&bus.Message{Kind: bus.MessagePresence, Data: b})
			})
		}
		var r bus.Revocation
		if err := json.Unmarshal(data, &r); err == nil {
			same(t, r, func(b []byte) (again bus.Revocation, err error) { return again, json.Unmarshal(b, &again) })
		}
		if _, err := bus.PresenceOf(&bus.Message{Data: data}); err == nil {
			t.Error("a message of another kind is news")
		}
		if _, err := bus.PresenceNewsOf(&bus.Message{Data: data}); err == nil {
			t.Error("a message of another kind is news of many")
		}
	})
}

// told fails for a time that no frame can tell.
func told(t *testing.T, at time.Time) {
	t.Helper()
	if err := timestamppb.New(at).CheckValid(); err != nil {
		t.Error(err)
	}
}

// same writes a value, reads it, and writes it again, which has to give the same.
func same[T any](t *testing.T, v T, read func([]byte) (T, error)) {
	t.Helper()
	first, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%+v was read and cannot be written: %v", v, err)
	}
	again, err := read(first)
	if err != nil {
		t.Fatalf("%s is written and cannot be read: %v", first, err)
	}
	if second, err := json.Marshal(again); err != nil || string(second) != string(first) {
		t.Fatalf("%s is read as %s, %v", first, second, err)
	}
}
