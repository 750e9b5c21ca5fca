package peer

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// ServeCentrifuge is a server around the centrifuge library's public API. It checks tokens with the same algorithm as Trunkline,
// and subscriptions against the token's channels. The library has no gRPC service, so the thinnest one stands in front of
// Node.Publish.
func ServeCentrifuge(args []string) error {
	flags := flag.NewFlagSet("serve-centrifuge", flag.ExitOnError)
	httpAt := flags.String("http", "", "where WebSockets are served")
	grpcAt := flags.String("grpc", "", "where gRPC is served")
	redisAt := flags.String("redis", "", "Redis; the memory engine without")
	apiKey := flags.String("api-key", "", "the key of publishers")
	jwtKey := flags.String("jwt-key", "", "Ed25519 public key of tokens, base64")
	if err := flags.Parse(args); err != nil {
		return err
	}
	public, err := base64.StdEncoding.DecodeString(*jwtKey)
	if err != nil {
		return fmt.Errorf("-jwt-key: %w", err)
	}
	node, err := newNode(*redisAt, public)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *grpcAt)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	publishv1.RegisterPublishServiceServer(s, &centrifugeService{node: node, key: "Bearer " + *apiKey})
	failed := make(chan error, 2)
	go func() { failed <- s.Serve(l) }()
	mux := http.NewServeMux()
	// Pings are sent as by default. The load does not answer those of the application, so that is not waited for.
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		PingPongConfig: centrifuge.PingPongConfig{PongTimeout: -1},
	}))
	server := &http.Server{Addr: *httpAt, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { failed <- server.ListenAndServe() }()
	return <-failed
}

// newNode starts a node with default settings.
func newNode(redisAt string, public ed25519.PublicKey) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError, LogHandler: func(e centrifuge.LogEntry) {
		fmt.Println("centrifuge:", e.Message, e.Fields) //nolint:forbidigo // a server of its own
	}})
	if err != nil {
		return nil, err
	}
	if redisAt != "" {
		shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: redisAt})
		if err != nil {
			return nil, err
		}
		broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
		if err != nil {
			return nil, err
		}
		node.SetBroker(broker)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithExpirationRequired())
	node.OnConnecting(func(ctx context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		var claims tokenClaims
		if _, err := parser.ParseWithClaims(e.Token, &claims, func(*jwt.Token) (any, error) { return public, nil }); err != nil {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		return centrifuge.ConnectReply{
			Context:     context.WithValue(ctx, claimsKey{}, &claims),
			Credentials: &centrifuge.Credentials{UserID: claims.Subject, ExpireAt: claims.ExpiresAt.Unix()},
		}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		claims, _ := c.Context().Value(claimsKey{}).(*tokenClaims)
		c.OnSubscribe(func(e centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			for _, prefix := range claims.Channels {
				if strings.HasPrefix(e.Channel, prefix) {
					done(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EnableRecovery: strings.HasPrefix(e.Channel, "kept:")}}, nil)
					return
				}
			}
			done(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
		})
		c.OnRefresh(func(_ centrifuge.RefreshEvent, done centrifuge.RefreshCallback) {
			done(centrifuge.RefreshReply{Expired: true}, nil)
		})
	})
	return node, node.Run()
}

type claimsKey struct{}

type centrifugeService struct {
	publishv1.UnimplementedPublishServiceServer
	node *centrifuge.Node
	key  string
}

func (s *centrifugeService) admit(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get("authorization"); len(v) != 1 || v[0] != s.key {
		return status.Error(codes.Unauthenticated, "wrong key")
	}
	return nil
}

func (s *centrifugeService) publish(r *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	var opts []centrifuge.PublishOption
	if strings.HasPrefix(r.GetTo(), "kept:") {
		opts = append(opts, centrifuge.WithHistory(1000, 10*time.Minute))
	}
	res, err := s.node.Publish(r.GetTo(), r.GetData(), opts...)
	if err != nil {
		return nil, err
	}
	out := &publishv1.PublishResponse{}
	if res.Offset > 0 {
		out.Position = &publishv1.Position{Epoch: res.Epoch, Offset: res.Offset}
	}
	return out, nil
}

func (s *centrifugeService) Publish(ctx context.Context, r *publishv1.PublishRequest) (*publishv1.PublishResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	return s.publish(r)
}

// lanes are the goroutines that a batch or a stream publishes with. The library joins what they publish at the same time into
// pipelines; a channel has one lane, which keeps its order.
const lanes = 32

var seed = maphash.MakeSeed()

func lane(to string) int { return int(maphash.String(seed, to) % lanes) }

func result(resp *publishv1.PublishResponse, err error) *publishv1.PublishResult {
	if err != nil {
		return &publishv1.PublishResult{Outcome: &publishv1.PublishResult_Error{Error: &errorsv1.Error{Message: err.Error()}}}
	}
	return &publishv1.PublishResult{Outcome: &publishv1.PublishResult_Ok{Ok: resp}}
}

func (s *centrifugeService) BatchPublish(ctx context.Context, r *publishv1.BatchPublishRequest) (*publishv1.BatchPublishResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	var byLane [lanes][]int
	for i, one := range r.GetRequests() {
		byLane[lane(one.GetTo())] = append(byLane[lane(one.GetTo())], i)
	}
	results := make([]*publishv1.PublishResult, len(r.GetRequests()))
	var wg sync.WaitGroup
	for _, list := range byLane {
		if len(list) > 0 {
			wg.Go(func() {
				for _, i := range list {
					results[i] = result(s.publish(r.GetRequests()[i]))
				}
			})
		}
	}
	wg.Wait()
	return &publishv1.BatchPublishResponse{Results: results}, nil
}

// window is how many messages of a stream may be unanswered.
const window = 1024

func (s *centrifugeService) PublishStream(st grpc.BidiStreamingServer[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse]) error {
	if err := s.admit(st.Context()); err != nil {
		return err
	}
	if err := st.Send(&publishv1.PublishStreamResponse{Credits: window}); err != nil {
		return err
	}
	var workers sync.WaitGroup
	answers := make(chan *publishv1.PublishStreamResult, window)
	var queues [lanes]chan *publishv1.PublishStreamRequest
	for i := range queues {
		queues[i] = make(chan *publishv1.PublishStreamRequest, window)
		workers.Go(func() {
			for r := range queues[i] {
				answers <- &publishv1.PublishStreamResult{Sequence: r.GetSequence(), Result: result(s.publish(r.GetPublish()))}
			}
		})
	}
	sent := make(chan error, 1)
	go func() { sent <- answer(st, answers) }()
	var err error
	for {
		var r *publishv1.PublishStreamRequest
		if r, err = st.Recv(); err != nil {
			break
		}
		queues[lane(r.GetPublish().GetTo())] <- r
	}
	for _, q := range queues {
		close(q)
	}
	workers.Wait()
	close(answers)
	if e := <-sent; e != nil {
		return e
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// answer sends what is there in one response.
func answer(st grpc.BidiStreamingServer[publishv1.PublishStreamRequest, publishv1.PublishStreamResponse], answers <-chan *publishv1.PublishStreamResult) error {
	var failed error
	for a := range answers {
		resp := &publishv1.PublishStreamResponse{Results: []*publishv1.PublishStreamResult{a}}
		for more := true; more && len(resp.GetResults()) < window/4; {
			select {
			case b, ok := <-answers:
				if more = ok; ok {
					resp.Results = append(resp.Results, b)
				}
			default:
				more = false
			}
		}
		resp.Credits = uint32(len(resp.GetResults())) //nolint:gosec // at most window
		if failed == nil {
			failed = st.Send(resp)
		}
	}
	return failed
}
