package gateway_test

import (
	"context"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/trunkline/trunkline/gateway"
	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// echo answers with what it was asked, so that a test sees which route led where with what.
type echo struct {
	publishv1.UnimplementedPublishServiceServer
	publishv1.UnimplementedChannelServiceServer
	authv1.UnimplementedAuthServiceServer
	adminv1.UnimplementedAdminServiceServer
}

// expected are the headers of a call that comes from the gateway. The library says where the request came from.
var expected = []string{
	":authority", "authorization", "content-type", "grpc-accept-encoding", "traceparent", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-request-id",
}

func (echo) Publish(ctx context.Context, r *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	if r.GetTo() == "channels/refused" {
		return nil, rpc.Status(refusals[string(r.GetData())], "").Err()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	var names []string
	for _, k := range []string{"authorization", "x-user-id", "x-tenant", "x-request-id", "grpcgateway-authorization", "idempotency-key"} {
		for _, v := range md.Get(k) {
			names = append(names, k+"="+v)
		}
	}
	for k := range md {
		if !slices.Contains(expected, k) {
			names = append(names, "stray "+k)
		}
	}
	_, deadline := ctx.Deadline()
	if !deadline {
		names = append(names, "no deadline")
	}
	id := "publish " + r.GetTo() + " " + string(r.GetData()) + " " + r.GetIdempotencyKey() + " " + strings.Join(names, ",")
	return &publishv1.PublishResponse{Id: id, Duplicate: r.GetIdempotencyKey() == "again"}, nil
}

func (echo) ListMessages(_ context.Context, r *publishv1.ListMessagesRequest) (*publishv1.ListMessagesResponse, error) {
	return &publishv1.ListMessagesResponse{
		NextPageToken: "messages " + r.GetAddress() + " " + r.GetAfter().GetEpoch(),
		Messages:      []*publishv1.Message{{Data: []byte(`{"a":1}`), ContentType: 1}, {Data: []byte("t"), ContentType: 2}},
	}, nil
}

func (echo) ListMembers(_ context.Context, r *publishv1.ListMembersRequest) (*publishv1.ListMembersResponse, error) {
	return &publishv1.ListMembersResponse{NextPageToken: "members " + r.GetAddress()}, nil
}

func (echo) GetChannel(_ context.Context, r *publishv1.GetChannelRequest) (*publishv1.GetChannelResponse, error) {
	return &publishv1.GetChannelResponse{Channel: &publishv1.Channel{Name: "get " + r.GetName()}}, nil
}

func (echo) DeleteChannel(_ context.Context, r *publishv1.DeleteChannelRequest) (*publishv1.DeleteChannelResponse, error) {
	return nil, rpc.Status(bus.ErrChannelNotFound.With("delete "+r.GetName(), nil), "").Err()
}

func (echo) GetKeySet(context.Context, *authv1.GetKeySetRequest) (*authv1.GetKeySetResponse, error) {
	return &authv1.GetKeySetResponse{Keys: []*authv1.JsonWebKey{{Kty: "OKP", Kid: "k1", Crv: "Ed25519", X: "AA"}}}, nil
}

func (echo) Consume(r *publishv1.ConsumeRequest, s grpc.ServerStreamingServer[publishv1.ConsumeResponse]) error {
	if left := map[string]string{"channels/ending": "0", "channels/lives": "60000"}[r.GetAddress()]; left != "" {
		if err := s.SetHeader(metadata.Pairs("x-token-left", left)); err != nil {
			return err
		}
	}
	if r.GetAddress() == "channels/denied" {
		return rpc.Status(bus.ErrSubscribeDenied, "").Err()
	}
	after := r.GetAfter()
	switch r.GetAddress() {
	case "channels/unencodable", "channels/hopeless":
		return consumeUnencodable(r.GetAddress(), s)
	}
	for _, e := range []*publishv1.ConsumeResponse{
		{Event: &publishv1.ConsumeResponse_Subscribed{Subscribed: &publishv1.Subscribed{Address: r.GetAddress(), Position: after, Recovered: after != nil}}},
		{Event: &publishv1.ConsumeResponse_Heartbeat{Heartbeat: &publishv1.Heartbeat{}}},
		{Event: &publishv1.ConsumeResponse_Message{Message: &publishv1.Message{Id: "m1", Data: []byte("{\n\"a\": 1}"), ContentType: 1, Position: &publishv1.Position{Epoch: "e:1", Offset: 7}}}},
		{Event: &publishv1.ConsumeResponse_Gap{Gap: &publishv1.Gap{Address: r.GetAddress(), Reason: "slow_consumer"}}},
		{Event: &publishv1.ConsumeResponse_PresenceEvent{PresenceEvent: &publishv1.PresenceEvent{Address: r.GetAddress(), Clients: 1, Changes: []*publishv1.PresenceChange{{Kind: publishv1.PresenceChange_KIND_JOINED}}}}},
	} {
		if e.GetPresenceEvent() != nil && !r.GetPresence() {
			continue
		}
		if err := s.Send(e); err != nil {
			return err
		}
	}
	if r.GetFromBeginning() {
		<-s.Context().Done()
	}
	return rpc.Status(bus.ErrStoreUnavailable, "").Err()
}

var refusals = map[string]error{
	`"idempotency"`: bus.ErrIdempotencyMismatch, `"rate"`: bus.ErrRateLimited, `"store"`: bus.ErrStoreUnavailable,
	`"token"`: bus.ErrTokenMissing, `"denied"`: bus.ErrPublishDenied, `"large"`: bus.ErrMessageTooLarge, `"late"`: bus.ErrDeadlineExceeded,
	`"off"`: bus.ErrMethodDisabled, `"exists"`: bus.ErrChannelExists, `"gap"`: bus.ErrGap, `"internal"`: io.ErrUnexpectedEOF,
	`"fields"`: &bus.Error{Reason: "FIELD_INVALID", Message: "two", Fields: []bus.FieldViolation{{Field: "a"}, {Field: "b"}}},
}

func serveEcho(ctx context.Context, t testing.TB, cfg gateway.Config) *httptest.Server {
	t.Helper()
	pipe := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	publishv1.RegisterPublishServiceServer(s, echo{})
	publishv1.RegisterChannelServiceServer(s, echo{})
	authv1.RegisterAuthServiceServer(s, echo{})
	adminv1.RegisterAdminServiceServer(s, echo{})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(pipe) }()
	conn, err := grpc.NewClient("passthrough:///pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	h, err := gateway.New(ctx, gateway.Conns{Auth: conn, Publish: conn, Admin: conn}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(h)
	t.Cleanup(func() { web.Close(); _ = conn.Close(); s.Stop(); <-done })
	return web
}

func TestRoutes(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	long := strings.Repeat("a", 10<<10)
	for _, tt := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"POST", "/v1/channels/orders:eu:publish", 200, "publish channels/orders:eu "},
		{"POST", "/v1/channels/orders:publish:publish", 200, "publish channels/orders:publish "},
		{"POST", "/v1/channels/orders:publish", 200, "publish channels/orders "},
		{"POST", "/v1/channels/orders%3Aeu:publish", 200, "publish channels/orders:eu "},
		{"POST", "/v1/channels/orders%3Aeu%3Apublish", 405, "GET, HEAD, DELETE"},
		{"POST", "/v1/channels/orders%253Aeu:publish", 200, "publish channels/orders%3Aeu "},
		{"POST", "/v1/channels/%6Frders:publish", 200, "publish channels/orders "},
		{"POST", "/v1/channels/publish:publish", 200, "publish channels/publish "},
		{"POST", "/v1/users/42:publish", 200, "publish users/42 "},
		{"POST", "/v1/users/42/topics/alerts:publish", 200, "publish users/42/topics/alerts "},
		{"POST", "/v1/users/a:b/topics/c:d:publish", 200, "publish users/a:b/topics/c:d "},
		{"POST", "/v1/users/auth0%7C5f:publish", 200, "publish users/auth0%7C5f "},
		{"POST", "/v1/users/auth0%7c5f:publish", 200, "publish users/auth0%7C5f "},
		{"POST", "/v1/users/auth0%257C5f:publish", 200, "publish users/auth0%7C5f "},
		{"POST", "/v1/users/auth0|5f:publish", 200, "publish users/auth0%7C5f "},
		{"POST", "/v1/users/%61da:publish", 200, "publish users/ada "},
		{"POST", "/v1/users/a%2Fb:publish", 200, "publish users/a%2Fb "},
		{"POST", "/v1/users/a%252fb/topics/t:publish", 200, "publish users/a%2Fb/topics/t "},
		{"POST", "/v1/users/a%2Ftopics%2Fb:publish", 200, "publish users/a%2Ftopics%2Fb "},
		{"POST", "/v1/users/CORP%5Cada:publish", 200, "publish users/CORP%5Cada "},
		{"POST", "/v1/users/50%25:publish", 200, "publish users/50%25 "},
		{"POST", "/v1/users/50%2525:publish", 200, "publish users/50%25 "},
		{"POST", "/v1/users/a%25257Cb:publish", 200, "publish users/a%257Cb "},
		{"POST", "/v1/users/%2A:publish", 200, "publish users/%2A "},
		{"POST", "/v1/users/x:publish:publish", 200, "publish users/x:publish "},
		{"POST", "/v1/users/x%3Apublish:publish", 200, "publish users/x:publish "},
		{"POST", "/v1/users/x%3Apublish", 404, "METHOD_UNKNOWN"},
		{"POST", "/v1/users/:publish:publish", 200, "publish users/:publish "},
		{"POST", "/v1/users/..:publish", 200, "publish users/.. "},
		{"POST", "/v1/users/%F0%9F%98%80:publish", 200, "publish users/%F0%9F%98%80 "},
		{"POST", "/v1/groups/a%20b:publish", 200, "publish groups/a%20b "},
		{"GET", "/v1/users/%252E%252E/messages", 200, "messages users/.. "},
		{"GET", "/v1/users/%2E%2E/messages", 400, "%252E"},
		{"GET", "/v1/users/../messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/users/a%00b/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/users/a%ffb/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/users/a/topics/b%2Fc/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/users%2Fa/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/users/" + strings.Repeat("%25F0%259F%2598%2580", 63) + "/messages", 200, "messages users/%F0%9F%98%80"},
		{"POST", "/v1/clients/c:publish", 200, "publish clients/c "},
		{"POST", "/v1/groups/g:publish", 200, "publish groups/g "},
		{"POST", "/v1/sessions/s:publish", 200, "publish sessions/s "},
		{"POST", "/v1/broadcast:publish", 200, "publish broadcast "},
		{"POST", "/v1/broadcast/topics/t:publish", 200, "publish broadcast/topics/t "},
		{"POST", "/v1/channels/:publish", 404, "METHOD_UNKNOWN"},
		{"POST", "/v1/channels/a", 405, "GET, HEAD, DELETE"},
		{"PUT", "/v1/channels/a:publish", 405, "GET, HEAD, DELETE, POST"},
		{"GET", "/v1/users/42:publish", 405, "POST"},
		{"GET", "/v1/tokens:issue", 405, "POST"},
		{"GET", "/v1/channels/orders:eu/messages", 200, "messages channels/orders:eu "},
		{"GET", "/v1/channels/orders%3Aeu/messages", 200, "messages channels/orders:eu "},
		{"GET", "/v1/channels/orders:eu/topics/a:b/messages", 200, "messages channels/orders:eu/topics/a:b "},
		{"GET", "/v1/channels/orders:publish/messages", 200, "messages channels/orders:publish "},
		{"GET", "/v1/broadcast/messages?after.epoch=x", 200, "messages broadcast x"},
		{"GET", "/v1/channels/orders:eu/members", 200, "members channels/orders:eu"},
		{"POST", "/v1/channels/orders:eu/members", 405, "GET, HEAD"},
		{"GET", "/v1/channels/orders:publish", 200, "get channels/orders:publish"},
		{"GET", "/v1/channels/messages", 200, "get channels/messages"},
		{"GET", "/v1/channels/stream", 200, "get channels/stream"},
		{"HEAD", "/v1/channels/a", 200, ""},
		{"HEAD", "/v1/channels/a/stream", 405, ""},
		{"DELETE", "/v1/channels/orders:eu", 404, "delete channels/orders:eu"},
		{"GET", "/v1/keys", 200, `"kid":"k1"`},
		{"GET", "/.well-known/jwks.json", 200, `{"keys":[{"kty":"OKP","kid":"k1","crv":"Ed25519","x":"AA"}]}`},
		{"GET", "/v1/channels/../messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/%2e%2e/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels//messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/a%2Fb/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/a%2fb/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/a%00b/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/a%ffb/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/a%5Cb/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/" + long + "/messages", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/channels/a/", 400, "ADDRESS_INVALID"},
		{"GET", "/v1/nothing", 404, "METHOD_UNKNOWN"},
		{"GET", "/v1/system/revoked/stream", 404, "METHOD_UNKNOWN"},
		{"GET", "/metrics", 404, "METHOD_UNKNOWN"},
		{"GET", "/debug/pprof/", 404, "METHOD_UNKNOWN"},
		{"GET", "/livez", 404, "METHOD_UNKNOWN"},
		{"GET", "/token", 404, "METHOD_UNKNOWN"},
		{"GET", "/docs/../docs/docs.js", 404, "METHOD_UNKNOWN"},
		{"GET", "/docs", 200, "docs.js"},
		{"GET", "/docs/docs.js", 200, "openapi.json"},
		{"GET", "/openapi.json", 200, `"openapi"`},
		{"POST", "/docs", 405, ""},
	} {
		body := ""
		if tt.method == "POST" {
			body = "{}"
		}
		got := testkit.Send(t, s, tt.method, tt.path, body)
		if got.Status != tt.status || !strings.Contains(got.Body, tt.says) {
			t.Errorf("%s %.80s: got %d %s, want %d with %s", tt.method, tt.path, got.Status, got.Body, tt.status, tt.says)
		}
		if got.Status == 405 && (got.Header.Get("Allow") == "" || tt.says != "" && tt.says != got.Header.Get("Allow")) {
			t.Errorf("%s %s: Allow is %q", tt.method, tt.path, got.Header.Get("Allow"))
		}
		if got.Header.Get("X-Request-Id") == "" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: headers %v", tt.method, tt.path, got.Header)
		}
	}
}
