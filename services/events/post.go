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
)

// failure is why a request failed: never with its URL, which may hold a secret.
type failure struct {
	text    string
	refused bool          // the receiver answered, and not that it is to come later
	after   time.Duration // what Retry-After asks for
}

func (f *failure) Error() string { return f.text }

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

// post makes one request.
func (w *Webhook) post(ctx context.Context, client *http.Client, id string, body []byte) error {
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
	resp, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
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
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
