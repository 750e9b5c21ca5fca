package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStatus_everyReasonHasACode(t *testing.T) {
	for number, name := range errorsv1.ErrorReason_name {
		if number == 0 {
			continue
		}
		reason := strings.TrimPrefix(name, "ERROR_REASON_")
		if reason != "INTERNAL" && rpc.Code(reason) == codes.Internal {
			t.Errorf("%s has no code", reason)
		}
	}
}

func TestStatus_roundTrip(t *testing.T) {
	var bad bus.Invalid
	bad.Add("to", "is empty")
	bad.Add("data", "is not JSON")
	for _, err := range []error{
		bus.ErrTokenExpired.With("", map[string]string{"expireTime": "x"}), bus.ErrStoreUnavailable.Wrap(errors.New("secret detail")),
		bad.Err(), bus.ErrRateLimited.Retry(3 * time.Second), fmt.Errorf("publish: %w", bus.ErrChannelNotFound),
	} {
		var want *bus.Error
		errors.As(err, &want)
		s := rpc.Status(err, "id-1")
		if strings.Contains(s.Message(), "secret") {
			t.Errorf("the detail is on the wire: %s", s.Message())
		}
		got := rpc.FromError(s.Err())
		if got.Reason != want.Reason || got.Message != want.Message || got.RetryAfter != want.RetryAfter ||
			fmt.Sprint(got.Fields) != fmt.Sprint(want.Fields) || fmt.Sprint(got.Metadata) != fmt.Sprint(want.Metadata) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		again := rpc.FromErrorProto(rpc.ErrorProto(err))
		if again.Reason != want.Reason || again.RetryAfter != want.RetryAfter || len(again.Fields) != len(want.Fields) {
			t.Errorf("as an item: got %+v", again)
		}
	}
	if e := rpc.FromError(errors.New("strconv.ParseInt: boom")); e.Reason != "INTERNAL" || strings.Contains(e.Message, "strconv") {
		t.Errorf("an unknown error became %+v", e)
	}
	for err, reason := range map[error]string{
		context.DeadlineExceeded: "DEADLINE_EXCEEDED", context.Canceled: "CANCELLED", status.Error(codes.Unavailable, "x"): "UNAVAILABLE",
	} {
		if e := rpc.FromError(err); e.Reason != reason {
			t.Errorf("%v became %s", err, e.Reason)
		}
	}
}

// services answers every method of every service of the contract with an empty message, so that only the
// plumbing decides.
type services struct {
	authv1.UnimplementedAuthServiceServer
	panics bool
}

func (s services) GetKeySet(context.Context, *authv1.GetKeySetRequest) (*authv1.GetKeySetResponse, error) {
	if s.panics {
		panic("boom")
	}
	return &authv1.GetKeySetResponse{}, nil
}

func (s services) IssueToken(ctx context.Context, _ *authv1.IssueTokenRequest) (*authv1.IssueTokenResponse, error) {
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > time.Minute {
		return nil, fmt.Errorf("no bounded deadline")
	}
	return &authv1.IssueTokenResponse{Client: rpc.CallerFrom(ctx).Name}, nil
}

const internal = "0123456789abcdef0123456789abcdef"

// serve runs a server with every service on TCP and the pipe.
func serve(t *testing.T, auth rpc.AuthConfig, impl services) (pipe *rpc.Pipe, tcp *grpc.ClientConn, server *rpc.Server) {
	t.Helper()
	pipe = rpc.NewPipe()
	auth.Keys = append(auth.Keys, rpc.InternalKey(internal))
	server, err := rpc.NewServer(t.Context(), rpc.Config{Listen: "127.0.0.1:0", Auth: auth, Reflection: true}, pipe, slog.New(slog.DiscardHandler), nil)
	testkit.Check(t, err)
	authv1.RegisterAuthServiceServer(server, impl)
	publishv1.RegisterPublishServiceServer(server, publishv1.UnimplementedPublishServiceServer{})
	publishv1.RegisterChannelServiceServer(server, publishv1.UnimplementedChannelServiceServer{})
	adminv1.RegisterAdminServiceServer(server, adminv1.UnimplementedAdminServiceServer{})
	legacyv1.RegisterRelayServiceServer(server, legacyv1.UnimplementedRelayServiceServer{})
	legacyv1.RegisterPushServerServiceServer(server, legacyv1.UnimplementedPushServerServiceServer{})
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx) })
	tcp, err = grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Check(t, err)
	t.Cleanup(func() {
		testkit.Check(t, tcp.Close())
		cancel()
		testkit.Check(t, g.Wait())
	})
	return pipe, tcp, server
}

