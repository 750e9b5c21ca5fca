package e2e_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// many lets an edge have thousands of clients on one address, and gives tickets.
func many(s *system) {
	keys := base64.StdEncoding.EncodeToString([]byte("seals tickets while a test runs.")) + "," +
		base64.StdEncoding.EncodeToString([]byte("opens tickets that were sealed.."))
	s.edgeArgs = append(s.edgeArgs, "--config", s.file("edge.yaml", fmt.Sprintf("edge:\n  connections_per_ip: 0\n  connections_per_token: 0\n  connections_per_user: 0\n  tickets: {keys_file: %s}\n",
		s.file("ticket_keys", keys+"\n"))))
}

// publisher publishes to an address until it is stopped.
type publisher struct {
	stop context.CancelFunc
	done sync.WaitGroup
	sent atomic.Int64
	err  atomic.Pointer[error]
}

func (s *system) publisher(address string, every time.Duration) *publisher {
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(s.tb, s.publishAt, s.apiKey))
	ctx, cancel := context.WithCancel(context.Background())
	p := &publisher{stop: cancel}
	p.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			if _, err := grpc.Publish(context.WithoutCancel(ctx), &publishv1.PublishRequest{To: address, Data: []byte(`{"n":1}`)}); err != nil {
				p.err.CompareAndSwap(nil, &err)
			} else {
				p.sent.Add(1)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	s.tb.Cleanup(func() { p.end() })
	return p
}

// end stops it and returns how many messages it has sent.
func (p *publisher) end() int64 {
	p.stop()
	p.done.Wait()
	return p.sent.Load()
}

