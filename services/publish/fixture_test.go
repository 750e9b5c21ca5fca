package publish_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/rpc/rpctest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/admin"
	"github.com/trunkline/trunkline/services/auth"
	"github.com/trunkline/trunkline/services/publish"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is the real services over the memory store, called through a real gRPC server.
type fixture struct {
	tb       testing.TB
	store    *memory.Store
	publish  publishv1.PublishServiceClient
	channels publishv1.ChannelServiceClient
	states   publishv1.StateServiceClient
	inboxes  publishv1.InboxServiceClient
	admin    adminv1.AdminServiceClient
	auth     authv1.AuthServiceClient
	stop     func()
}

func start(tb testing.TB, cfg publish.Config) *fixture {
	tb.Helper()
	return startOn(tb, cfg, func(s *memory.Store) publish.Store { return s })
}

// startBeating is start with another time between heartbeats.
func startBeating(tb testing.TB, every time.Duration) *fixture {
	tb.Helper()
	return startWith(tb, publish.Config{}, rpc.Config{Heartbeat: every}, func(s *memory.Store) publish.Store { return s })
}

// startOn starts the services over what wrap makes of the store.
func startOn(tb testing.TB, cfg publish.Config, wrap func(*memory.Store) publish.Store) *fixture {
	tb.Helper()
	return startWith(tb, cfg, rpc.Config{}, wrap)
}

func startWith(tb testing.TB, cfg publish.Config, serving rpc.Config, wrap func(*memory.Store) publish.Store) *fixture {
	tb.Helper()
	store := memory.New(memory.Config{})
	cfg.Namespaces = bus.Namespaces{
		Default:    bus.DefaultNamespace(),
		Named:      map[string]bus.Namespace{"live": {}, "made": {Explicit: true}, "strict": {Durability: bus.Replicated, Retention: bus.Retention{Length: 10, Age: time.Hour}}, "last": {Retain: time.Minute}, "long": {Retention: bus.Retention{Length: 100_000, Age: time.Hour}}},
		Facilities: bus.Namespace{Retain: time.Minute, MaxMessage: 100 << 10},
	}
	key, err := auth.NewKey("k")
	testkit.Check(tb, err)
	as, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{key}})
	testkit.Check(tb, err)
	ps, err := publish.New(wrap(store), cfg)
	testkit.Check(tb, err)
	server := rpctest.New(tb)
	conn := server.Conn
	tokens := rpc.NewTokens(authv1.NewAuthServiceClient(conn))
	follower := revoked.New(store, revoked.Config{Forget: tokens.Forget})
	serving.Auth = rpc.AuthConfig{Tokens: tokens, Revocations: follower}
	stop := server.Run(serving, []rpctest.Service{as, ps, admin.New(store, cfg.Namespaces)}, ps.Run, follower.Run)
	return &fixture{
		states: publishv1.NewStateServiceClient(conn), inboxes: publishv1.NewInboxServiceClient(conn),
		tb: tb, store: store, stop: stop, publish: publishv1.NewPublishServiceClient(conn), channels: publishv1.NewChannelServiceClient(conn),
		admin: adminv1.NewAdminServiceClient(conn), auth: authv1.NewAuthServiceClient(conn),
	}
}

// as returns a context whose calls are made with a token of the client.
func (h *fixture) as(client string, grants ...*authv1.Grant) context.Context {
	h.tb.Helper()
	resp, err := h.auth.IssueToken(h.tb.Context(), &authv1.IssueTokenRequest{Client: client, User: "u-" + client, Grants: grants})
	testkit.Check(h.tb, err)
	return metadata.AppendToOutgoingContext(h.tb.Context(), "authorization", "Bearer "+resp.GetToken())
}

func grant(address string, actions ...authv1.Action) *authv1.Grant {
	return &authv1.Grant{Address: address, Actions: actions}
}

// refused says that the error has the reason.
func refused(tb testing.TB, err error, want *bus.Error) {
	tb.Helper()
	_ = refusal(tb, err, want)
}

// refusal says so too, and returns it.
func refusal(tb testing.TB, err error, want *bus.Error) *bus.Error {
	tb.Helper()
	e := rpc.FromError(err)
	if e == nil || !errors.Is(e, want) {
		tb.Fatalf("error is %v, want %s", err, want.Reason)
	}
	return e
}

func (h *fixture) pub(to, data string) *publishv1.PublishResponse {
	h.tb.Helper()
	resp, err := h.publish.Publish(h.tb.Context(), &publishv1.PublishRequest{To: to, Data: []byte(data)})
	testkit.Check(h.tb, err)
	return resp
}