// Every method of every service has a rule, and without credentials only the written list is open.
func TestRules_defaultDeny(t *testing.T) {
	_, conn, server := serve(t, rpc.AuthConfig{}, services{})
	open := map[string]bool{
		"/trunkline.auth.v1.AuthService/RefreshToken": true, "/trunkline.auth.v1.AuthService/GetKeySet": true,
	}
	// Of the older protocols, whose services decide; see Caller.CheckOpen.
	anyone := func(name string) bool {
		return strings.HasPrefix(name, "/trunkline.legacy.v1.") && !strings.Contains(name, "CommandService")
	}
	methods := 0
	for service, info := range server.GetServiceInfo() {
		ours := strings.HasPrefix(service, "trunkline.")
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			rule, ok := rpc.RuleFor(name)
			if !ok {
				t.Errorf("%s has no rule", name)
			}
			if !ours {
				continue
			}
			methods++
			if rule.Open != open[name] || rule.Anyone != anyone(name) || !rule.Open && rule.Scope == "" {
				t.Errorf("%s has the rule %+v", name, rule)
			}
			var err error
			if m.IsClientStream || m.IsServerStream {
				var st grpc.ClientStream
				st, err = conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, name)
				testkit.Check(t, err)
				err = st.RecvMsg(&errorsv1.Error{})
			} else {
				err = conn.Invoke(t.Context(), name, &errorsv1.Error{}, &errorsv1.Error{})
			}
			if denied := status.Code(err) == codes.Unauthenticated; denied == (rule.Open || rule.Anyone) {
				t.Errorf("%s without credentials: %v", name, err)
			}
		}
	}
	if methods < 20 {
		t.Errorf("only %d methods were walked", methods)
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	if err := conn.Invoke(t.Context(), "/trunkline.auth.v1.AuthService/Dance", &errorsv1.Error{}, &errorsv1.Error{}); rpc.FromError(err).Reason != "METHOD_UNKNOWN" {
		t.Errorf("an unknown method: %v", err)
	}
}

func with(ctx context.Context, authorization ...string) context.Context {
	for _, a := range authorization {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", a) //nolint:fatcontext // one or two values
	}
	return ctx
}

