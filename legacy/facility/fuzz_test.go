package facility_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/facility"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// FuzzWishes says that what a query asks for is what it names, in whatever case and order and however often.
func FuzzWishes(f *testing.F) {
	f.Fuzz(func(t *testing.T, query string) {
		list, echo, state, strange := facility.Wished(query)
		parts := strings.Split(query, "&")
		slices.Reverse(parts)
		for _, other := range []string{query + "&" + query, strings.Join(parts, "&")} {
			again, echo2, state2, _ := facility.Wished(other)
			if !slices.Equal(again, list) || echo2 != echo || state2 != state {
				t.Errorf("%q asks for %q, and %q for %q", query, list, other, again)
			}
		}
		for _, name := range list {
			if _, _, _, odd := facility.Wished(name); len(odd) > 0 {
				t.Errorf("%q asks for %q, which means nothing", query, name)
			}
		}
		if len(list) > 8 || len(strange) > len(parts) {
			t.Errorf("%q asks for %q, and %q is strange", query, list, strange)
		}
	})
}

// FuzzSessionAnswer reads what the site of an older system answers. It is somebody whose names are in their one form, nobody, or an
// error that does not repeat the answer.
func FuzzSessionAnswer(f *testing.F) {
	s, err := facility.NewSessions(facility.SessionsConfig{URL: "http://127.0.0.1:1/", Cookie: "sid", Name: dialect.Identity}, slog.New(slog.DiscardHandler))
	testkit.Check(f, err)
	f.Fuzz(func(t *testing.T, key string, status int, body []byte) {
		if key == "" || len(key) > 128 { // no session has such a key
			return
		}
		who, none, err := s.ReadAnswer(key, status, body)
		switch {
		case err != nil:
			if len(body) > 16 && strings.Contains(err.Error(), string(body)) {
				t.Errorf("the error repeats the answer: %v", err)
			}
		case none:
			if status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusNotFound {
				t.Errorf("%d is nobody", status)
			}
		case status != http.StatusOK || !who.Sound():
			t.Errorf("%d %q is %+v", status, body, who)
		}
	})
}

// FuzzHandshake reads the headers of a handshake. One that has no flaw has a key of 16 bytes, and a flaw is answered with a status.
func FuzzHandshake(f *testing.F) {
	f.Fuzz(func(t *testing.T, version, key string) {
		r := &http.Request{Header: http.Header{"Sec-Websocket-Version": {version}, "Sec-Websocket-Key": {key}}}
		flaw := facility.HandshakeFlaw(r)
		if flaw != nil {
			if status := flaw.Metadata["status"]; status != "400" && status != "426" {
				t.Errorf("%q and %q are flawed: %+v", version, key, flaw)
			}
			return
		}
		if len(strings.TrimRight(strings.NewReplacer("\r", "", "\n", "").Replace(key), "=")) != 22 || len(strings.TrimSpace(version)) > 2 {
			t.Errorf("%q and %q have no flaw", version, key)
		}
	})
}
