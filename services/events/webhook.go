package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// Webhook is one receiver of events.
type Webhook struct {
	// Name is what its place in the log is kept under, and a label of its metrics. Required.
	Name string
	// URL is where requests go. Required.
	URL string
	// Secrets sign the requests, each on its own; one at the least.
	Secrets []Secret
	// Kinds are the events that are sent; all when empty. Gaps are sent in any case.
	Kinds []bus.EventKind
	// AllowPrivate lets requests go to addresses of private networks and of this host, and without TLS.
	AllowPrivate bool
	// Timeout is for one request; 10 s by default. GiveUpAfter is how old an event may be that is tried again; 24 h by default.
	Timeout, GiveUpAfter time.Duration
	// GiveUpTries is how often an event may be refused before it is given up; 12 by default. No answer, and one that says later,
	// is no refusal.
	GiveUpTries int
	// Batch is how many events one request may have; 1 by default, and then the event is the body.
	Batch int
}

// sender sends the log to one webhook: one request after the other, each until it is taken or given up. Of several processes
// one sends: the one that holds the webhook's cursor.
type sender struct {
	Webhook
	server  *Server
	owner   string
	client  *http.Client
	metrics *webhookMetrics

	// Of the goroutine that sends.
	at       bus.Position // of the last event that is done with
	noted    bus.Position // of the cursor
	waiting  []entry      // read and not sent yet: fewer than a request takes
	size     int          // how many events the next request has at most; from 1 to Batch
	failures int          // in a row
	refusals int          // of the same event, in a row
	given    bool         // an event was given up since the last one that was taken
}

type webhookMetrics struct {
	deliveries *prometheus.CounterVec
	lag        *prometheus.GaugeVec
}

func newSenders(s *Server, reg prometheus.Registerer) ([]*sender, error) {
	if len(s.cfg.Webhooks) == 0 {
		return nil, nil
	}
	m := &webhookMetrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_webhook_deliveries_total", Help: "Requests to webhooks that were taken (sent) or failed, and events given up (dropped).",
		}, []string{"webhook", "outcome"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trunkline_webhook_lag_seconds", Help: "Age of the event that a webhook has to take next; 0 when it has taken all.",
		}, []string{"webhook"}),
	}
	if reg != nil {
		reg.MustRegister(m.deliveries, m.lag)
	}
	var all []*sender
	for _, w := range s.cfg.Webhooks {
		u, err := url.Parse(w.URL)
		switch {
		case w.Name == "" || slices.ContainsFunc(all, func(o *sender) bool { return o.Name == w.Name }):
			return nil, fmt.Errorf("webhook %q: the name is empty or taken", w.Name)
		case err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !w.AllowPrivate):
			return nil, fmt.Errorf("webhook %q: the URL is not https", w.Name) // which may hold a secret
		case len(w.Secrets) == 0:
			return nil, fmt.Errorf("webhook %q: there is no secret to sign with", w.Name)
		}
		if w.Timeout <= 0 {
			w.Timeout = 10 * time.Second
		}
		if w.GiveUpAfter <= 0 {
			w.GiveUpAfter = 24 * time.Hour
		}
		if w.GiveUpTries <= 0 {
			w.GiveUpTries = 12
		}
		w.Batch = max(w.Batch, 1)
		for _, outcome := range []string{"sent", "failed", "dropped"} {
			m.deliveries.WithLabelValues(w.Name, outcome)
		}
		m.lag.WithLabelValues(w.Name)
		all = append(all, &sender{
			Webhook: w, server: s, owner: s.cfg.Node + "~" + uuid.NewString(), client: newClient(w.AllowPrivate), metrics: m,
		})
	}
	return all, nil
}

func (w *sender) count(outcome string) { w.metrics.deliveries.WithLabelValues(w.Name, outcome).Inc() }

func (w *sender) lag(since time.Time) {
	lag := 0.0
	if !since.IsZero() {
		lag = max(time.Since(since).Seconds(), 0)
	}
	w.metrics.lag.WithLabelValues(w.Name).Set(lag)
}

// wants says whether an event is sent.
func (w *sender) wants(e bus.Event) bool {
	return len(w.Kinds) == 0 || e.Kind == bus.EventGap || slices.Contains(w.Kinds, e.Kind)
}

// failure is why a request failed: never with its URL, which may hold a secret.
type failure struct {
	text    string
	refused bool          // the receiver answered, and not that it is to come later
	after   time.Duration // what Retry-After asks for
}

// later are the answers that are no refusal of what was sent.
var later = []int{
	http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable,
	http.StatusGatewayTimeout,
}

// refused says whether the receiver has answered that it does not take what was sent.
func refused(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.refused
}

func (f *failure) Error() string { return f.text }

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 64 << 10

// post makes one request.
func (w *sender) post(ctx context.Context, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return &failure{text: "the request cannot be made"}
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "trunkline")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("Webhook-Signature", signatures(w.Secrets, id, now, body))
	resp, err := w.client.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return &failure{text: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // what it says does not matter
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return &failure{
		text: fmt.Sprintf("it answered with the status %d", resp.StatusCode), after: retryAfter(resp.Header, now),
		refused: !slices.Contains(later, resp.StatusCode),
	}
}

// maxRetryAfter is the longest pause that a receiver may ask for.
const maxRetryAfter = time.Hour

// retryAfter reads Retry-After (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second //nolint:gosec // 32 bits
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
