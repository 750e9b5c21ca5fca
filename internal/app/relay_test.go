package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// TestRun_Relay takes one message the whole way through the older relay's two listeners.
func TestRun_Relay(t *testing.T) {
	relay := apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay"}, true })
	for name, opts := range map[string][]apptest.Option{
		"memory": {relay},
		"redis":  {relay, apptest.Redis(redistest.Start(t).URL()), apptest.Split(1)},
	} {
		t.Run(name, func(t *testing.T) {
			h := apptest.Start(t, opts...)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Legacy["relay.http"]+"/token", nil)
			status, body := do(t, req)
			var made struct{ Token string }
			if err := json.Unmarshal([]byte(body), &made); status != http.StatusOK || err != nil || made.Token == "" {
				t.Fatalf("GET /token = %d %s", status, body)
			}
			ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+h.Legacy["relay.websocket"]+"/ws?token="+made.Token, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			defer func() { _ = ws.Close() }()
			got := make(chan string, 1)
			go func() {
				_, data, err := ws.ReadMessage()
				if err != nil {
					data = []byte(err.Error())
				}
				got <- string(data)
			}()
			// The protocol has no answer to a connect, so it is sent until it arrives.
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for end := time.After(20 * time.Second); ; {
				record := `{"uuid_local":"a","uuid_remote":"` + made.Token + `","message":"hello"}`
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.Legacy["relay.http"]+"/publish", strings.NewReader(record))
				req.Header.Set("Content-Type", "application/json")
				if status, body := do(t, req); status != http.StatusOK {
					t.Fatalf("POST /publish = %d %s", status, body)
				}
				select {
				case data := <-got:
					if data != `{"message":"hello"}` {
						t.Errorf("the client got %s", data)
					}
					return
				case <-tick.C:
				case <-end:
					t.Fatal("nothing arrived")
				}
			}
		})
	}
}
