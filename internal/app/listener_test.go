package app_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
)

// Callers that keep their connection are told to close it before the door closes: no request of theirs is left without an answer.
func TestStop_tellsKeptConnections(t *testing.T) {
	h := apptest.Start(t, apptest.With(func(c *config.Config) { c.ShutdownDelay = 3 * time.Second }))
	const callers = 8
	begun, told := make(chan struct{}, callers), make(chan bool, callers)
	var g sync.WaitGroup
	for range callers {
		g.Go(func() {
			kept := &http.Transport{}
			defer kept.CloseIdleConnections()
			for first := true; ; first = false {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, h.HTTP+"/v1/channels/demo:publish", strings.NewReader(`{"data":1}`))
				req.Header.Set("Authorization", "Bearer "+h.AdminKey)
				resp, err := kept.RoundTrip(req)
				if err != nil {
					t.Errorf("a request was left without an answer: %v", err)
					told <- false
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("a request was answered with %s", resp.Status)
				}
				if first {
					begun <- struct{}{}
				}
				if resp.Close {
					told <- true
					return
				}
			}
		})
	}
	for range callers {
		<-begun
	}
	stopped := make(chan error, 1)
	g.Go(func() { stopped <- h.Processes[0].Stop() })
	for range callers {
		if !<-told {
			t.Error("a caller was not told")
		}
	}
	readiness(t, h, http.StatusServiceUnavailable, "[-] running: stopping") // while the port is open
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	g.Wait()
}
