package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/trunkline/trunkline/client"
	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// TestRun_SplitOverRedis runs auth, publish, gateway and two edges as processes of their own. Connections outlive a restart of Redis
// when it keeps a file. When it does not, revocations may be lost: connections end, and their clients come back with new tokens.
func TestRun_SplitOverRedis(t *testing.T) {
	t.Run("with a file", func(t *testing.T) { runSplit(t, 1, "--appendonly", "yes", "--appendfsync", "always") })
	t.Run("without one", func(t *testing.T) { runSplit(t, 2) })
}

// runSplit also checks how many tokens each client needs.
func runSplit(t *testing.T, tokens int64, redis ...string) {
	server := redistest.Start(t, redis...)
	h := apptest.Start(t, apptest.Redis(server.URL()), apptest.Split(2))
	ctx := t.Context()
	var boxes []inbox
	fetched := make([]atomic.Int64, len(h.Edges))
	opened := make(chan int, 10)
	for i, edge := range h.Edges {
		in := make(inbox, 100)
		c := h.Connect(t, client.Config{
			URL: edge, JSON: i == 1, OnMessage: func(m *publishv1.Message) { in <- m },
			Token: func(context.Context) (string, error) {
				fetched[i].Add(1)
				return h.Token(t, &authv1.IssueTokenRequest{Client: fmt.Sprintf("c%d", i), User: "ada"}, "channels/*"), nil
			},
			OnConnected: func(*edgev1.Connected) { opened <- i },
		})
		if _, err := c.Subscribe(ctx, client.Subscription{Address: "channels/orders:eu"}); err != nil {
			t.Fatal(err)
		}
		boxes = append(boxes, in)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, h.HTTP+"/v1/channels/orders:eu:publish", strings.NewReader(`{"data":{"n":1}}`))
	req.Header.Set("Authorization", "Bearer "+h.AdminKey)
	if status, body := do(t, req); status != http.StatusOK {
		t.Fatalf("publish through REST: %d %s", status, body)
	}
	if _, err := h.Publish.Publish(ctx, &publishv1.PublishRequest{To: "users/ada", Data: []byte(`{"n":2}`)}); err != nil {
		t.Fatal(err)
	}
	for i, in := range boxes {
		got := map[string]string{}
		for range 2 {
			m := in.next(t)
			got[m.GetTo()] = string(m.GetData())
		}
		if got["channels/orders:eu"] != `{"n":1}` || got["users/ada"] != `{"n":2}` {
			t.Errorf("edge %d delivered %v", i, got)
		}
	}
	nodes, err := h.Admin.ListNodes(ctx, &adminv1.ListNodesRequest{})
	if err != nil || len(nodes.GetNodes()) != 5 {
		t.Errorf("nodes: %v, %v; want auth, publish, gateway and two edges", nodes, err)
	}
	// What has to do without Redis says so, and recovers by itself.
	server.Kill9()
	publish := h.Processes[1]
	publish.WaitNotReady(t)
	server.Restart()
	for _, p := range h.Processes {
		p.WaitReady(t)
	}
	for range tokens * int64(len(h.Edges)) {
		<-opened
	}
	if _, err := h.Publish.Publish(ctx, &publishv1.PublishRequest{To: "channels/orders:eu", Data: []byte(`{"n":3}`)}); err != nil {
		t.Fatal(err)
	}
	for i, in := range boxes {
		if m := in.next(t); string(m.GetData()) != `{"n":3}` {
			t.Errorf("edge %d delivered %s after the restart", i, m.GetData())
		}
		if n := fetched[i].Load(); n != tokens {
			t.Errorf("client %d needed %d tokens, want %d", i, n, tokens)
		}
	}
}
