package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// raw sends bytes as they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, errors.New("not bytes")
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }

// plain calls bytes compressed that are as they are.
type plain struct{ name string }

func (p plain) Type() string { return p.name }

func (plain) Do(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

const (
	issue   = "/trunkline.auth.v1.AuthService/IssueToken"
	consume = "/trunkline.publish.v1.PublishService/Consume"
)

// compress returns b as the named encoding has it.
func compress(tb testing.TB, name string, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := encoding.GetCompressor(name).Compress(&out)
	testkit.Check(tb, err)
	_, err = w.Write(b)
	testkit.Check(tb, err)
	testkit.Check(tb, w.Close())
	return out.Bytes()
}

// What the library would refuse by itself is refused as everything else: with the right code, a reason, and the field.
func TestServer_refusesWhatItCannotRead(t *testing.T) {
	_, conn, _ := serve(t, rpc.AuthConfig{DevLoopback: true}, services{})
	for name, c := range map[string]struct {
		body          string
		reason, field string
	}{
		"no protobuf":                {"this is no protobuf", "FIELD_INVALID", ""},
		"JSON":                       {`{"client":"ada"}`, "FIELD_INVALID", ""},
		"a text that is not UTF-8":   {"\x0a\x02\xff\xfe", "FIELD_INVALID", "client"},
		"cut off in a field":         {"\x0a\x20abc", "FIELD_INVALID", "client"},
		"a byte above the limit":     {"\x0a\xfd\xff\xff\x01" + strings.Repeat("x", rpc.DefaultMaxMessage-4), "MESSAGE_TOO_LARGE", ""},
		"half above the limit":       {"\x0a" + strings.Repeat("x", rpc.DefaultMaxMessage*3/2), "MESSAGE_TOO_LARGE", ""},
		"as large as may be, broken": {strings.Repeat("\xff", rpc.DefaultMaxMessage), "FIELD_INVALID", ""},
	} {
		for _, method := range []string{issue, consume} {
			t.Run(name+" "+method, func(t *testing.T) {
				b := []byte(c.body)
				err := exchange(t.Context(), conn, method, &b)
				e := rpc.FromError(err)
				field := ""
				if len(e.Fields) > 0 {
					field = e.Fields[0].Field
				}
				if method == consume && c.field != "" {
					c.field = "address"
				}
				if status.Code(err) != codes.InvalidArgument || e.Reason != c.reason || field != c.field {
					t.Errorf("got %v, reason %s, field %q", err, e.Reason, field)
				}
				if c.reason == "MESSAGE_TOO_LARGE" && e.Metadata["limit"] != "4194304" {
					t.Errorf("metadata is %v", e.Metadata)
				}
			})
		}
	}
}

// exchange sends bytes to a method, and returns how the call ended.
func exchange(ctx context.Context, conn grpc.ClientConnInterface, method string, body *[]byte, opts ...grpc.CallOption) error {
	opts = append(opts, grpc.ForceCodecV2(raw{}))
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, opts...)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(body); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_ = stream.CloseSend() // the answer says what counts
	var answer []byte
	for err == nil {
		err = stream.RecvMsg(&answer)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func TestServer_takesCompressedRequests(t *testing.T) {
	_, conn, server := serve(t, rpc.AuthConfig{DevLoopback: true}, services{})
	client := authv1.NewAuthServiceClient(conn)
	large := &authv1.IssueTokenRequest{Client: strings.Repeat("x", rpc.DefaultMaxMessage*3/2)}
	bomb := &authv1.IssueTokenRequest{Client: strings.Repeat("x", 12<<20)}
	for _, name := range []string{"gzip", "deflate"} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: strings.Repeat("x", 100_000)}, grpc.UseCompressor(name)); err != nil {
				t.Error(err)
			}
			if _, err := client.IssueToken(t.Context(), large, grpc.UseCompressor(name)); rpc.FromError(err).Reason != "MESSAGE_TOO_LARGE" {
				t.Errorf("larger than the limit after decompression: %v", err)
			}
			// A bomb is not taken in. The library ends it by itself.
			if _, err := client.IssueToken(t.Context(), bomb, grpc.UseCompressor(name)); status.Code(err) != codes.ResourceExhausted || rpc.FromError(err).Reason != "MESSAGE_TOO_LARGE" {
				t.Errorf("a bomb: %v", err)
			}
			dishonest, err := grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithCompressor(plain{name})) //nolint:staticcheck // the newer way has one registry for both sides
			testkit.Check(t, err)
			defer func() { testkit.Check(t, dishonest.Close()) }()
			whole := compress(t, name, []byte("\x0a\x03ada"))
			for cut, body := range map[string][]byte{"no " + name: []byte("plain"), "half": whole[:len(whole)-6], "a wrong sum": append(whole[:len(whole)-1:len(whole)-1], whole[len(whole)-1]^1)} {
				err := exchange(t.Context(), dishonest, issue, &body)
				if e := rpc.FromError(err); status.Code(err) != codes.InvalidArgument || e.Reason != "FIELD_INVALID" || !strings.Contains(e.Message, "decompress") {
					t.Errorf("%s: %v", cut, err)
				}
			}
		})
	}
	if _, err := client.IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: "x"}, grpc.UseCompressor("identity")); err != nil {
		t.Error(err)
	}
}

