// Package apptest runs a real deployment on free ports for any test.
package apptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/client"
	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// Deployment is a running system: one process with all roles, or several that share a Redis.
type Deployment struct {
	// HTTP is the URL of the gateway, GRPC and Internal the host:port of its process.
	HTTP, GRPC, Internal string
	// Edges are the URLs of the edges.
	Edges []string
	// Legacy is host:port of the listeners of the older protocols that were asked for. The key of each is the key of its setting
	// without "legacy." and "_listen", such as relay.http.
	Legacy map[string]string
	// AdminKey is an API key with every scope.
	AdminKey string
	// Processes are in the order they were started.
	Processes []*Process

	Auth     authv1.AuthServiceClient
	Publish  publishv1.PublishServiceClient
	Channels publishv1.ChannelServiceClient
	Admin    adminv1.AdminServiceClient
}

// Process is one app.
type Process struct {
	app.Running
	stop context.CancelFunc
	done chan struct{}
	err  error
	log  *logs
}

// Stop ends the process as SIGTERM does and returns what Run returned. It may be called again.
func (p *Process) Stop() error {
	p.stop()
	<-p.done
	return p.err
}

// Log returns what the process has logged so far.
func (p *Process) Log() string { return p.log.String() }

type options struct {
	redis string
	split bool
	edges int
	edit  []func(*config.Config)
}

// Option changes what Start starts.
type Option func(*options)

// Redis makes Redis the store.
func Redis(url string) Option { return func(o *options) { o.redis = url } }

// Split runs auth, publish, gateway and this many edges as processes of their own; it needs Redis.
func Split(edges int) Option { return func(o *options) { o.split, o.edges = true, edges } }

// With edits the configuration of every process.
func With(edit func(c *config.Config)) Option {
	return func(o *options) { o.edit = append(o.edit, edit) }
}

// Setting changes one setting of every process, as a flag would.
func Setting(tb testing.TB, key, text string) Option {
	return With(func(c *config.Config) {
		tb.Helper()
		testkit.Check(tb, c.Set(key, text))
	})
}

// Dev runs in development mode.
func Dev() Option { return With(func(c *config.Config) { c.Dev = true }) }

// Start runs a deployment until the test ends, and fails the test when a process does not stop cleanly.
func Start(tb testing.TB, opts ...Option) *Deployment {
	tb.Helper()
	o := options{}
	for _, opt := range opts {
		opt(&o)
	}
	adminKey, digest := rpc.NewAPIKey("admin", rpc.ScopeAll)
	base := app.Default()
	base.ShutdownDelay = 0 // a test of it says so
	base.HTTP.Listen, base.GRPC.Listen, base.Internal.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	for _, p := range base.Legacy.Protocols {
		anyPort(p)
	}
	base.Redis.URL = config.Secret(o.redis)
	base.InternalKey = config.Secret(secret())
	base.Auth.Keys = []config.SigningKey{signingKey(tb)}
	base.APIKeys = []config.APIKey{{ID: "admin", Digest: hex.EncodeToString(digest.Digest[:]), Scopes: []string{rpc.ScopeAll}}}
	base.Edge.DrainWindow, base.Edge.DrainGrace = 10*time.Millisecond, 5*time.Second
	for _, edit := range o.edit {
		edit(&base)
	}
	d := &Deployment{AdminKey: adminKey, Legacy: map[string]string{}}
	if o.split {
		d.startSplit(tb, base, o.edges)
		return d
	}
	p := d.Start(tb, base)
	d.HTTP, d.GRPC, d.Internal, d.Edges = "http://"+p.HTTP, p.GRPC, p.Internal, []string{"http://" + p.HTTP}
	d.clients(tb, p.GRPC, p.GRPC)
	return d
}

// anyPort makes an older protocol listen on free ports, which its settings themselves would refuse.
func anyPort(p config.Protocol) {
	for _, section := range p.Sections() {
		v := reflect.ValueOf(section.Settings).Elem()
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("kind") == "listen" {
				v.Field(i).SetString("127.0.0.1:0")
			}
		}
	}
}

func (d *Deployment) startSplit(tb testing.TB, base config.Config, edges int) {
	tb.Helper()
	only := func(roles ...string) config.Config {
		c := base
		c.Roles = roles
		return c
	}
	authAt := d.Start(tb, only(config.RoleAuth)).GRPC
	base.Upstream = map[string]string{config.RoleAuth: authAt}
	publish := d.Start(tb, only(config.RolePublish))
	base.Upstream = map[string]string{config.RoleAuth: authAt, config.RolePublish: publish.GRPC}
	gate := d.Start(tb, only(config.RoleGateway))
	d.HTTP, d.GRPC, d.Internal = "http://"+gate.HTTP, publish.GRPC, publish.Internal
	for range edges {
		e := d.Start(tb, only(config.RoleEdge))
		d.Edges = append(d.Edges, "http://"+e.HTTP)
	}
	d.clients(tb, authAt, publish.GRPC)
}

