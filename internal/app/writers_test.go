package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// writing is a running system with an authorizer.
type writing struct {
	*apptest.Deployment
	t       *testing.T
	me      string // the user of the test
	states  publishv1.StateServiceClient
	inboxes publishv1.InboxServiceClient
}

// in is the system in a test of a test, whose user is me.
func (h *writing) in(t *testing.T, me string) *writing {
	inner := *h
	inner.t, inner.me = t, me
	return &inner
}

// careful refuses to publish to what says so.
type careful struct {
	hooksv1.UnimplementedAuthorizerServiceServer
}

func (careful) AuthorizePublish(_ context.Context, r *hooksv1.AuthorizePublishRequest) (*hooksv1.AuthorizePublishResponse, error) {
	return &hooksv1.AuthorizePublishResponse{Decision: &hooksv1.Decision{Allowed: !strings.Contains(r.GetAddress(), "refused")}}, nil
}

func startWrites(t *testing.T, more ...apptest.Option) *writing {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	srv := grpc.NewServer()
	hooksv1.RegisterAuthorizerServiceServer(srv, careful{})
	var g errgroup.Group
	g.Go(func() error { return srv.Serve(l) })
	t.Cleanup(func() {
		srv.Stop()
		testkit.Check(t, g.Wait())
	})
	h := &writing{t: t, Deployment: apptest.Start(t, append(more, apptest.With(func(c *config.Config) {
		c.Hooks.Authorizer.Address, c.Hooks.Authorizer.Fail, c.Hooks.Authorizer.On = l.Addr().String(), "closed", []string{"publish"}
		explicit := true
		c.Channels.Namespaces = map[string]config.ChannelRule{"made": {Explicit: &explicit}}
		c.Legacy.Dialects = []string{"facility", "relay", "pushserver"}
	}), apptest.Setting(t, "legacy.commands.allow", "SET"))...)}
	conn := apptest.Dial(t, h.GRPC, h.AdminKey)
	h.states, h.inboxes = publishv1.NewStateServiceClient(conn), publishv1.NewInboxServiceClient(conn)
	return h
}

// kept is what an address and the inbox of the user have.
func (h *writing) kept(t *testing.T, to string) string {
	t.Helper()
	history, err := h.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: to})
	testkit.Check(t, err)
	state, err := h.states.GetState(t.Context(), &publishv1.GetStateRequest{Address: to})
	testkit.Check(t, err)
	inbox, err := h.inboxes.GetInboxStats(t.Context(), &publishv1.GetInboxStatsRequest{Address: "users/" + h.me})
	testkit.Check(t, err)
	return fmt.Sprintf("%d messages, revision %d, %d in the inbox, last %q", len(history.GetMessages()), state.GetState().GetRevision(), inbox.GetCount(), h.last(to))
}