// A process with the client's protos alone reads a refusal, and health tells of each service.
func TestStatus_hasTheContractsOwnDetail(t *testing.T) {
	_, conn, _ := serve(t, rpc.AuthConfig{}, services{})
	trailer := metadata.MD{}
	_, err := authv1.NewAuthServiceClient(conn).IssueToken(t.Context(), &authv1.IssueTokenRequest{}, grpc.Trailer(&trailer))
	details := status.Convert(err).Details()
	own, ok := details[len(details)-1].(*errorsv1.Error)
	if !ok || own.GetReason() != "TOKEN_MISSING" || own.GetErrorReason() != errorsv1.ErrorReason_ERROR_REASON_TOKEN_MISSING ||
		own.GetCode() != int32(codes.Unauthenticated) || own.GetMessage() == "" {
		t.Errorf("the last detail is %v", details[len(details)-1])
	}
	if _, ok := details[0].(*errdetails.ErrorInfo); !ok {
		t.Errorf("the first detail is %v", details[0])
	}
	read := &errorsv1.StatusDetails{}
	testkit.Check(t, proto.Unmarshal([]byte(strings.Join(trailer["grpc-status-details-bin"], "")), read))
	if want := status.Convert(err).Proto(); read.GetCode() != want.GetCode() || read.GetMessage() != want.GetMessage() ||
		!slices.EqualFunc(read.GetDetails(), want.GetDetails(), func(a, b *anypb.Any) bool { return proto.Equal(a, b) }) {
		t.Errorf("the trailer reads as %v, want %v", read, want)
	}
}

func TestHealth_knowsEachService(t *testing.T) {
	_, conn, server := serve(t, rpc.AuthConfig{}, services{})
	client := grpc_health_v1.NewHealthClient(conn)
	check := func(name string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
		r, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name})
		return r.GetStatus(), err
	}
	for _, serving := range []bool{true, false, true} {
		server.SetServing(serving)
		want := grpc_health_v1.HealthCheckResponse_NOT_SERVING
		if serving {
			want = grpc_health_v1.HealthCheckResponse_SERVING
		}
		for name := range server.GetServiceInfo() {
			if got, err := check(name); err != nil || got != want {
				t.Errorf("%s is %v, %v; want %v", name, got, err, want)
			}
		}
		if got, err := check(""); err != nil || got != want {
			t.Errorf("the process is %v, %v; want %v", got, err, want)
		}
		list, err := client.List(t.Context(), &grpc_health_v1.HealthListRequest{})
		testkit.Check(t, err)
		if len(list.GetStatuses()) != len(server.GetServiceInfo())+1 {
			t.Errorf("the list has %d entries", len(list.GetStatuses()))
		}
	}
	for _, name := range []string{"trunkline.publish.v1.Nobody", "x", strings.Repeat("x", 5000)} {
		_, err := check(name)
		if e := rpc.FromError(err); status.Code(err) != codes.NotFound || e.Reason != "SERVICE_UNKNOWN" || len(e.Fields) > 0 {
			t.Errorf("%.20s: %v", name, err)
		}
		watch, err := client.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name})
		testkit.Check(t, err)
		if r, err := watch.Recv(); err != nil || r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
			t.Errorf("watched %.20s: %v, %v", name, r, err)
		}
	}
}

// Strangers do not write into the log of warnings.
func TestHealth_warnsOfNobody(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(&locked{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	server, err := rpc.NewServer(t.Context(), rpc.Config{Listen: "127.0.0.1:0", Reflection: true}, nil, log, nil)
	testkit.Check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx) })
	conn, err := grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Check(t, err)
	for range 3 {
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
			t.Error(err)
		}
	}
	testkit.Check(t, conn.Close())
	cancel()
	testkit.Check(t, g.Wait())
	if out.Len() > 0 {
		t.Errorf("the log is %s", out.String())
	}
}

// slow is streams that end when their context does, and a unary call that does.
type slow struct {
	publishv1.UnimplementedPublishServiceServer
}

func (slow) Consume(_ *publishv1.ConsumeRequest, s grpc.ServerStreamingServer[publishv1.ConsumeResponse]) error {
	<-s.Context().Done()
	return s.Context().Err()
}

func (slow) Publish(ctx context.Context, _ *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	<-ctx.Done()
	return nil, errors.New("the store went away") // a handler that hides its cause
}

// A server that ended a call at its deadline would reset it, which is CANCELLED for a caller whose own clock is a little late. So it
// ends a moment before, with the status. The caller's clock is taken away here: it sends its deadline by hand.
func TestServer_endsBeforeTheDeadline(t *testing.T) {
	pipe := rpc.NewPipe()
	server, err := rpc.NewServer(t.Context(), rpc.Config{Auth: rpc.AuthConfig{Keys: []rpc.APIKey{rpc.InternalKey(internal)}}}, pipe, slog.New(slog.DiscardHandler), nil)
	testkit.Check(t, err)
	publishv1.RegisterPublishServiceServer(server, slow{})
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx) })
	conn, err := rpc.Dial(rpc.DialConfig{Pipe: pipe, InternalKey: internal})
	testkit.Check(t, err)
	for range 5 {
		for _, method := range []string{"/trunkline.publish.v1.PublishService/Publish", consume} {
			call, end := context.WithTimeout(t.Context(), 300*time.Millisecond)
			began := time.Now()
			body := []byte{}
			err := exchange(call, conn, method, &body)
			took := time.Since(began)
			end()
			e := rpc.FromError(err)
			if status.Code(err) != codes.DeadlineExceeded || len(status.Convert(err).Details()) == 0 {
				t.Fatalf("%s ended after %s with %v (%s)", method, took, err, e.Reason)
			}
		}
	}
	testkit.Check(t, conn.Close())
	cancel()
	testkit.Check(t, g.Wait())
}