func TestCaller(t *testing.T) {
	issuer, key := rpc.NewAPIKey("issuer", rpc.ScopeTokensIssue)
	reader, key2 := rpc.NewAPIKey("reader", rpc.ScopeHistory)
	pipe, conn, _ := serve(t, rpc.AuthConfig{Keys: []rpc.APIKey{key, key2}}, services{})
	client := authv1.NewAuthServiceClient(conn)
	for _, tc := range []struct {
		name   string
		auth   []string
		reason string
	}{
		{"the scope", []string{"Bearer " + issuer}, ""},
		{"scheme in lower case", []string{"bearer " + issuer}, ""},
		{"another scope", []string{"Bearer " + reader}, "PERMISSION_DENIED"},
		{"nothing", nil, "TOKEN_MISSING"},
		{"basic", []string{"Basic x"}, "TOKEN_MISSING"},
		{"empty", []string{"Bearer "}, "TOKEN_MISSING"},
		{"twice", []string{"Bearer " + issuer, "Bearer " + issuer}, "TOKEN_INVALID"},
		{"one bit off", []string{"Bearer " + issuer[:len(issuer)-1] + "!"}, "API_KEY_INVALID"},
		{"unknown id", []string{"Bearer tlk_nobody_" + strings.Repeat("x", 43)}, "API_KEY_INVALID"},
		{"no id", []string{"Bearer tlk_"}, "API_KEY_INVALID"},
		{"a token without a validator", []string{"Bearer x.y.z"}, "TOKEN_INVALID"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, err := client.IssueToken(with(t.Context(), tc.auth...), &authv1.IssueTokenRequest{})
			if tc.reason == "" {
				if err != nil || resp.GetClient() != "issuer" {
					t.Errorf("got %v, %v", resp, err)
				}
				return
			}
			if e := rpc.FromError(err); err == nil || e.Reason != tc.reason {
				t.Errorf("error is %v, want %s", err, tc.reason)
			}
			for _, d := range status.Convert(err).Details() {
				if info, ok := d.(*errdetails.RequestInfo); ok && info.GetRequestId() == "" {
					t.Error("no request id")
				}
			}
		})
	}
	t.Run("roles over the pipe", func(t *testing.T) {
		inner, err := rpc.Dial(rpc.DialConfig{Pipe: pipe, InternalKey: internal})
		testkit.Check(t, err)
		defer func() { testkit.Check(t, inner.Close()) }()
		resp, err := authv1.NewAuthServiceClient(inner).IssueToken(t.Context(), &authv1.IssueTokenRequest{})
		if err != nil || resp.GetClient() != "internal" {
			t.Errorf("got %v, %v", resp, err)
		}
		bare, err := rpc.Dial(rpc.DialConfig{Pipe: pipe})
		testkit.Check(t, err)
		defer func() { testkit.Check(t, bare.Close()) }()
		_, err = authv1.NewAuthServiceClient(bare).IssueToken(t.Context(), &authv1.IssueTokenRequest{})
		if rpc.FromError(err).Reason != "TOKEN_MISSING" {
			t.Errorf("for a caller without credentials: %v", err)
		}
	})
}

func TestDevLoopback(t *testing.T) {
	_, conn, _ := serve(t, rpc.AuthConfig{DevLoopback: true}, services{})
	resp, err := authv1.NewAuthServiceClient(conn).IssueToken(t.Context(), &authv1.IssueTokenRequest{})
	if err != nil || resp.GetClient() != "dev" {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestServer_survivesAPanic(t *testing.T) {
	_, conn, _ := serve(t, rpc.AuthConfig{}, services{panics: true})
	for range 2 {
		_, err := authv1.NewAuthServiceClient(conn).GetKeySet(t.Context(), &authv1.GetKeySetRequest{})
		if e := rpc.FromError(err); e.Reason != "INTERNAL" || strings.Contains(e.Message, "boom") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestServer_refusesAPortInUse(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	defer func() { testkit.Check(t, l.Close()) }()
	if _, err := rpc.NewServer(t.Context(), rpc.Config{Listen: l.Addr().String()}, nil, slog.New(slog.DiscardHandler), nil); err == nil {
		t.Error("the port was taken twice")
	}
}

// counting validates tokens and counts how often it is asked.
type counting struct {
	authv1.AuthServiceClient
	mu    sync.Mutex
	calls int
}

func (c *counting) ValidateToken(_ context.Context, req *authv1.ValidateTokenRequest, _ ...grpc.CallOption) (*authv1.ValidateTokenResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if req.GetToken() != "good" {
		return nil, rpc.Status(bus.ErrTokenInvalid, "").Err()
	}
	return &authv1.ValidateTokenResponse{Identity: &authv1.Identity{Client: "c", ExpireTime: timestamppb.New(time.Now().Add(time.Hour))}}, nil
}

func TestTokens_areRememberedWhenGood(t *testing.T) {
	asked := &counting{}
	tokens := rpc.NewTokens(asked)
	for range 5 {
		id, err := tokens.Validate(t.Context(), "good")
		if err != nil || id.Client != "c" {
			t.Fatalf("got %v, %v", id, err)
		}
	}
	for range 3 {
		if _, err := tokens.Validate(t.Context(), "bad"); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Fatalf("error is %v", err)
		}
	}
	if asked.calls != 1+3 {
		t.Errorf("asked %d times, want once for the good one and each time for the bad one", asked.calls)
	}
}
