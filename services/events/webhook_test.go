package events_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/events"
)

// taken is one request as a receiver has it.
type taken struct {
	id, kind string
	data     map[string]any
	at       time.Time
}

// receiver is a receiver of webhooks. answer says what becomes of its nth request, from 0; nil takes all.
type receiver struct {
	*httptest.Server
	tb       testing.TB
	requests chan taken // what was taken
	mu       sync.Mutex
	tries    []taken
}

var keys = [][]byte{bytes.Repeat([]byte("a1"), 16), bytes.Repeat([]byte("b2"), 12)}

func whsec(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }

func secrets(tb testing.TB) []hooks.Secret {
	tb.Helper()
	var all []hooks.Secret
	for _, k := range keys {
		s, err := hooks.ParseSecret(whsec(k))
		testkit.Check(tb, err)
		all = append(all, s)
	}
	return all
}

func receive(tb testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request) bool) *receiver {
	tb.Helper()
	rec := &receiver{tb: tb, requests: make(chan taken, 1<<12)}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one := rec.verify(r)
		rec.mu.Lock()
		n := len(rec.tries)
		rec.tries = append(rec.tries, one)
		rec.mu.Unlock()
		if answer == nil || answer(n, w, r) {
			rec.requests <- one
		}
	}))
	tb.Cleanup(rec.Close)
	return rec
}

// verify reads a request and checks its signatures as the standard says.
func (rec *receiver) verify(r *http.Request) taken {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		rec.tb.Error(err)
	}
	id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	var want []string
	for _, k := range keys {
		mac := hmac.New(sha256.New, k)
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
		want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if got := r.Header.Get("webhook-signature"); got != strings.Join(want, " ") {
		rec.tb.Errorf("the signature is %q, want %q", got, want)
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if d := time.Since(time.Unix(seconds, 0)); err != nil || d < -time.Second || d > 5*time.Second {
		rec.tb.Errorf("the timestamp is %q", stamp)
	}
	var event struct {
		Type      string
		Timestamp time.Time
		Data      map[string]any
	}
	if err := json.Unmarshal(body, &event); err != nil || event.Timestamp.IsZero() || event.Data["id"] != id {
		rec.tb.Errorf("the body is %s: %v", body, err)
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		rec.tb.Errorf("the request is %s %v", r.Method, r.Header)
	}
	return taken{id, event.Type, event.Data, time.Now()}
}

func (rec *receiver) next() taken {
	rec.tb.Helper()
	select {
	case r := <-rec.requests:
		return r
	case <-time.After(15 * time.Second):
		rec.tb.Fatal("no request came")
		return taken{}
	}
}

// expect takes the events of these names next, in order.
func (rec *receiver) expect(names ...string) {
	rec.tb.Helper()
	for _, name := range names {
		if r := rec.next(); r.id != bus.EventID(name) {
			rec.tb.Fatalf("got %+v, want %s", r, name)
		}
	}
}

func (rec *receiver) attempts() []taken {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.tries)
}

// sending returns a configuration with one webhook.
func sending(tb testing.TB, rec *receiver, edit ...func(*events.Webhook)) events.Config {
	tb.Helper()
	w := events.Webhook{Name: "hook", URL: rec.URL + "/path-secret", Secrets: secrets(tb), AllowPrivate: true}
	for _, f := range edit {
		f(&w)
	}
	cfg := on()
	cfg.Node, cfg.Webhooks = "node", []events.Webhook{w}
	cfg.Lease, cfg.RetryMin, cfg.RetryMax = 500*time.Millisecond, time.Millisecond, 20*time.Millisecond
	return cfg
}

// begin puts the webhook's place after a first event, so that nothing of what follows is before it.
func begin(tb testing.TB, store *memory.Store) *fixture {
	tb.Helper()
	h := &fixture{tb: tb, store: store}
	at := h.write(bus.EventConnected, "begin")
	_, _, err := store.Claim(tb.Context(), "webhook:hook", "test", time.Minute)
	testkit.Check(tb, err)
	_, err = store.Advance(tb.Context(), "webhook:hook", "test", at, time.Minute)
	testkit.Check(tb, err)
	testkit.Check(tb, store.Release(tb.Context(), "webhook:hook", "test"))
	return h
}

func TestWebhook_staysInOrderThroughFailures(t *testing.T) {
	rec := receive(t, func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 0, 4:
			w.WriteHeader(http.StatusInternalServerError)
			return false
		case 1, 5:
			<-r.Context().Done() // no answer in time
			return false
		}
		return true
	})
	store := newStore()
	w := begin(t, store)
	cfg := sending(t, rec, func(w *events.Webhook) { w.Timeout = 100 * time.Millisecond })
	h := start(t, store, cfg)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint(i))
		w.write([]bus.EventKind{bus.EventConnected, bus.EventStored}[i%2], names[i])
	}
	rec.expect(names...)
	if tries := rec.attempts(); tries[0].id != tries[1].id || tries[1].id != tries[2].id || len(tries) != 44 {
		t.Errorf("%d tries: %+v", len(tries), tries[:6])
	}
	for outcome, want := range map[string]float64{"sent": 40, "failed": 4, "dropped": 0} {
		testkit.Eventually(t, outcome+" is counted", func() bool { return h.deliveries(outcome) == want })
	}
	h.stop()
	// What was taken is noted: the next process goes on after it.
	w.write(bus.EventConnected, "later")
	start(t, store, cfg)
	rec.expect("later")
}

