package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// The words of the bus and those of the contract are the same.
func TestStatus_busAndCatalogueAgree(t *testing.T) {
	source, err := os.ReadFile("../bus/errors.go")
	testkit.Check(t, err)
	said := map[string]bool{}
	for _, m := range regexp.MustCompile(`of\("([A-Z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		if said[m[1]] {
			t.Errorf("%s is in the bus twice", m[1])
		}
		said[m[1]] = true
		if _, ok := errorsv1.ErrorReason_value["ERROR_REASON_"+m[1]]; !ok {
			t.Errorf("%s is not in the catalogue", m[1])
		}
	}
	for name, number := range errorsv1.ErrorReason_value {
		if reason := strings.TrimPrefix(name, "ERROR_REASON_"); number != 0 && !said[reason] {
			t.Errorf("%s is in the catalogue and nowhere in the bus", reason)
		}
	}
}

// A client's token opens the methods that are for clients, and no other.
func TestRules_tokensOpenClientMethodsOnly(t *testing.T) {
	_, conn, server := serve(t, rpc.AuthConfig{Tokens: rpc.NewTokens(&counting{})}, services{})
	ctx := with(t.Context(), "Bearer good")
	for service, info := range server.GetServiceInfo() {
		if !strings.HasPrefix(service, "trunkline.") {
			continue
		}
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			rule, _ := rpc.RuleFor(name)
			var err error
			if m.IsClientStream || m.IsServerStream {
				var st grpc.ClientStream
				st, err = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, name)
				testkit.Check(t, err)
				testkit.Check(t, st.CloseSend()) // one that is let in waits for a request
				err = st.RecvMsg(&errorsv1.Error{})
			} else {
				err = conn.Invoke(ctx, name, &errorsv1.Error{}, &errorsv1.Error{})
			}
			denied := err != nil && rpc.FromError(err).Reason == "PERMISSION_DENIED"
			if denied == (rule.Tokens || rule.Open) {
				t.Errorf("%s by a client: %v", name, err)
			}
		}
	}
	if err := conn.Invoke(with(t.Context(), "Bearer bad"), "/trunkline.publish.v1.PublishService/Publish", &errorsv1.Error{}, &errorsv1.Error{}); rpc.FromError(err).Reason != "TOKEN_INVALID" {
		t.Errorf("a bad token: %v", err)
	}
}

func TestKeys_mustBeFound(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	_, underscore := rpc.NewAPIKey("my_app", rpc.ScopePublish)
	_, twice := rpc.NewAPIKey("app", rpc.ScopePublish)
	for name, keys := range map[string][]rpc.APIKey{"an underscore": {underscore}, "no id": {{}}, "twice": {twice, twice}} {
		if _, err := rpc.NewServer(t.Context(), rpc.Config{Auth: rpc.AuthConfig{Keys: keys}}, nil, log, nil); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	text, key := rpc.NewAPIKey("app", rpc.ScopePublish)
	for name, tc := range map[string]func() (rpc.APIKey, error){
		"the text": func() (rpc.APIKey, error) { return rpc.ParseAPIKey(text, rpc.ScopePublish) },
	} {
		if got, err := tc(); err != nil || got.Digest != key.Digest || got.ID != key.ID {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, tc := range map[string]func() (rpc.APIKey, error){
		"a short secret":   func() (rpc.APIKey, error) { return rpc.ParseAPIKey("tlk_app_short", rpc.ScopePublish) },
		"no prefix":        func() (rpc.APIKey, error) { return rpc.ParseAPIKey(strings.Repeat("x", 50), rpc.ScopePublish) },
		"no scopes":        func() (rpc.APIKey, error) { return rpc.ParseAPIKey(text) },
		"an unknown scope": func() (rpc.APIKey, error) { return rpc.ParseAPIKey(text, "root") },
		"half a digest":    func() (rpc.APIKey, error) { return rpc.ParseAPIKeyDigest("app", "abcd", rpc.ScopePublish) },
	} {
		if _, err := tc(); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nobody's secret is in the log, and nobody's rubbish comes back as a request id.
func TestServer_keepsSecretsToItself(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(&locked{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, err := rpc.NewServer(t.Context(), rpc.Config{Listen: "127.0.0.1:0", Auth: rpc.AuthConfig{Tokens: rpc.NewTokens(&counting{})}}, nil, log, nil)
	testkit.Check(t, err)
	authv1.RegisterAuthServiceServer(server, services{})
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx) })
	conn, err := grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Check(t, err)
	client := authv1.NewAuthServiceClient(conn)
	call := func(authorization, id string) string {
		c := metadata.AppendToOutgoingContext(with(t.Context(), authorization), rpc.RequestIDHeader, id)
		_, err := client.IssueToken(c, &authv1.IssueTokenRequest{Client: "top-secret-payload"})
		if err == nil {
			t.Fatal("it was let in")
		}
		if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the error has the secret: %v", err)
		}
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.RequestInfo); ok {
				return info.GetRequestId()
			}
		}
		return ""
	}
	if id := call("Bearer tlk_app_s3cr3t"+strings.Repeat("x", 40), "req-1"); id != "req-1" {
		t.Errorf("request id is %q", id)
	}
	for _, rubbish := range []string{strings.Repeat("x", 65), "a b", `"><script>`, "a;b"} {
		if id := call("Bearer s3cr3t.s3cr3t.s3cr3t", rubbish); id == rubbish || len(id) != 36 {
			t.Errorf("request id is %q for %q", id, rubbish)
		}
	}
	testkit.Check(t, conn.Close())
	cancel()
	testkit.Check(t, g.Wait())
	text := out.String()
	if strings.Contains(text, "s3cr3t") || strings.Contains(text, "top-secret") || !strings.Contains(text, "API_KEY_INVALID") || !strings.Contains(text, "req-1") {
		t.Errorf("the log is %s", text)
	}
}

