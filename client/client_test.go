package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// link forwards TCP connections until it is cut.
type link struct {
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]bool
	down   bool
}

func newLink(tb testing.TB, url string) *link {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	k := &link{l: l, target: strings.TrimPrefix(url, "http://"), conns: map[net.Conn]bool{}}
	k.wg.Go(k.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		k.Cut()
		k.wg.Wait()
	})
	return k
}

func (k *link) URL() string { return "http://" + k.l.Addr().String() }

func (k *link) accept() {
	for {
		in, err := k.l.Accept()
		if err != nil {
			return
		}
		k.mu.Lock()
		target := k.target
		k.mu.Unlock()
		out, err := net.Dial("tcp", target)
		k.mu.Lock()
		if err != nil || k.down {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			k.mu.Unlock()
			continue
		}
		k.conns[in], k.conns[out] = true, true
		k.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			k.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
				_ = pair[1].Close()
			})
		}
	}
}

// Cut ends all connections and lets nobody through until Mend.
func (k *link) Cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = true
	for c := range k.conns {
		_ = c.Close()
	}
	k.conns = map[net.Conn]bool{}
}

// Turn leads new connections to another server.
func (k *link) Turn(url string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.target = strings.TrimPrefix(url, "http://")
}

func (k *link) Mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = false
}

// events are what a client was told, in order.
type events chan string

func (e events) want(tb testing.TB, want ...string) {
	tb.Helper()
	for _, w := range want {
		select {
		case got := <-e:
			if got != w {
				tb.Fatalf("got %q, want %q", got, w)
			}
		case <-time.After(10 * time.Second):
			tb.Fatalf("%q did not come", w)
		}
	}
}

func recording(cfg client.Config) (client.Config, events) {
	e := make(events, 1000)
	cfg.OnMessage = func(m *publishv1.Message) { e <- string(m.GetData()) }
	cfg.OnGap = func(g *publishv1.Gap) { e <- "gap " + g.GetReason() }
	cfg.OnConnected = func(*edgev1.Connected) { e <- "connected" }
	cfg.OnDisconnected = func(error) { e <- "disconnected" }
	return cfg, e
}

func publish(tb testing.TB, h *apptest.Deployment, from, to int) {
	tb.Helper()
	for i := from; i <= to; i++ {
		if _, err := h.Publish.Publish(context.Background(), &publishv1.PublishRequest{To: "channels/demo", Data: fmt.Append(nil, i)}); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestClient_ResumesWhereItStood(t *testing.T) {
	h := apptest.Start(t, apptest.With(func(c *config.Config) { c.Channels.Defaults.HistoryLength = 5 }))
	for _, spelling := range []string{"protobuf", "JSON"} {
		t.Run(spelling, func(t *testing.T) {
			k := newLink(t, h.HTTP)
			cfg, e := recording(client.Config{URL: k.URL(), JSON: spelling == "JSON", MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond})
			c := h.Connect(t, cfg)
			if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/demo"}); err != nil {
				t.Fatal(err)
			}
			publish(t, h, 1, 2)
			e.want(t, "connected", "1", "2")
			k.Cut()
			e.want(t, "disconnected")
			publish(t, h, 3, 6)
			k.Mend()
			drop(t, e, "3")
			e.want(t, "4", "5", "6")
			publish(t, h, 7, 7)
			e.want(t, "7")

			k.Cut()
			e.want(t, "disconnected")
			publish(t, h, 8, 20)
			k.Mend()
			drop(t, e, "gap history_trimmed")
			e.want(t, "16", "17", "18", "19", "20")
		})
	}
}

// drop reads over the events of reconnecting until the one that is wanted.
func drop(tb testing.TB, e events, want string) {
	tb.Helper()
	for {
		select {
		case got := <-e:
			if got == want {
				return
			}
			if got != "connected" && got != "disconnected" {
				tb.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			tb.Fatalf("%q did not come", want)
		}
	}
}

func TestClient_TellsAGapWhenItMayNotReadHistory(t *testing.T) {
	h := apptest.Start(t)
	k := newLink(t, h.HTTP)
	token := h.Token(t, &authv1.IssueTokenRequest{Grants: []*authv1.Grant{{
		Address: "channels/demo", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE},
	}}})
	cfg, e := recording(client.Config{URL: k.URL(), Token: func(context.Context) (string, error) { return token, nil }})
	c := h.Connect(t, cfg)
	if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/demo"}); err != nil {
		t.Fatal(err)
	}
	publish(t, h, 1, 1)
	e.want(t, "connected", "1")
	k.Cut()
	publish(t, h, 2, 3)
	k.Mend()
	e.want(t, "disconnected")
	drop(t, e, "gap history_denied")
	publish(t, h, 4, 4)
	e.want(t, "4")
}

