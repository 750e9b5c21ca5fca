package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bench/load"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/auth"
)

func trunklines() []Target {
	features := []Feature{Unary, Batch, Stream, Recover, Acks, Connect, Fanout, Mixed, Nobody, Rooms}
	var list []Target
	for _, store := range []string{"redis", "memory"} {
		for _, coding := range []string{"json", "proto"} {
			name, features := "trunkline-"+store, features
			if coding == "proto" {
				name += "-proto"
				features = slices.DeleteFunc(slices.Clone(features), func(f Feature) bool { return f == Acks }) // the load acknowledges in JSON
			}
			list = append(list, Target{
				name, "Trunkline, one process with all roles, " + store + ", " + coding + " clients", features,
				func(ctx context.Context, env Env) (System, error) {
					return startTrunkline(ctx, env, store, coding)
				},
			})
		}
	}
	return list
}

// Trunkline is the product, in one process or several.
type Trunkline struct {
	group
	edges    []string // where clients connect; they are spread
	internal string
	proto    bool
	key      string
	conns    []*grpc.ClientConn
	tokens   []string
}

func startTrunkline(ctx context.Context, env Env, store, coding string) (_ System, err error) {
	t := &Trunkline{proto: coding == "proto"}
	defer func() {
		if err != nil {
			t.Stop()
		}
	}()
	at, err := freeAddrs(3)
	if err != nil {
		return nil, err
	}
	t.edges, t.internal = at[:1], at[2]
	args := []string{"serve", "--http-listen", at[0], "--grpc-listen", at[1], "--internal-listen", at[2], "--log-level", "error"}
	if store == "redis" {
		addr, err := t.redis()
		if err != nil {
			return nil, err
		}
		args = append(args, "--redis", "redis://"+addr)
	} else if _, err := t.folder(); err != nil {
		return nil, err
	}
	config, err := t.configure()
	if err != nil {
		return nil, err
	}
	if err := t.add(env, "trunkline", append(args, "--config", config)); err != nil {
		return nil, err
	}
	if err := waitReady(ctx, "http://"+t.internal+"/readyz"); err != nil {
		return nil, err
	}
	t.conns, err = dialAll(at[1])
	return t, err
}

// configure writes keys and a configuration: a namespace that keeps nothing, one that keeps, and no limit by address.
func (t *Trunkline) configure() (string, error) {
	key, err := auth.NewKey("k1")
	if err != nil {
		return "", err
	}
	t.key, _ = rpc.NewAPIKey("bench", rpc.ScopeAll)
	pem, api, config := filepath.Join(t.dir, "key.pem"), filepath.Join(t.dir, "api_key"), filepath.Join(t.dir, "trunkline.yaml")
	text := fmt.Sprintf(`internal_key_file: %s
auth: {keys: [{id: k1, algorithm: EdDSA, private_key_file: %s}]}
api_keys: [{id: bench, key_file: %s, scopes: ["*"]}]
edge: {connections_per_ip: 0, connections_per_token: 0, connections_per_user: 0}
channels: {namespaces: {live: {history_length: 0, presence: false}, kept: {history_length: 1000, history_age: 10m, presence: false}, listed: {history_length: 0, presence: true}}}
`, api, pem, api)
	for path, b := range map[string][]byte{pem: key.PEM, api: []byte(t.key), config: []byte(text)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return "", fmt.Errorf("write configuration: %w", err)
		}
	}
	return config, nil
}

// Tokens asks the auth service for them.
func (t *Trunkline) Tokens(ctx context.Context, n int) error {
	t.tokens = make([]string, n)
	client := authv1.NewAuthServiceClient(t.conns[0])
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+t.key)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range t.tokens {
		g.Go(func() error {
			resp, err := client.IssueToken(ctx, &authv1.IssueTokenRequest{
				Client: fmt.Sprintf("client-%d", i),
				Grants: []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY}}},
			})
			t.tokens[i] = resp.GetToken()
			return err
		})
	}
	return g.Wait()
}

// Addr is the first WebSocket listener.
func (t *Trunkline) Addr() string { return t.edge(0) }

// edge is where client i connects.
func (t *Trunkline) edge(i int) string { return t.edges[i%len(t.edges)] }

// Address is a Trunkline address.
func (*Trunkline) Address(kind Kind, n int) string {
	switch kind {
	case Live:
		return fmt.Sprintf("channels/live:%d", n)
	case Kept:
		return fmt.Sprintf("channels/kept:%d", n)
	case Listed:
		return fmt.Sprintf("channels/listed:%d", n)
	default:
		return fmt.Sprintf("clients/client-%d", n)
	}
}

// Script connects with a token and all subscriptions in one frame.
func (t *Trunkline) Script(i int, join Join) load.Script {
	if t.proto {
		return t.protoScript(i, join)
	}
	var subs []string
	for k, c := range join.Channels {
		after := ""
		if k == 0 && join.After != nil {
			after = fmt.Sprintf(`,"after":{"epoch":%q,"offset":"%d"}`, join.After.Epoch, join.After.Offset)
		}
		subs = append(subs, fmt.Sprintf(`{"address":%q%s}`, c, after))
	}
	hello := fmt.Sprintf(`{"id":1,"connect":{"token":%q,"subscriptions":[%s]}}`, t.tokens[i], strings.Join(subs, ","))
	want := []string{`"connected"`}
	if len(subs) > 0 {
		want = append(want, `"subscribed"`)
	}
	return load.Script{
		Addr:    t.edge(i),
		Request: load.Upgrade(t.edge(i), "/v1/ws", "trunkline.v1.json"),
		Steps:   []load.Step{{Send: load.Frame(1, []byte(hello)), Expect: want}},
		Refused: `"error"`,
	}
}

func (t *Trunkline) protoScript(i int, join Join) load.Script {
	c := &edgev1.Connect{Token: t.tokens[i]}
	var want []string
	for k, ch := range join.Channels {
		s := &edgev1.Subscribe{Address: ch}
		if k == 0 && join.After != nil {
			s.After = &publishv1.Position{Epoch: join.After.Epoch, Offset: join.After.Offset}
		}
		c.Subscriptions = append(c.Subscriptions, s)
		want = append(want, ch)
	}
	b, err := proto.Marshal(&edgev1.ClientFrame{Id: 1, Command: &edgev1.ClientFrame_Connect{Connect: c}})
	if err != nil {
		panic(err)
	}
	return load.Script{
		Addr:    t.edge(i),
		Request: load.Upgrade(t.edge(i), "/v1/ws", "trunkline.v1.proto"),
		Steps:   []load.Step{{Send: load.Frame(2, b), Expect: append(want, fmt.Sprintf("client-%d", i))}},
	}
}

// Publisher publishes by gRPC.
func (t *Trunkline) Publisher(_ context.Context, w int) (Publisher, error) {
	return &backend{key: t.key, client: publishv1.NewPublishServiceClient(t.conns[w%len(t.conns)])}, nil
}

// Stop ends the processes.
func (t *Trunkline) Stop() {
	for _, c := range t.conns {
		_ = c.Close()
	}
	t.group.Stop()
}

// Get returns a document of the internal listener: profiles, metrics.
func (t *Trunkline) Get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.internal+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", path, resp.Status, b)
	}
	return b, err
}

func waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("ask for readiness: %w", err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the server is not ready after 20 s")
		}
	}
}