func (d *Deployment) clients(tb testing.TB, authAt, publishAt string) {
	tb.Helper()
	a, p := Dial(tb, authAt, d.AdminKey), Dial(tb, publishAt, d.AdminKey)
	d.Auth = authv1.NewAuthServiceClient(a)
	d.Publish, d.Channels = publishv1.NewPublishServiceClient(p), publishv1.NewChannelServiceClient(p)
	d.Admin = adminv1.NewAdminServiceClient(p)
}

// startTimeout is how long a process may take to listen and be ready.
const startTimeout = 20 * time.Second

// Start runs one more process until the test ends, and returns when it is ready.
func (d *Deployment) Start(tb testing.TB, cfg config.Config) *Process {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Process{stop: cancel, done: make(chan struct{}), log: &logs{}}
	started := make(chan app.Running, 1)
	go func() {
		defer close(p.done)
		p.err = app.Run(ctx, cfg, app.Options{Log: p.log, Started: func(r app.Running) { started <- r }})
	}()
	tb.Cleanup(func() {
		if err := p.Stop(); err != nil {
			tb.Errorf("the process ended with: %v", err)
		}
		if tb.Failed() {
			tb.Logf("log of %v:\n%s", cfg.Roles, p.log)
		}
	})
	select {
	case p.Running = <-started:
	case <-p.done:
		tb.Fatalf("the process did not start: %v", p.err)
	}
	d.Processes = append(d.Processes, p)
	for key, address := range p.Legacy {
		d.Legacy[strings.TrimSuffix(strings.TrimPrefix(key, "legacy."), "_listen")] = address
	}
	p.WaitReady(tb)
	return p
}

// WaitReady waits until the process says that it is ready, with everything that it uses.
func (p *Process) WaitReady(tb testing.TB) { p.wait(tb, http.StatusOK) }

// WaitNotReady waits until the process says that it is not ready.
func (p *Process) WaitNotReady(tb testing.TB) { p.wait(tb, http.StatusServiceUnavailable) }

func (p *Process) wait(tb testing.TB, want int) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body := get(ctx, "http://"+p.Internal+"/readyz?verbose")
		if status == want && !strings.Contains(body, "degraded") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("the process does not answer /readyz with %d: %s\n%s", want, body, p.log)
		}
	}
}

// httpClient keeps no connection, so that no goroutine is left behind.
var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func get(ctx context.Context, url string) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// Dial returns a connection that sends the credential with every call, and closes it when the test ends.
func Dial(tb testing.TB, address, credential string, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	send := func(ctx context.Context) context.Context {
		if credential == "" {
			return ctx
		}
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential)
	}
	conn, err := grpc.NewClient(address, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(send(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(send(ctx), desc, cc, method, opts...)
		}))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Token issues a token with these grants: subscribe, publish, history and presence on each pattern.
func (d *Deployment) Token(tb testing.TB, req *authv1.IssueTokenRequest, patterns ...string) string {
	tb.Helper()
	if req == nil {
		req = &authv1.IssueTokenRequest{}
	}
	for _, p := range patterns {
		req.Grants = append(req.Grants, &authv1.Grant{Address: p, Actions: []authv1.Action{
			authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_HISTORY, authv1.Action_ACTION_PRESENCE,
		}})
	}
	resp, err := d.Auth.IssueToken(context.Background(), req)
	if err != nil {
		tb.Fatalf("issue a token: %v", err)
	}
	return resp.GetToken()
}

// Connect runs a client of the first edge until the test ends, and returns when its session is open. Unset
// fields of cfg are filled in; a token is issued for channels/* when there is none.
func (d *Deployment) Connect(tb testing.TB, cfg client.Config) *client.Client {
	tb.Helper()
	if cfg.URL == "" {
		cfg.URL = d.Edges[0]
	}
	if cfg.Token == nil {
		token := d.Token(tb, nil, "channels/*")
		cfg.Token = func(context.Context) (string, error) { return token, nil }
	}
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff, cfg.MaxBackoff = 10*time.Millisecond, 200*time.Millisecond
	}
	c, err := client.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Logf("the client ended with: %v", err)
		}
	})
	call, stop := context.WithTimeout(ctx, startTimeout)
	defer stop()
	if err := c.Ping(call); err != nil {
		tb.Fatalf("connect: %v", err)
	}
	return c
}

func signingKey(tb testing.TB) config.SigningKey {
	tb.Helper()
	k, err := auth.NewKey("test")
	if err != nil {
		tb.Fatal(err)
	}
	return config.SigningKey{ID: k.ID, Algorithm: k.Algorithm, PrivateKey: config.Secret(k.PEM)}
}

func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// logs collects what a process writes.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
