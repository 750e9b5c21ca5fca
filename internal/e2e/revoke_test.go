package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// lasting opens something that stands on a token, and returns what to revoke and a function that waits until it has ended. The
// function returns the last words, which have the reason where the protocol has a word for it.
type lasting func(tb testing.TB, h *apptest.Deployment) (target *authv1.RevokeTokenRequest, ended func() string)

// everythingLasting is each way to stand on a token, of clients and of the older protocols.
var everythingLasting = map[string]lasting{
	"WebSocket, JSON": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		return socketOf(tb, h, "trunkline.v1.json", websocket.TextMessage, func(token string) []byte {
			return fmt.Appendf(nil, `{"id":1,"connect":{"token":%q}}`, token)
		})
	},
	"WebSocket, Protobuf": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		return socketOf(tb, h, "trunkline.v1.proto", websocket.BinaryMessage, func(token string) []byte {
			frame, err := proto.Marshal(&edgev1.ClientFrame{Id: 1, Command: &edgev1.ClientFrame_Connect{
				Connect: &edgev1.Connect{Token: token},
			}})
			testkit.Check(tb, err)
			return frame
		})
	},
	"text/event-stream": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		return streamOf(tb, h, "text/event-stream")
	},
	"application/x-ndjson": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		return streamOf(tb, h, "application/x-ndjson")
	},
	"gRPC, Consume": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		return callOf(tb, h, func(c publishv1.PublishServiceClient) (func() error, error) {
			stream, err := c.Consume(tb.Context(), &publishv1.ConsumeRequest{Address: "channels/x"})
			return func() error { _, err := stream.Recv(); return err }, err
		})
	},
	"gRPC, PublishStream": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		return callOf(tb, h, func(c publishv1.PublishServiceClient) (func() error, error) {
			stream, err := c.PublishStream(tb.Context())
			return func() error { _, err := stream.Recv(); return err }, err
		})
	},
	"gRPC, WatchReceipts": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		sent, err := h.Publish.Publish(tb.Context(), &publishv1.PublishRequest{To: "users/ada", Data: []byte("1"), Ack: &publishv1.AckPolicy{}})
		testkit.Check(tb, err)
		return callOf(tb, h, func(c publishv1.PublishServiceClient) (func() error, error) {
			stream, err := c.WatchReceipts(tb.Context(), &publishv1.WatchReceiptsRequest{Address: "users/ada", Id: sent.GetId()})
			return func() error { _, err := stream.Recv(); return err }, err
		})
	},
	"relay": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		var answer struct{ Token string }
		_, body := get("http://" + h.Legacy["relay.http"] + "/token")
		testkit.Check(tb, json.Unmarshal([]byte(body), &answer))
		return ofClient(answer.Token), openFrames(tb, "ws://"+h.Legacy["relay.websocket"]+"/ws?token="+answer.Token).end
	},
	"pushserver": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		f := openFrames(tb, "ws://"+h.Legacy["pushserver.websocket"]+"/")
		var hello struct{ Data struct{ UUID string } }
		testkit.Check(tb, json.Unmarshal([]byte(f.until("Connected")), &hello))
		return ofClient(hello.Data.UUID), f.end
	},
	"rooms": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		f := openFrames(tb, "ws://"+h.Legacy["rooms.listen"]+"/ws/1")
		f.until("newUser")
		f.send(`{"command":"setID","data":"room-ann"}`)
		f.send(`{"command":"newID"}`)
		f.until(`"clientID"`, "room-ann")
		return ofClient("room-ann"), f.end
	},
	"facility": func(tb testing.TB, h *apptest.Deployment) (*authv1.RevokeTokenRequest, func() string) {
		key := strings.Repeat("f", 32)
		_, err := legacyv1.NewFacilityServiceClient(apptest.Dial(tb, h.GRPC, h.AdminKey)).RegisterSession(tb.Context(), &legacyv1.RegisterSessionRequest{Key: key, User: "fay"})
		testkit.Check(tb, err)
		ws, resp, err := websocket.DefaultDialer.DialContext(tb.Context(), "ws://"+h.Legacy["facility.listen"]+"/ws/chat?subscribe-user&publish-user&echo",
			http.Header{"Cookie": {"sessionid=" + key}})
		testkit.Check(tb, err)
		tb.Cleanup(func() { _, _ = resp.Body.Close(), ws.Close() })
		f := &frames{tb, ws}
		f.send("hello")
		f.until("hello")
		return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "fay"}}, f.end
	},
}

// silent are the protocols that have no word for a reason. Their sockets just end.
var silent = map[string]bool{"relay": true}

func ofClient(id string) *authv1.RevokeTokenRequest {
	return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Client{Client: id}}
}

// end reads until the socket ends.
func (f *frames) end() string {
	said := ""
	_ = f.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		_, data, err := f.ws.ReadMessage()
		if err != nil {
			return said + " " + err.Error()
		}
		said += string(data)
	}
}