type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A unary call has a deadline, whatever its caller asks for; IssueToken of services checks its own.
func TestServer_boundsDeadlines(t *testing.T) {
	_, conn, _ := serve(t, rpc.AuthConfig{DevLoopback: true}, services{})
	client := authv1.NewAuthServiceClient(conn)
	long, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
	defer cancel()
	for _, ctx := range []context.Context{t.Context(), long} {
		if _, err := client.IssueToken(ctx, &authv1.IssueTokenRequest{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: strings.Repeat("x", 4<<20)}); rpc.FromError(err).Reason != "MESSAGE_TOO_LARGE" {
		t.Errorf("4 MiB and more: %v", rpc.FromError(err).Reason)
	}
}

// open is a stream that nobody ends.
type open struct {
	publishv1.UnimplementedPublishServiceServer
	entered chan struct{}
}

func (o open) Consume(_ *publishv1.ConsumeRequest, s grpc.ServerStreamingServer[publishv1.ConsumeResponse]) error {
	close(o.entered)
	<-s.Context().Done()
	return s.Context().Err()
}

func TestServer_stopsWithinItsGrace(t *testing.T) {
	pipe := rpc.NewPipe()
	server, err := rpc.NewServer(t.Context(), rpc.Config{Grace: 50 * time.Millisecond, Auth: rpc.AuthConfig{Keys: []rpc.APIKey{rpc.InternalKey(internal)}}},
		pipe, slog.New(slog.DiscardHandler), nil)
	testkit.Check(t, err)
	service := open{entered: make(chan struct{})}
	publishv1.RegisterPublishServiceServer(server, service)
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx) })
	conn, err := rpc.Dial(rpc.DialConfig{Pipe: pipe, InternalKey: internal})
	testkit.Check(t, err)
	defer func() { testkit.Check(t, conn.Close()) }()
	st, err := publishv1.NewPublishServiceClient(conn).Consume(t.Context(), &publishv1.ConsumeRequest{})
	testkit.Check(t, err)
	<-service.entered
	cancel()
	if err := g.Wait(); err == nil || !strings.Contains(err.Error(), "cut off: 1") { // the test's own deadline is the bound
		t.Errorf("Run = %v", err)
	}
	if _, err := st.Recv(); err == nil {
		t.Error("the stream lives on")
	}
	if _, err := rpc.Dial(rpc.DialConfig{}); err == nil {
		t.Error("a connection to nowhere")
	}
}

// waiting validates when it is told to; a caller who gives up is told so.
type waiting struct {
	authv1.AuthServiceClient
	entered chan struct{}
	release chan struct{}
}

func (w *waiting) ValidateToken(ctx context.Context, _ *authv1.ValidateTokenRequest, _ ...grpc.CallOption) (*authv1.ValidateTokenResponse, error) {
	w.entered <- struct{}{}
	select {
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-w.release:
	}
	return &authv1.ValidateTokenResponse{Identity: &authv1.Identity{Client: "c", ExpireTime: timestamppb.New(time.Now().Add(time.Hour))}}, nil
}

// An answer that was on its way when everything was forgotten is not remembered, and nobody who comes later shares it.
func TestTokens_forgetWhatIsBeingValidated(t *testing.T) {
	w := &waiting{entered: make(chan struct{}), release: make(chan struct{})}
	tokens := rpc.NewTokens(w)
	var g errgroup.Group
	validate := func() {
		g.Go(func() error {
			_, err := tokens.Validate(t.Context(), "x")
			return err
		})
		<-w.entered // it asks
	}
	validate()
	tokens.Forget()
	validate() // does not share the first one's answer
	w.release <- struct{}{}
	tokens.Forget()
	w.release <- struct{}{}
	testkit.Check(t, g.Wait())
	validate()
	w.release <- struct{}{}
	testkit.Check(t, g.Wait())
}

// Concurrent validations of one token share a call, and do not share the fate of the caller that made it.
func TestTokens_oneWhoGivesUpHurtsNobodyElse(t *testing.T) {
	w := &waiting{entered: make(chan struct{}), release: make(chan struct{})}
	tokens := rpc.NewTokens(w)
	first, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer close(gone)
		if _, err := tokens.Validate(first, "x"); !errors.Is(err, bus.ErrAuthUnavailable) {
			t.Errorf("the one who gave up: %v", err)
		}
		return nil
	})
	<-w.entered
	const others = 4
	var queued sync.WaitGroup
	queued.Add(others)
	for range others {
		g.Go(func() error {
			queued.Done()
			id, err := tokens.Validate(t.Context(), "x")
			if err != nil || id.Client != "c" {
				t.Errorf("another: %v, %v", id, err)
			}
			return nil
		})
	}
	queued.Wait()
	cancel()
	<-gone
	close(w.release)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Wait() // every one reports by itself
	}()
	for {
		select {
		case <-w.entered: // the calls of the others, one or several
		case <-done:
			return
		}
	}
}
