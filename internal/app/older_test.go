package app_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// On a port that relay and rooms share, each answers on its own paths, and what is nobody's is answered as the relay answers it.
func TestOlder_sharedPort(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	at := l.Addr().String()
	testkit.Check(t, l.Close())
	apptest.Start(t, apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"relay", "rooms"}, true }),
		apptest.Setting(t, "legacy.relay.http_listen", at), apptest.Setting(t, "legacy.rooms.listen", at))
	for path, want := range map[string]string{
		"/token": "token", "/roomid": "1", "/ws/1": "Bad Request", "/ws/1/2": `{"message":"Not Found"}`, "/unknown": "METHOD_UNKNOWN",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+path, nil)
		testkit.Check(t, err)
		if status, body := do(t, req); !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
}

// Calls and open sockets of the older protocols are counted where the documents say, also where the protocols are open.
func TestOlder_isCounted(t *testing.T) {
	h := apptest.Start(t, apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"all"}, true }))
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Legacy["relay.http"]+"/token", nil)
		testkit.Check(t, err)
		do(t, req)
	}
	push, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Legacy["pushserver.http"]+"/sysadmin", nil)
	testkit.Check(t, err)
	do(t, push)
	for _, url := range []string{h.Legacy["rooms.listen"] + "/ws/1", h.Legacy["pushserver.websocket"] + "/", h.Legacy["facility.listen"] + "/ws/f?subscribe-broadcast"} {
		ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+url, nil)
		if err != nil {
			t.Fatalf("%s: %v in %v", url, err, h.Legacy)
		}
		testkit.Check(t, resp.Body.Close())
		defer func() { _ = ws.Close() }()
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Processes[0].Internal+"/metrics", nil)
	testkit.Check(t, err)
	_, text := do(t, req)
	for _, line := range []string{
		`grpc_server_handled_total{grpc_code="OK",grpc_method="CreateRelayToken",grpc_service="trunkline.legacy.v1.RelayService",grpc_type="unary"} 3`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="GetPushStatistics",grpc_service="trunkline.legacy.v1.PushServerService",grpc_type="unary"} 1`,
		`trunkline_edge_dialect_connections{dialect="rooms"} 1`,
		`trunkline_edge_dialect_connections{dialect="pushserver"} 1`,
		`trunkline_edge_dialect_connections{dialect="facility"} 1`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the metrics have no %s", line)
		}
	}
}