// tokenOf issues a token of a user, and says how to revoke it.
func tokenOf(tb testing.TB, h *apptest.Deployment) (string, *authv1.RevokeTokenRequest) {
	tb.Helper()
	token := h.Token(tb, &authv1.IssueTokenRequest{User: "ada"}, "*")
	return token, &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}}
}

// socketOf opens a WebSocket of our own protocol.
func socketOf(tb testing.TB, h *apptest.Deployment, protocol string, kind int, connect func(token string) []byte) (*authv1.RevokeTokenRequest, func() string) {
	tb.Helper()
	token, target := tokenOf(tb, h)
	ws, resp, err := (&websocket.Dialer{Subprotocols: []string{protocol}}).DialContext(tb.Context(), "ws"+strings.TrimPrefix(h.Edges[0], "http")+"/v1/ws", nil)
	testkit.Check(tb, err)
	tb.Cleanup(func() { _, _ = resp.Body.Close(), ws.Close() })
	testkit.Check(tb, ws.WriteMessage(kind, connect(token)))
	_, _, err = ws.ReadMessage()
	testkit.Check(tb, err)
	return target, (&frames{tb, ws}).end
}

// streamOf opens a stream of a channel over REST.
func streamOf(tb testing.TB, h *apptest.Deployment, kind string) (*authv1.RevokeTokenRequest, func() string) {
	tb.Helper()
	token, target := tokenOf(tb, h)
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	tb.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.HTTP+"/v1/channels/x/stream", nil)
	testkit.Check(tb, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", kind)
	res, err := http.DefaultClient.Do(req)
	testkit.Check(tb, err)
	tb.Cleanup(func() { _ = res.Body.Close() })
	body := bufio.NewReader(res.Body)
	_, err = body.ReadString('\n')
	testkit.Check(tb, err)
	return target, func() string {
		rest, err := io.ReadAll(body)
		return fmt.Sprint(string(rest), " ", err)
	}
}

// callOf opens a gRPC stream, and waits for its first message.
func callOf(
	tb testing.TB, h *apptest.Deployment, open func(publishv1.PublishServiceClient) (next func() error, err error),
) (*authv1.RevokeTokenRequest, func() string) {
	tb.Helper()
	token, target := tokenOf(tb, h)
	next, err := open(publishv1.NewPublishServiceClient(apptest.Dial(tb, h.GRPC, token)))
	testkit.Check(tb, err)
	testkit.Check(tb, next())
	return target, func() string {
		for {
			if err := next(); err != nil {
				return err.Error()
			}
		}
	}
}

// revocable starts what everythingLasting needs.
func revocable(tb testing.TB, opts ...apptest.Option) *apptest.Deployment {
	tb.Helper()
	return apptest.Start(tb, append(opts, apptest.With(func(c *config.Config) { c.Legacy.Dialects, c.Legacy.Open = []string{"all"}, true }))...)
}

// Whatever stands on a token ends when it is revoked, in one process and in several.
func TestRevocation_endsWhateverIsOpen(t *testing.T) {
	for place, opts := range map[string][]apptest.Option{
		"memory": nil, "redis": {apptest.Redis(redistest.Start(t).URL()), apptest.Split(1)},
	} {
		t.Run(place, func(t *testing.T) {
			h := revocable(t, opts...)
			for name, open := range everythingLasting {
				t.Run(name, func(t *testing.T) {
					target, ended := open(t, h)
					_, err := h.Auth.RevokeToken(t.Context(), target)
					testkit.Check(t, err)
					revoked := time.Now()
					said := ended()
					t.Logf("it ended %s after the answer", time.Since(revoked).Round(100*time.Microsecond))
					late := strings.Contains(said, "timeout") || strings.Contains(said, "deadline")
					told := strings.Contains(said, "TOKEN_REVOKED") || strings.Contains(said, "token was revoked")
					if late || !told && !silent[name] {
						t.Errorf("its last words were %q", said)
					}
				})
			}
		})
	}
}

// BenchmarkRevocation measures from the answer of a revocation to the end of what stood on it, in several processes over Redis.
func BenchmarkRevocation(b *testing.B) {
	h := revocable(b, apptest.Redis(redistest.Start(b).URL()), apptest.Split(1))
	for _, name := range []string{"WebSocket, JSON", "text/event-stream", "gRPC, Consume"} {
		b.Run(name, func(b *testing.B) {
			var slowest time.Duration
			for b.Loop() {
				b.StopTimer()
				target, ended := everythingLasting[name](b, h)
				_, err := h.Auth.RevokeToken(b.Context(), target)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				revoked := time.Now()
				_ = ended()
				slowest = max(slowest, time.Since(revoked))
			}
			b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-ms")
		})
	}
}
