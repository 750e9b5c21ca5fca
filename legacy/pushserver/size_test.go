package pushserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/client"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A message of a size that the original took is pushed to clients on every edge, to native ones too, and is in the history.
func TestSize_largeMessagesArrive(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		token := h.create(t, "news")
		clients := []*subscriber{h.dial(t, 0, "/"), h.dial(t, 1, "/")}
		got := make(chan *publishv1.Message, 8)
		native := h.Connect(t, client.Config{OnMessage: func(m *publishv1.Message) { got <- m }})
		_, err := native.Subscribe(t.Context(), client.Subscription{Address: "channels/news"})
		testkit.Check(t, err)
		for _, c := range clients {
			c.subscribe("news")
		}
		for _, text := range []string{strings.Repeat("x", 100_000), strings.Repeat("ä", 800_000)} {
			if r := h.push(t, "news", token, text); r.Message != "Sent" {
				t.Fatalf("push: %.200v", r)
			}
			for i, c := range clients {
				if p := c.pushed(); p != text {
					t.Errorf("client %d is sent %d bytes of %d", i, len(p), len(text))
				}
			}
			if m := <-got; string(m.GetData()) != text {
				t.Errorf("a native client is sent %d bytes of %d", len(m.GetData()), len(text))
			}
		}
		var kept int
		for page := ""; ; {
			list, err := h.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/news", PageToken: page})
			testkit.Check(t, err)
			kept += len(list.GetMessages())
			if page = list.GetNextPageToken(); page == "" {
				break
			}
		}
		if kept != 2 {
			t.Errorf("%d messages are in the history, want 2", kept)
		}
	})
}

// A body may be as large as JSON makes its message: other programs escape every letter beyond ASCII.
func TestSize_escapedBodies(t *testing.T) {
	h := start(t)
	token := h.create(t, "news")
	c := h.dial(t, 0, "/")
	c.subscribe("news")
	body, err := json.Marshal(map[string]any{
		"messageType": "SERVER_ACTION", "action": "PUSH_MESSAGE",
		"data": map[string]any{"channel": "news", "channelToken": token, "recipients": []string{}, "message": "TEXT"},
	})
	testkit.Check(t, err)
	escaped := strings.Replace(string(body), "TEXT", strings.Repeat(`\u00e4`, 1_500_000), 1)
	if r := h.post(t, "/push", []byte(escaped), nil); r.Message != "Sent" {
		t.Fatalf("push: %.200v", r)
	}
	if text := c.pushed(); text != strings.Repeat("ä", 1_500_000) {
		t.Errorf("%d bytes arrived", len(text))
	}
}

// One connection is subscribed to many more channels than native ones may be. A client that sends all its commands before it
// reads an answer loses none of them.
func TestSubscriptions_many(t *testing.T) {
	const channels = 600
	h := start(t, apptest.With(func(c *config.Config) {
		c.Edge.CommandsPerSecond, c.Edge.CommandBurst, c.Edge.QueueBytes = 10_000, 10_000, 64<<10
		settings(c).MaxMessage = 1 << 10
	}))
	name := func(i int) string { return fmt.Sprintf("%s-%d", strings.Repeat("a-long-name", 20), i) }
	tokens := make([]string, channels)
	for i := range channels {
		tokens[i] = h.create(t, name(i))
	}
	c := h.dial(t, 0, "/")
	for i := range channels {
		testkit.Check(t, c.ws.WriteJSON(map[string]any{
			"messageType": "CLIENT_ACTION", "action": "SUBSCRIBE", "data": map[string]string{"channel": name(i)},
		}))
	}
	for i := range channels {
		if f := c.next(); f.Code != http.StatusOK || len(f.Data.Subscribed) != i+1 {
			t.Fatalf("command %d is answered with %.200v", i, f)
		}
	}
	for _, i := range []int{0, 128, 129, channels - 1} {
		h.push(t, name(i), tokens[i], fmt.Sprint(i))
		if text := c.pushed(); text != fmt.Sprint(i) {
			t.Errorf("channel %d: got %q", i, text)
		}
	}
}
