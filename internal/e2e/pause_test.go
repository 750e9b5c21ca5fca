package e2e_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// An edge that stood still while a token ended writes nothing to it that came after it was stopped.
func TestPause_overTheEndOfAToken(t *testing.T) {
	s := startSystem(t)
	publisher := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	end := time.Now().Add(4 * time.Second)
	token := s.token(&authv1.IssueTokenRequest{Client: "paused", Ttl: durationpb.New(time.Until(end))})
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.edgeAt[0]+"/v1/ws", nil)
	testkit.Check(t, err)
	testkit.Check(t, resp.Body.Close())
	defer func() { _ = ws.Close() }()
	testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(`{"connect":{"token":"`+token+`","subscriptions":[{"address":"channels/demo"}]}}`)))
	_, first, err := ws.ReadMessage()
	testkit.Check(t, err)
	if !strings.Contains(string(first), `"subscribed"`) {
		t.Fatalf("connect was answered with %s", first)
	}
	var publishing sync.WaitGroup
	over := make(chan struct{})
	publishing.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				_, _ = publisher.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte(`1`)})
			}
		}
	})
	_, _, err = ws.ReadMessage() // they flow
	testkit.Check(t, err)
	testkit.Check(t, s.edges[0].cmd.Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	testkit.Within(t, "the token has ended a while ago", 20*time.Second, func() bool { return time.Since(end) > 2*time.Second })
	testkit.Check(t, s.edges[0].cmd.Process.Signal(syscall.SIGCONT))
	late := 0
	testkit.Check(t, ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for err == nil {
		var data []byte
		if _, data, err = ws.ReadMessage(); err == nil {
			var f struct {
				Message *struct{ PublishTime time.Time }
			}
			testkit.Check(t, json.Unmarshal(data, &f))
			if f.Message != nil && f.Message.PublishTime.After(stopped.Add(100*time.Millisecond)) {
				late++
			}
		}
	}
	close(over)
	publishing.Wait()
	if late > 0 {
		t.Errorf("%d messages that were published after the stop went to a token that had ended", late)
	}
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != 4402 {
		t.Errorf("closed with %v, want 4402", err)
	}
}
