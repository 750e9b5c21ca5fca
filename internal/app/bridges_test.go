package app_test

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// TestRun_Bridges takes records of other programs to addresses, and back, over two edges: each once.
func TestRun_Bridges(t *testing.T) {
	server := redistest.Start(t)
	h := apptest.Start(t, apptest.Redis(server.URL()), apptest.Split(1), apptest.With(func(c *config.Config) {
		c.Redis.Bridges = []config.Bridge{
			{Channel: "app:notifications", To: "broadcast"},
			{Channel: "orders", To: "channels/orders:eu", Direction: "both"},
			{Channel: "said", To: "channels/said", Direction: "both", Format: "json", Data: "text", Sender: "by"},
			{Channel: "mail", To: "users/{user}", Format: "json", Data: "body"},
		}
	}))
	old := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { testkit.Check(t, old.Close()) }()
	heard := old.Subscribe(t.Context(), "app:notifications", "orders", "said", "mail")
	defer func() { testkit.Check(t, heard.Close()) }()
	for range 4 {
		_, err := heard.Receive(t.Context())
		testkit.Check(t, err)
	}
	got := make(chan *publishv1.Message, 64)
	for _, address := range []string{"broadcast", "channels/orders:eu", "channels/said", "users/ada"} {
		stream, err := h.Publish.Consume(t.Context(), &publishv1.ConsumeRequest{Address: address})
		testkit.Check(t, err)
		first, err := stream.Recv()
		testkit.Check(t, err)
		if first.GetSubscribed() == nil {
			t.Fatalf("%s begins with %v", address, first)
		}
		go func() {
			for {
				r, err := stream.Recv()
				if err != nil {
					return
				}
				if m := r.GetMessage(); m != nil {
					got <- m
				}
			}
		}()
	}
	next := func(to, data, from string) {
		t.Helper()
		select {
		case m := <-got:
			if m.GetTo() != to || string(m.GetData()) != data || m.GetSender().GetClient() != from {
				t.Errorf("got %v, want %s to %s from %q", m, data, to, from)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s did not come to %s", data, to)
		}
	}
	record := func(channel, want string) {
		t.Helper()
		m, err := heard.ReceiveMessage(t.Context())
		testkit.Check(t, err)
		if m.Channel != channel || m.Payload != want {
			t.Errorf("%s says %s, want %s: %s", m.Channel, m.Payload, channel, want)
		}
	}
	for _, step := range []struct{ channel, record, to, data, from string }{
		{"app:notifications", "deploy at noon", "broadcast", "deploy at noon", ""},
		{"orders", `{"id":1}`, "channels/orders:eu", `{"id":1}`, ""},
		{"said", `{"text":{"a":1},"by":"ann"}`, "channels/said", `{"a":1}`, "ann"},
		{"mail", `{"user":"ada","body":"hi"}`, "users/ada", `"hi"`, ""},
	} {
		for _, rubbish := range []string{"{", "null"} { // is for nobody where JSON is asked for
			if step.channel == "said" || step.channel == "mail" {
				testkit.Check(t, old.Publish(t.Context(), step.channel, rubbish).Err())
				record(step.channel, rubbish)
			}
		}
		testkit.Check(t, old.Publish(t.Context(), step.channel, step.record).Err())
		record(step.channel, step.record)
		next(step.to, step.data, step.from)
	}
	// Out: once on the channel, once here, also in a burst, and never in a circle.
	const burst = 50
	for range burst {
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/orders:eu", Data: []byte(`{"id":2}`)})
		testkit.Check(t, err)
	}
	for range burst {
		next("channels/orders:eu", `{"id":2}`, "")
		record("orders", `{"id":2}`)
	}
	_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{
		To: "channels/said", Data: []byte("plain"), ContentType: publishv1.ContentType_CONTENT_TYPE_TEXT, Sender: &publishv1.Sender{Client: "bob"},
	})
	testkit.Check(t, err)
	next("channels/said", "plain", "bob")
	record("said", `{"by":"bob","text":"plain"}`)
	_, err = h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "broadcast", Data: []byte(`"in only"`)})
	testkit.Check(t, err)
	next("broadcast", `"in only"`, "")
	_, err = h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/orders:eu", Data: []byte(`"last"`)})
	testkit.Check(t, err)
	next("channels/orders:eu", `"last"`, "")
	record("orders", `"last"`) // and nothing of broadcast before it
	if n := len(got); n != 0 {
		t.Errorf("%d messages too many", n)
	}
	if keys, err := old.Keys(t.Context(), "*").Result(); err != nil || strings.Contains(strings.Join(keys, " ")+" ", "orders ") {
		t.Errorf("a bridged channel became a key: %v, %v", keys, err)
	}
}