// last is the message of a live address that is retained.
func (h *writing) last(to string) string {
	if strings.HasPrefix(to, "channels/") {
		return ""
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	stream, err := h.Publish.Consume(ctx, &publishv1.ConsumeRequest{Address: to, FromLast: true})
	testkit.Check(h.t, err)
	var last string
	for {
		resp, err := stream.Recv()
		testkit.Check(h.t, err)
		if resp.GetSubscribed() != nil {
			_, err := h.Publish.Publish(ctx, &publishv1.PublishRequest{To: to, Data: []byte(`"mark"`), Retain: durationpb.New(0)})
			testkit.Check(h.t, err)
		}
		switch m := resp.GetMessage(); {
		case string(m.GetData()) == `"mark"`:
			return last
		case m != nil:
			last = string(m.GetData())
		}
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return rpc.FromError(err).Reason
}

func (h *writing) service(token string) publishv1.PublishServiceClient {
	return publishv1.NewPublishServiceClient(apptest.Dial(h.t, h.GRPC, token))
}

func (h *writing) publish(token string, req *publishv1.PublishRequest) string {
	_, err := h.service(token).Publish(h.t.Context(), req)
	return reason(err)
}

func (h *writing) batch(token string, req *publishv1.PublishRequest) string {
	resp, err := h.service(token).BatchPublish(h.t.Context(), &publishv1.BatchPublishRequest{Requests: []*publishv1.PublishRequest{req}})
	testkit.Check(h.t, err)
	return resp.GetResults()[0].GetError().GetReason()
}

func (h *writing) stream(token string, req *publishv1.PublishRequest) string {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	stream, err := h.service(token).PublishStream(ctx)
	testkit.Check(h.t, err)
	testkit.Check(h.t, stream.Send(&publishv1.PublishStreamRequest{Sequence: 1, Publish: req}))
	for {
		resp, err := stream.Recv()
		testkit.Check(h.t, err)
		for _, r := range resp.GetResults() {
			return r.GetResult().GetError().GetReason()
		}
	}
}

func (h *writing) updateState(token, to string) string {
	s := publishv1.NewStateServiceClient(apptest.Dial(h.t, h.GRPC, token))
	_, err := s.UpdateState(h.t.Context(), &publishv1.UpdateStateRequest{Address: to, Data: []byte(`{"forged":1}`)})
	return reason(err)
}

func (h *writing) deleteState(token, to string) string {
	s := publishv1.NewStateServiceClient(apptest.Dial(h.t, h.GRPC, token))
	_, err := s.DeleteState(h.t.Context(), &publishv1.DeleteStateRequest{Address: to})
	return reason(err)
}

func (h *writing) rest(token, path, body string) string {
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.HTTP+"/v1/"+path, strings.NewReader(body))
	testkit.Check(h.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	testkit.Check(h.t, err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	testkit.Check(h.t, err)
	if resp.StatusCode == http.StatusOK {
		return ""
	}
	_, rest, _ := strings.Cut(string(answer), `"reason":`)
	return strings.SplitN(rest, `"`, 3)[1]
}

func (h *writing) socket(url string, protocols ...string) *websocket.Conn {
	d := websocket.Dialer{Subprotocols: protocols}
	ws, _, err := d.DialContext(h.t.Context(), url, nil) //nolint:bodyclose // it is the connection
	testkit.Check(h.t, err)
	h.t.Cleanup(func() { _ = ws.Close() })
	testkit.Check(h.t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	return ws
}

// frame publishes over a socket of our own protocol.
func (h *writing) frame(token string, req *publishv1.PublishRequest) string {
	ws := h.socket("ws"+strings.TrimPrefix(h.Edges[0], "http")+"/v1/ws?token="+token, "trunkline.v1.json")
	command := map[string]any{"to": req.GetTo(), "data": json.RawMessage(req.GetData()), "idempotencyKey": req.GetIdempotencyKey()}
	if ack := req.GetAck(); ack != nil {
		command["ack"] = map[string]any{"maxDeliveries": ack.GetMaxDeliveries(), "deadLetter": ack.GetDeadLetter()}
	}
	testkit.Check(h.t, ws.WriteJSON(map[string]any{"id": 7, "publish": command}))
	for {
		var f struct {
			ID    int `json:"id"`
			Error struct {
				Reason string `json:"reason"`
			} `json:"error"`
		}
		testkit.Check(h.t, ws.ReadJSON(&f))
		if f.ID == 7 {
			return f.Error.Reason
		}
	}
}

// facility sends a frame on a socket of the older facility protocol, and reads what was answered to it before a state is.
func (h *writing) facility(token, to, frame string) string {
	topic := to[strings.LastIndex(to, "/")+1:]
	url := "ws://" + h.Legacy["facility.listen"] + "/ws/" + topic + "?publish-broadcast&subscribe-broadcast&state&token=" + token
	ws, resp, err := websocket.DefaultDialer.DialContext(h.t.Context(), url, nil)
	if resp != nil && resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "" {
		return "QUOTA_EXCEEDED" // it cannot hear what it is to hear
	}
	testkit.Check(h.t, err)
	testkit.Check(h.t, resp.Body.Close())
	h.t.Cleanup(func() { _ = ws.Close() })
	testkit.Check(h.t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	testkit.Check(h.t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
	testkit.Check(h.t, ws.WriteMessage(websocket.TextMessage, []byte(`{"trunkline-state":{}}`)))
	var answered string
	for {
		_, b, err := ws.ReadMessage()
		testkit.Check(h.t, err)
		var f struct {
			State *struct {
				Error string          `json:"error"`
				Value json.RawMessage `json:"value"`
			} `json:"trunkline-state"`
		}
		if json.Unmarshal(b, &f) != nil || f.State == nil {
			continue
		}
		if f.State.Error != "" {
			answered = f.State.Error
		} else if f.State.Value != nil && (answered != "" || !strings.HasPrefix(frame, "{") || strings.Contains(string(f.State.Value), "forged")) {
			return answered
		}
	}
}

// legacyPush makes a channel of the older push server, and returns what sends to it with a token.
func legacyPush(h *writing, t *testing.T) func(token string) string {
	t.Helper()
	s := legacyv1.NewPushServerServiceClient(apptest.Dial(t, h.GRPC, h.AdminKey))
	_, err := s.CreatePushChannel(t.Context(), &legacyv1.CreatePushChannelRequest{Channel: "push"})
	testkit.Check(t, err)
	return func(token string) string {
		_, err := s.PushMessage(t.Context(), &legacyv1.PushMessageRequest{Channel: "push", ChannelToken: token, Message: "forged"})
		return reason(err)
	}
}

func (h *writing) article(credential string) string {
	s := legacyv1.NewRelayServiceClient(apptest.Dial(h.t, h.GRPC, credential))
	_, err := s.PublishArticle(h.t.Context(), &legacyv1.PublishArticleRequest{Record: []byte(`{"uuid_remote":"me","message":1}`)})
	return reason(err)
}

func (h *writing) command(token, owner string) string {
	s := legacyv1.NewCommandServiceClient(apptest.Dial(h.t, h.GRPC, token))
	_, err := s.RunCommand(h.t.Context(), &legacyv1.RunCommandRequest{Owner: owner, Command: "SET a b"})
	return reason(err)
}
