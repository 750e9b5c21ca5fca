package events_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/trunkline/trunkline/services/events"
)

// FuzzRetryAfter says that a receiver makes a webhook wait for a while at the longest, and as long as it says up to there.
func FuzzRetryAfter(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, text string) {
		got := events.RetryAfter(http.Header{"Retry-After": {text}}, now)
		if got < 0 || got > time.Hour {
			t.Errorf("%q is %v", text, got)
		}
		if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 60 && text[0] != '+' && text[0] != '-' && got != time.Duration(n)*time.Second {
			t.Errorf("%q is %v", text, got)
		}
		if at, err := http.ParseTime(text); err == nil && at.Before(now) && got != 0 {
			t.Errorf("%q is over, and is %v", text, got)
		}
	})
}