func TestClient_RefusalsHaveReasons(t *testing.T) {
	h := apptest.Start(t)
	t.Run("a token that is not valid ends Run", func(t *testing.T) {
		c, err := client.New(client.Config{URL: h.HTTP, Token: func(context.Context) (string, error) { return "nonsense", nil }})
		if err != nil {
			t.Fatal(err)
		}
		var refused *client.Error
		if err := c.Run(t.Context()); !errors.As(err, &refused) || refused.Reason != "TOKEN_INVALID" || refused.Close != 4401 {
			t.Errorf("Run = %v", err)
		}
		if err := c.Ping(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Ping after that = %v", err)
		}
	})
	token := h.Token(t, &authv1.IssueTokenRequest{Client: "c1"}, "channels/mine")
	c := h.Connect(t, client.Config{Token: func(context.Context) (string, error) { return token, nil }})
	ctx := t.Context()
	for reason, call := range map[string]func() error{
		"CHANNEL_SUBSCRIBE_DENIED": func() error {
			_, err := c.Subscribe(ctx, client.Subscription{Address: "channels/other"})
			return err
		},
		"CHANNEL_PUBLISH_DENIED": func() error {
			_, err := c.Publish(ctx, &publishv1.PublishRequest{To: "channels/other", Data: []byte("1")})
			return err
		},
		"CHANNEL_HISTORY_DENIED": func() error {
			_, err := c.History(ctx, &publishv1.ListMessagesRequest{Address: "channels/other"})
			return err
		},
		"CHANNEL_PRESENCE_DENIED": func() error {
			_, err := c.Presence(ctx, &publishv1.ListMembersRequest{Address: "channels/other"})
			return err
		},
		"FIELD_INVALID": func() error {
			_, err := c.Subscribe(ctx, client.Subscription{Address: "nonsense"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, &client.Error{Reason: reason}) {
			t.Errorf("got %v, want %s", err, reason)
		}
	}
	if err := c.Ping(ctx); err != nil {
		t.Errorf("the session did not go on: %v", err)
	}
}

func TestClient_RefreshesItsToken(t *testing.T) {
	h := apptest.Start(t)
	asked := make(chan int, 100)
	n := 0
	cfg, e := recording(client.Config{Token: func(context.Context) (string, error) {
		n++
		asked <- n
		return h.Token(t, &authv1.IssueTokenRequest{Client: "c1", Ttl: durationpb.New(2 * time.Second)}), nil
	}})
	c := h.Connect(t, cfg)
	for got := 0; got < 3; { // the third token replaces the second, after the first has ended
		select {
		case got = <-asked:
		case <-time.After(10 * time.Second):
			t.Fatal("no new token was asked for")
		}
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.want(t, "connected")
	select {
	case got := <-e:
		t.Errorf("got %q, want an undisturbed session", got)
	default:
	}
}

func TestClient_RepeatsAPublishThatHasAKey(t *testing.T) {
	h := apptest.Start(t)
	k := newLink(t, h.HTTP)
	cfg, e := recording(client.Config{URL: k.URL()})
	c := h.Connect(t, cfg)
	e.want(t, "connected")
	k.Cut()
	e.want(t, "disconnected")
	done := make(chan error, 1)
	go func() {
		_, err := c.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte("1"), IdempotencyKey: "once"})
		done <- err
	}()
	k.Mend()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	page, err := c.History(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/demo"})
	if err != nil || len(page.GetMessages()) != 1 {
		t.Errorf("history %v, %v", page, err)
	}
}

func TestClient_ManyCallersAtOnce(t *testing.T) {
	h := apptest.Start(t)
	got := make(chan string, 1000)
	c := h.Connect(t, client.Config{OnMessage: func(m *publishv1.Message) { got <- string(m.GetData()) }})
	if _, err := c.Subscribe(t.Context(), client.Subscription{Address: "channels/demo"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				if _, err := c.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: fmt.Appendf(nil, "%d", i*100+j)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for range 80 {
		select {
		case m := <-got:
			if seen[m] {
				t.Errorf("%s came twice", m)
			}
			seen[m] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of 80 messages came", len(seen))
		}
	}
}

func TestNew_RefusesWhatIsNoURL(t *testing.T) {
	for _, url := range []string{"", "localhost:8080", "ftp://localhost", "http://"} {
		if _, err := client.New(client.Config{URL: url, Token: func(context.Context) (string, error) { return "", nil }}); err == nil {
			t.Errorf("New(%q) did not fail", url)
		}
	}
	if _, err := client.New(client.Config{URL: "http://localhost"}); err == nil {
		t.Error("New without Token did not fail")
	}
}
