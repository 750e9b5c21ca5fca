package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/internal/bus"
	table "github.com/trunkline/trunkline/internal/refusal"
)

// answerOf is what a handler answers to an HTTP/1.1 request as it is on the wire; nil for what the HTTP server itself refuses.
func answerOf(h http.Handler, wire []byte) (*http.Request, *httptest.ResponseRecorder) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond) // of a stream that does not end by itself
	defer cancel()
	r.RemoteAddr = "192.0.2.1:1"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(ctx))
	return r, w
}

// reason is the reason in the body of a refusal.
func reason(body []byte) string {
	var said struct {
		Error struct {
			Details []struct{ Reason string }
		}
	}
	if json.Unmarshal(body, &said) != nil || len(said.Error.Details) == 0 {
		return ""
	}
	return said.Error.Details[0].Reason
}

// FuzzRequest sends whole requests. Each is answered with a status that HTTP and the table of refusals have, and a refusal names its reason.
// What reaches a service has no header that the gateway does not let through, and its address in the one form that there is.
func FuzzRequest(f *testing.F) {
	h := serveEcho(f.Context(), f, gateway.Config{MaxBody: 4096}).Config.Handler
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, w := answerOf(h, wire)
		if r == nil || r.Context().Err() != nil {
			return
		}
		body := w.Body.Bytes()
		switch known := reason(body); {
		case w.Code < 200 || w.Code == http.StatusInternalServerError && !bytes.Contains(wire, []byte("internal")):
			t.Fatalf("%q is answered with %d %s", wire, w.Code, body)
		case w.Code >= 400 && r.Method != http.MethodHead && known == "" && strings.HasPrefix(r.URL.Path, "/v1/"):
			t.Fatalf("%q is refused with %d and no reason: %s", wire, w.Code, body)
		case known != "" && table.Of(known).Reason != known:
			t.Fatalf("%q is refused with %s, which is no reason", wire, known)
		}
		if _, id, published := strings.Cut(string(body), `"id":"publish `); published {
			to, _, _ := strings.Cut(id, " ")
			if a, err := bus.ParseAddress(to); err == nil && a.String() != to {
				t.Fatalf("%q is published to %s, which is %v", wire, to, a)
			}
			if strings.Contains(id, "stray ") {
				t.Fatalf("%q brings a header to the service: %s", wire, id)
			}
		}
	})
}

// FuzzQuery says that a query is refused, or that all of it is in the request. A key that is unknown, or stands there twice, is never
// passed over.
func FuzzQuery(f *testing.F) {
	h := serveEcho(f.Context(), f, gateway.Config{}).Config.Handler
	f.Fuzz(func(t *testing.T, query string) {
		if strings.ContainsAny(query, " \r\n\t\x00#") {
			return
		}
		r, w := answerOf(h, []byte("GET /v1/channels/a/messages?"+query+" HTTP/1.1\r\nHost: x\r\n\r\n"))
		if r == nil {
			return
		}
		if w.Code != http.StatusOK {
			if known := reason(w.Body.Bytes()); w.Code != http.StatusBadRequest || known != "UNKNOWN_FIELD" && known != "FIELD_INVALID" || w.Body.Len() > 64<<10 {
				t.Fatalf("%q: %d %s", query, w.Code, w.Body)
			}
			return
		}
		values := r.URL.Query()
		seen := map[string]bool{}
		for key, list := range values {
			folded := strings.ToLower(strings.ReplaceAll(key, "_", ""))
			busters := []string{"", "cachebuster", "cb", "nocache", "r", "rnd", "t", "ts"}
			if slices.Contains(busters, folded) {
				continue
			}
			known := []string{"pagesize", "pagetoken", "newestfirst", "forclient", "after.epoch", "after.offset"}
			if len(list) != 1 || seen[folded] || !slices.Contains(known, folded) {
				t.Fatalf("%q is taken, with %s=%q", query, key, list)
			}
			seen[folded] = true
			if _, err := strconv.ParseInt(list[0], 10, 32); folded == "pagesize" && err != nil {
				t.Fatalf("%q is taken with a size of %q", query, list[0])
			}
		}
	})
}

// FuzzLastEvent says that the id of an event is where its stream goes on, or is refused.
func FuzzLastEvent(f *testing.F) {
	h := serveEcho(f.Context(), f, gateway.Config{}).Config.Handler
	f.Fuzz(func(t *testing.T, id string) {
		r, w := answerOf(h, []byte("GET /v1/channels/a/stream HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nLast-Event-ID: "+id+"\r\n\r\n"))
		if r == nil || len(r.Header) != 2 || r.ContentLength != 0 {
			return // more than one header
		}
		id = r.Header.Get("Last-Event-Id")
		if w.Code != http.StatusOK {
			if known := reason(w.Body.Bytes()); w.Code != http.StatusBadRequest || known != "FIELD_INVALID" {
				t.Fatalf("%q: %d %s", id, w.Code, w.Body)
			}
			return
		}
		_, said, _ := strings.Cut(w.Body.String(), `"position":`)
		said, _, _ = strings.Cut(said, "}")
		epoch, offset, _ := strings.Cut(id, "~")
		if i := strings.LastIndexByte(epoch, ':'); i >= 0 {
			epoch, offset = epoch[:i], epoch[i+1:]
		}
		if id == "" || id == "0" {
			return
		}
		n, err := strconv.ParseUint(offset, 10, 64)
		if quoted, _ := json.Marshal(epoch); err != nil || epoch != "" && !strings.Contains(said, string(quoted)) ||
			n != 0 && !strings.Contains(said, `"`+strconv.FormatUint(n, 10)+`"`) {
			t.Fatalf("%q is taken, and the stream goes on at %s", id, said)
		}
	})
}

// FuzzGzip holds the reader of compressed bodies to the library's: it takes what that takes, unless it is too large.
func FuzzGzip(f *testing.F) {
	const limit = 4096
	h := serveEcho(f.Context(), f, gateway.Config{MaxBody: limit}).Config.Handler
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/channels/a:publish", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Encoding", "gzip")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var plain []byte
		unzipped, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			plain, err = io.ReadAll(io.LimitReader(unzipped, limit+1))
		}
		refusal := reason(w.Body.Bytes())
		switch {
		case len(body) > limit || len(plain) > limit:
			if refusal != "MESSAGE_TOO_LARGE" {
				t.Fatalf("%d bytes, %d of them unzipped: %d %s", len(body), len(plain), w.Code, w.Body)
			}
		case err != nil:
			if w.Code != http.StatusBadRequest || refusal != "INVALID_JSON" {
				t.Fatalf("%q is no gzip (%v): %d %s", body, err, w.Code, w.Body)
			}
		default:
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/channels/a:publish", bytes.NewReader(plain))
			if err != nil {
				t.Fatal(err)
			}
			same := httptest.NewRecorder()
			h.ServeHTTP(same, r)
			if same.Code != w.Code || reason(same.Body.Bytes()) != refusal {
				t.Fatalf("%q in gzip is %d %s, plain %d %s", plain, w.Code, w.Body, same.Code, same.Body)
			}
		}
	})
}