// An edge with thousands of clients gets SIGTERM under a steady publisher. It exits 0, and no publish fails. The clients come
// back to the other edge over time, by their tickets, and each has every message.
func TestDrain_movesEverybody(t *testing.T) {
	clients := 5000
	if testing.Short() {
		clients = 500
	}
	const address = "channels/orders:drain"
	s := startSystem(t, many)
	token := s.token(&authv1.IssueTokenRequest{User: "ada"})
	start := time.Now()
	all := crowd(t, clients, [2]string{s.edgeAt[0], s.edgeAt[0]}, token, address)
	t.Logf("%d clients connected in %s", clients, time.Since(start).Round(time.Millisecond))
	publisher := s.publisher(address, 500*time.Millisecond)
	testkit.Within(t, "some messages are sent", 10*time.Second, func() bool { return publisher.sent.Load() >= 3 })

	var total atomic.Int64 // how many messages there are; 0 until that is known
	came := make([]time.Time, clients)
	var moved, g sync.WaitGroup
	moved.Add(clients)
	for i, p := range all {
		g.Go(func() {
			err := p.move(s.edgeAt[1], address, func() { came[i] = time.Now() })
			moved.Done()
			for err == nil && (total.Load() == 0 || int64(p.last.number()) < total.Load()) {
				_, err = p.next()
			}
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	begin := time.Now()
	testkit.Check(t, s.edges[0].end(syscall.SIGTERM))
	took := time.Since(begin)
	moved.Wait()
	sent := publisher.end()
	if err := publisher.err.Load(); err != nil {
		t.Errorf("a publish failed: %v", *err)
	}
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	total.Store(sent + 1)
	_, err := grpc.Publish(t.Context(), &publishv1.PublishRequest{To: address, Data: []byte(`"last"`)}) // wakes who has everything
	testkit.Check(t, err)
	g.Wait()

	var bins [40]int
	for _, c := range came {
		bins[min(int(c.Sub(begin)/time.Second), len(bins)-1)]++
	}
	most, last := 0, 0
	for i, n := range bins {
		if most = max(most, n); n > 0 {
			last = i
		}
	}
	_, metrics := get("http://" + s.internalAt[s.edges[1]] + "/metrics")
	t.Logf("the edge exited 0 after %s; reconnects in each second: %v, at most %.1f %%; %d messages each; %s",
		took.Round(time.Millisecond), bins[:last+1], 100*float64(most)/float64(clients), sent+1, line(metrics, "trunkline_edge_tickets_redeemed_total"))
	if took > 30*time.Second {
		t.Errorf("the edge took %s to stop", took)
	}
	if most > clients/4 {
		t.Errorf("%d of %d clients come back in one second", most, clients)
	}
	if n := line(metrics, "trunkline_edge_tickets_redeemed_total"); !strings.HasSuffix(n, fmt.Sprint(" ", clients)) {
		t.Errorf("not everybody came back by ticket: %s", n)
	}
}

// line returns the line of a metric.
func line(metrics, name string) string {
	for l := range strings.Lines(metrics) {
		if strings.HasPrefix(l, name+" ") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// move reads until the server sends the peer away, and connects elsewhere after the time that it was told.
func (p *peer) move(to, address string, coming func()) error {
	var delay time.Duration
	for {
		f, err := p.next()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			if closed.Code != 4503 || delay == 0 {
				return fmt.Errorf("closed with %d, come back in %s", closed.Code, delay)
			}
			break
		}
		if err != nil {
			return err
		}
		if f.Error != nil {
			if delay, err = time.ParseDuration(f.Error.RetryDelay); err != nil {
				return err
			}
		}
	}
	_ = p.ws.Close()
	<-time.After(delay + rand.N(200*time.Millisecond)) // as our client does
	coming()
	return p.connect(to, "", address)
}

// A client that does not leave keeps a stopping edge; a second signal does not wait for it, and says so.
func TestDrain_secondSignal(t *testing.T) {
	s := startSystem(t)
	stubborn := &peer{}
	testkit.Check(t, stubborn.connect(s.edgeAt[0], s.token(&authv1.IssueTokenRequest{User: "ada"}), ""))
	edge := s.edges[0]
	testkit.Check(t, edge.cmd.Process.Signal(syscall.SIGTERM))
	stubborn.ws.SetCloseHandler(func(int, string) error { return nil }) // no answer
	if code, err := stubborn.told(); code != 4503 || err != nil {
		t.Fatalf("closed with %d, %v", code, err)
	}
	err := edge.end(syscall.SIGTERM)
	_ = stubborn.ws.Close()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(edge.text(), "second signal; connections that were left and cut off: 1") {
		t.Errorf("it ended with %v\n%s", err, edge.text())
	}
}

// told reads until the close frame, and leaves the connection as it is.
func (p *peer) told() (int, error) {
	for {
		_, err := p.next()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			return closed.Code, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// A user with a thousand connections over two edges is revoked: all of them end, and nobody else's.
func TestRevocation_ofAThousand(t *testing.T) {
	const clients = 1000
	s := startSystem(t, many)
	ada := crowd(t, clients, s.edgeAt, s.token(&authv1.IssueTokenRequest{User: "ada"}), "")
	bob := crowd(t, 100, s.edgeAt, s.token(&authv1.IssueTokenRequest{User: "bob"}), "")
	ends := make([]time.Time, clients)
	var g sync.WaitGroup
	for i, p := range ada {
		g.Go(func() {
			code, err := p.ended()
			ends[i] = time.Now()
			if code != 4401 || err != nil {
				t.Errorf("connection %d ended with %d, %v", i, code, err)
			}
		})
	}
	_, err := s.issuer().RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
	testkit.Check(t, err)
	revoked := time.Now()
	g.Wait()
	took := make([]time.Duration, clients)
	for i, end := range ends {
		took[i] = end.Sub(revoked)
	}
	t.Logf("%d connections on two edges ended after the answer: p50 %s, p99 %s, the last %s", clients, percentile(took, 0.5), percentile(took, 0.99), percentile(took, 1))
	alive(t, bob)
	for i, p := range ada[:10] { // and nobody comes back by ticket
		if err := p.connect(s.edgeAt[(i+1)%2], "", ""); err == nil || !strings.Contains(err.Error(), "TOKEN_REVOKED") {
			t.Errorf("a revoked ticket: %v", err)
		}
	}
}

// alive checks that connections answer.
func alive(tb testing.TB, all []*peer) {
	tb.Helper()
	for i, p := range all {
		testkit.Check(tb, p.ws.WriteJSON(map[string]any{"id": 9, "ping": map[string]any{}}))
		if f, err := p.next(); err != nil || f.Pong == nil {
			tb.Fatalf("connection %d: %v", i, err)
		}
	}
}

// Under a publisher that does not pause, a token that ends ends what its connection gets; one that is refreshed in place
// loses nothing.
func TestExpiry_underASteadyPublisher(t *testing.T) {
	const address, life = "channels/orders:expiry", 3 * time.Second
	s := startSystem(t)
	issue := func(ttl time.Duration) *authv1.IssueTokenResponse {
		resp, err := s.issuer().IssueToken(t.Context(), &authv1.IssueTokenRequest{Client: "c", User: "ada", Ttl: durationpb.New(ttl), Grants: []*authv1.Grant{
			{Address: "channels/*", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY}},
		}})
		testkit.Check(t, err)
		return resp
	}
	short, long := issue(life), issue(time.Minute)
	end := short.GetExpireTime().AsTime()
	ending := crowd(t, 40, s.edgeAt, short.GetToken(), address)
	renewed := crowd(t, 40, s.edgeAt, short.GetToken(), address)
	publisher := s.publisher(address, 5*time.Millisecond)
	last := make([]time.Time, len(ending)) // when the last message that came was published
	var g sync.WaitGroup
	for i, p := range ending {
		g.Go(func() {
			for {
				f, err := p.next()
				var closed *websocket.CloseError
				switch {
				case errors.As(err, &closed) && closed.Code == 4402:
					return
				case err != nil:
					t.Errorf("connection %d: %v", i, err)
					return
				case f.Message != nil:
					last[i] = f.Message.PublishTime
				}
			}
		})
	}
	for i, p := range renewed {
		g.Go(func() {
			err := p.ws.WriteJSON(map[string]any{"id": 2, "refresh": map[string]any{"token": long.GetToken()}})
			refreshed := false
			var past time.Time
			for err == nil && past.Before(end.Add(2*time.Second)) {
				var f frame
				if f, err = p.next(); f.Message != nil {
					past = f.Message.PublishTime
				}
				refreshed = refreshed || f.Refreshed != nil
			}
			if err != nil || !refreshed {
				t.Errorf("renewed connection %d: %v, refreshed %v", i, err, refreshed)
			}
		})
	}
	g.Wait()
	late := make([]time.Duration, len(last))
	for i, at := range last {
		late[i] = at.Sub(end)
		if late[i] > time.Second {
			t.Errorf("connection %d got a message of %s after the token's end", i, late[i])
		}
		if at.IsZero() {
			t.Errorf("connection %d got nothing", i)
		}
	}
	t.Logf("%d messages; the last delivery lies p50 %s and at most %s after the token's end; %d renewed connections have missed none",
		publisher.end(), percentile(late, 0.5), percentile(late, 1), len(renewed))
}

// An edge that is cut off from Redis hears of a revocation when it is connected again.
func TestRevocation_ofACutOffEdge(t *testing.T) {
	for name, silent := range map[string]bool{"connections reset": false, "packets held up": true} {
		t.Run(name, func(t *testing.T) {
			var wire *wire
			s := startSystem(t, many, func(s *system) {
				wire = newWire(t, s.redis.Addr())
				s.edgeRedis[1] = "redis://" + wire.address + "/0"
			})
			at := [2]string{s.edgeAt[1], s.edgeAt[1]}
			ada := crowd(t, 50, at, s.token(&authv1.IssueTokenRequest{User: "ada"}), "")
			bob := crowd(t, 10, at, s.token(&authv1.IssueTokenRequest{User: "bob"}), "")
			wire.cut(silent)
			testkit.Within(t, "the edge is not ready", 20*time.Second, func() bool { return s.status(s.edges[1]) != 200 })
			_, err := s.issuer().RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
			testkit.Check(t, err)
			alive(t, ada) // it cannot know
			alive(t, bob)
			wire.heal()
			healed := time.Now()
			took := make([]time.Duration, len(ada))
			var g sync.WaitGroup
			for i, p := range ada {
				g.Go(func() {
					code, err := p.ended()
					took[i] = time.Since(healed)
					if code != 4401 || err != nil {
						t.Errorf("connection %d ended with %d, %v", i, code, err)
					}
				})
			}
			g.Wait()
			alive(t, bob)
			t.Logf("%d connections ended after the heal: p50 %s, the last %s", len(ada), percentile(took, 0.5), percentile(took, 1))
		})
	}
}
