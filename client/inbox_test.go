package client_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// A restart of Redis that cannot prove to have lost nothing begins an epoch of the inbox. What waits in it comes again on the next connect, from both epochs, and the
// application has had it.
func TestClient_HandlesAnInboxOnceAcrossEpochs(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	h := apptest.Start(t, apptest.Redis(server.URL()))
	k := newLink(t, h.HTTP)
	token := h.Token(t, &authv1.IssueTokenRequest{Client: "phone", User: "ada"})
	cfg, e := recording(client.Config{
		URL: k.URL(), MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, ManualAck: true,
		Token: func(context.Context) (string, error) { return token, nil },
	})
	h.Connect(t, cfg)
	epochs := map[string]bool{}
	mail := func(text string) {
		t.Helper()
		deadline := time.Now().Add(15 * time.Second)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			call, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			resp, err := h.Publish.Publish(call, &publishv1.PublishRequest{To: "users/ada", Data: []byte(`"` + text + `"`), IdempotencyKey: text, Ack: &publishv1.AckPolicy{}})
			cancel()
			if err == nil {
				epochs[resp.GetPosition().GetEpoch()] = true
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			<-tick.C
		}
	}
	mail("one")
	mail("two")
	drop(t, e, `"one"`)
	e.want(t, `"two"`)
	server.Kill9()
	server.Restart()
	mail("three")
	// The inbox of the client was empty, of which all may be lost too. Nobody says which address is told first.
	var told []string
	for len(told) < 3 {
		got := <-e
		switch got {
		case "connected", "disconnected":
		case "gap epoch_changed":
			told = append([]string{got}, told...)
		default:
			told = append(told, got)
		}
	}
	if want := []string{"gap epoch_changed", "gap tail_unknown", `"three"`}; !slices.Equal(told, want) {
		t.Fatalf("told %q, want %q", told, want)
	}
	if len(epochs) != 2 {
		t.Errorf("%d epochs", len(epochs))
	}
	for _, next := range []string{`"four"`, `"five"`} {
		k.Cut()
		e.want(t, "disconnected")
		k.Mend()
		drop(t, e, "connected")
		mail(next[1 : len(next)-1])
		e.want(t, next) // and nothing that came again
	}
}