// deliveries returns what the metric counts, and lag how far the webhook is behind.
func (h *fixture) deliveries(outcome string) float64 {
	return h.metric("trunkline_webhook_deliveries_total", outcome)
}
func (h *fixture) lag() float64 { return h.metric("trunkline_webhook_lag_seconds", "hook") }

func (h *fixture) metric(name, label string) float64 {
	h.tb.Helper()
	families, err := h.reg.Gather()
	testkit.Check(h.tb, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == label {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	h.tb.Fatalf("%s has no %s", name, label)
	return 0
}

// Of two processes one sends; the other one takes over when the first stops, and when the holder has died, after the lease.
func TestWebhook_oneSends(t *testing.T) {
	store := newStore()
	w := begin(t, store)
	one, two := receive(t, nil), receive(t, nil)
	first := start(t, store, sending(t, one))
	w.write(bus.EventConnected, "0")
	one.expect("0")
	second := start(t, store, sending(t, two))
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("a", i))
		w.write(bus.EventConnected, names[i])
	}
	one.expect(names...)
	first.stop()
	w.write(bus.EventDisconnected, "b")
	two.expect("b")
	if n := len(two.attempts()); n != 1 {
		t.Errorf("both have sent: %d", n)
	}
	second.stop()
	const lease = 400 * time.Millisecond
	died := time.Now()
	if _, held, err := store.Claim(t.Context(), "webhook:hook", "a process that died", lease); !held || err != nil {
		t.Fatal(held, err)
	}
	start(t, store, sending(t, one))
	w.write(bus.EventConnected, "c")
	one.expect("c")
	tries := one.attempts()
	if d := tries[len(tries)-1].at.Sub(died); d < lease {
		t.Errorf("it took over after %v", d)
	}
}

func TestWebhook_givesUp(t *testing.T) {
	bad := bus.EventID("bad")
	rec := receive(t, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("webhook-id") == bad {
			w.WriteHeader(http.StatusTeapot)
			return false
		}
		return true
	})
	store := newStore()
	w := begin(t, store)
	var log bytes.Buffer
	cfg := sending(t, rec, func(w *events.Webhook) { w.GiveUpAfter = 200 * time.Millisecond })
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	h := start(t, store, cfg)
	w.write(bus.EventConnected, "bad")
	w.write(bus.EventConnected, "good")
	rec.expect("good")
	h.stop()
	if n := h.deliveries("dropped"); n != 1 {
		t.Errorf("%v were dropped", n)
	}
	text := log.String()
	if strings.Count(text, "given up") != 1 || strings.Count(text, "does not take") != 1 || !strings.Contains(text, "418") {
		t.Errorf("the log is %s", text)
	}
	for _, hidden := range []string{"path-secret", whsec(keys[0]), base64.StdEncoding.EncodeToString(keys[0])} {
		if strings.Contains(text, hidden) {
			t.Errorf("the log has %s", hidden)
		}
	}
}

func TestWebhook_honoursRetryAfter(t *testing.T) {
	rec := receive(t, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n == 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n > 0
	})
	store := newStore()
	w := begin(t, store)
	h := start(t, store, sending(t, rec))
	w.write(bus.EventConnected, "a")
	testkit.Eventually(t, "it lags", func() bool { return h.lag() > 0 })
	rec.expect("a")
	testkit.Eventually(t, "it has caught up", func() bool { return h.lag() == 0 })
	tries := rec.attempts()
	if d := tries[1].at.Sub(tries[0].at); d < time.Second {
		t.Errorf("it came back after %v", d)
	}
}

func TestWebhook_kindsAndGaps(t *testing.T) {
	rec := receive(t, nil)
	store := newStore()
	w := begin(t, store)
	for i := range keep.Length + 5 {
		w.write(bus.EventConnected, fmt.Sprint(i))
	}
	w.write(bus.EventExpired, "x")
	start(t, store, sending(t, rec, func(w *events.Webhook) { w.Kinds = []bus.EventKind{bus.EventExpired} }))
	if g := rec.next(); g.kind != "gap" || g.data["reason"] != string(bus.GapTrimmed) || g.data["after"] == nil || g.data["position"] == nil {
		t.Errorf("got %+v", g)
	}
	if r := rec.next(); r.kind != "expired" || r.data["connection"] != "x" || r.data["position"].(map[string]any)["offset"] != fmt.Sprint(keep.Length+7) {
		t.Errorf("got %+v", r)
	}
}

// A webhook that is new begins now.
func TestWebhook_beginsNow(t *testing.T) {
	rec := receive(t, nil)
	h := &fixture{tb: t, store: newStore()}
	h.write(bus.EventConnected, "old")
	start(t, h.store, sending(t, rec))
	n := 0
	testkit.Eventually(t, "something is sent", func() bool {
		h.write(bus.EventConnected, fmt.Sprint(n))
		n++
		return len(rec.attempts()) > 0
	})
	if r := rec.next(); r.id == bus.EventID("old") {
		t.Error("it was sent what was there before")
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
