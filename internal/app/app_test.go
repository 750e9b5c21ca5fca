package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/client"
	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inbox is where a client's messages wait for the test.
type inbox chan *publishv1.Message

func (in inbox) next(tb testing.TB) *publishv1.Message {
	tb.Helper()
	select {
	case m := <-in:
		return m
	case <-time.After(10 * time.Second):
		tb.Fatal("no message came")
		return nil
	}
}

func TestRun_OneProcess(t *testing.T) {
	h := apptest.Start(t)
	ctx := t.Context()
	for _, spelling := range []struct {
		name string
		json bool
	}{{"protobuf", false}, {"JSON", true}} {
		t.Run(spelling.name, func(t *testing.T) {
			got := make(inbox, 100)
			token := h.Token(t, &authv1.IssueTokenRequest{Client: "c1", User: "ada", Session: "s1", Groups: []string{"g1"}}, "channels/*")
			c := h.Connect(t, client.Config{
				JSON: spelling.json, OnMessage: func(m *publishv1.Message) { got <- m },
				Token: func(context.Context) (string, error) { return token, nil },
			})
			if _, err := c.Subscribe(ctx, client.Subscription{Address: "channels/demo:" + spelling.name}); err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{"clients/c1", "users/ada", "sessions/s1", "groups/g1", "broadcast", "channels/demo:" + spelling.name} {
				data := fmt.Sprintf(`{"to":%q}`, to)
				if _, err := h.Publish.Publish(ctx, &publishv1.PublishRequest{To: to, Data: []byte(data)}); err != nil {
					t.Fatalf("publish to %s: %v", to, err)
				}
				if m := got.next(t); m.GetTo() != to || string(m.GetData()) != data {
					t.Errorf("published %s to %s, got %s to %s", data, to, m.GetData(), m.GetTo())
				}
			}
			sent, err := c.Publish(ctx, &publishv1.PublishRequest{
				To: "channels/demo:" + spelling.name, Data: []byte("plain"), ContentType: publishv1.ContentType_CONTENT_TYPE_TEXT,
			})
			if err != nil {
				t.Fatal(err)
			}
			if m := got.next(t); m.GetId() != sent.GetId() || string(m.GetData()) != "plain" || m.GetSender().GetUser() != "ada" {
				t.Errorf("got %v", m)
			}
			page, err := c.History(ctx, &publishv1.ListMessagesRequest{Address: "channels/demo:" + spelling.name})
			if err != nil || len(page.GetMessages()) != 2 || string(page.GetMessages()[1].GetData()) != "plain" {
				t.Errorf("history: %v, %v", page, err)
			}
		})
	}
	t.Run("REST", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, h.HTTP+"/v1/channels/orders:eu:publish", strings.NewReader(`{"data":{"text":"hello"}}`))
		if status, _ := do(t, req); status != http.StatusUnauthorized {
			t.Errorf("without credentials: %d", status)
		}
		req, _ = http.NewRequestWithContext(ctx, http.MethodPost, h.HTTP+"/v1/channels/orders:eu:publish", strings.NewReader(`{"data":{"text":"hello"}}`))
		req.Header.Set("Authorization", "Bearer "+h.AdminKey)
		if status, body := do(t, req); status != http.StatusOK || !strings.Contains(body, `"offset"`) {
			t.Errorf("with the key: %d %s", status, body)
		}
	})
	t.Run("nodes", func(t *testing.T) {
		resp, err := h.Admin.ListNodes(ctx, &adminv1.ListNodesRequest{})
		if err != nil || len(resp.GetNodes()) != 1 || len(resp.GetNodes()[0].GetRoles()) != 4 {
			t.Errorf("nodes: %v, %v", resp, err)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.Internal+"/metrics", nil)
		_, body := do(t, req)
		for _, want := range []string{"trunkline_build_info", "grpc_server_handled_total", "trunkline_edge_connections"} {
			if !strings.Contains(body, want) {
				t.Errorf("/metrics has no %s", want)
			}
		}
	})
	if log := h.Processes[0].Log(); strings.Contains(log, h.AdminKey) {
		t.Error("the log shows the API key")
	}
}

func do(tb testing.TB, req *http.Request) (int, string) {
	tb.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestRun_Development(t *testing.T) {
	h := apptest.Start(t, apptest.Dev())
	ask := func(origin string) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, h.HTTP+"/dev/token", nil)
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		return do(t, req)
	}
	if status, body := ask(""); status != http.StatusOK || !strings.Contains(body, `"token"`) {
		t.Errorf("/dev/token = %d %s", status, body)
	}
	if status, body := ask("https://evil.test"); status != http.StatusForbidden {
		t.Errorf("/dev/token for another site = %d %s", status, body)
	}
	anonymous := publishv1.NewPublishServiceClient(apptest.Dial(t, h.GRPC, ""))
	if _, err := anonymous.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte("1")}); err != nil {
		t.Errorf("a local caller without credentials: %v", err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, h.HTTP+"/", nil)
	if status, body := do(t, req); status != http.StatusOK || !strings.Contains(body, "demo") {
		t.Errorf("the welcome page = %d", status)
	}
}

func TestRun_ProductionHasNothingOpen(t *testing.T) {
	h := apptest.Start(t)
	anonymous := publishv1.NewPublishServiceClient(apptest.Dial(t, h.GRPC, ""))
	if _, err := anonymous.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte("1")}); err == nil {
		t.Error("a caller without credentials may publish")
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, h.HTTP+"/dev/token", nil)
	if status, _ := do(t, req); status != http.StatusNotFound {
		t.Errorf("/dev/token = %d", status)
	}
}

func TestRun_PortInUse(t *testing.T) {
	h := apptest.Start(t)
	cfg := app.Default()
	cfg.Dev = true
	cfg.HTTP.Listen, cfg.GRPC.Listen, cfg.Internal.Listen = strings.TrimPrefix(h.HTTP, "http://"), "127.0.0.1:0", "127.0.0.1:0"
	err := app.Run(t.Context(), cfg, app.Options{Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "http.listen") || !strings.Contains(err.Error(), "another program listens there") {
		t.Errorf("Run = %v", err)
	}
}

func TestRun_StopsWithClientsConnected(t *testing.T) {
	h := apptest.Start(t)
	gone := make(chan error, 10)
	h.Connect(t, client.Config{OnDisconnected: func(err error) {
		select {
		case gone <- err:
		default:
		}
	}})
	if err := h.Processes[0].Stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-gone; err == nil || !strings.Contains(err.Error(), "SERVER_DRAINING") {
		t.Errorf("the client was told %v", err)
	}
}
