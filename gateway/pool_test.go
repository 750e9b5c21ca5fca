package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

// open opens a stream without a socket, and calls told with its status; it returns when the stream has ended.
func openStream(ctx context.Context, h http.Handler, path, credential string, told func(int)) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	r.Header.Set("Authorization", credential)
	h.ServeHTTP(&quietWriter{told: told, header: http.Header{}}, r)
}

// quietWriter keeps the status of an answer and nothing else.
type quietWriter struct {
	header http.Header
	told   func(int)
}

func (w *quietWriter) Header() http.Header         { return w.header }
func (w *quietWriter) WriteHeader(status int)      { w.told(status) }
func (w *quietWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *quietWriter) Flush()                      {}

// Streams that are open, however many, are in nobody's way.
func TestStreams_leaveCallsAlone(t *testing.T) {
	s, key := serveServices(t)
	credential := strings.TrimPrefix(key, "Authorization: ")
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	const tokens, each = 30, 50
	var open, refused atomic.Int64
	for i := range tokens {
		got := testkit.Send(t, s, "POST", "/v1/tokens:issue", fmt.Sprintf(`{"user":"u%d"}`, i), key)
		var issued struct{ Token string }
		testkit.Check(t, json.Unmarshal([]byte(got.Body), &issued))
		for range each {
			running.Go(func() {
				openStream(ctx, s.Config.Handler, "/v1/broadcast/stream", "Bearer "+issued.Token, func(status int) {
					if status == http.StatusOK {
						open.Add(1)
					} else {
						refused.Add(1)
					}
				})
			})
		}
	}
	testkit.Eventually(t, "every stream is open", func() bool { return open.Load()+refused.Load() == tokens*each })
	if refused.Load() > 0 {
		t.Errorf("%d streams were refused", refused.Load())
	}
	began := time.Now()
	for range 20 {
		if got := testkit.Send(t, s, "POST", "/v1/channels/demo:publish", `{"data":1}`, "Authorization: "+credential); got.Status != http.StatusOK {
			t.Fatalf("with %d streams open a publish is %d %s", open.Load(), got.Status, got.Body)
		}
	}
	t.Logf("%d streams are open; 20 publishes took %s", open.Load(), time.Since(began).Round(time.Millisecond))
}
