package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// person is one client of the system and what it got.
type person struct {
	client *client.Client
	name   string // its client id
	user   string
	group  string

	mu        sync.Mutex
	got       []*publishv1.Message
	gaps      int
	connected chan *edgev1.Connected
}

func (p *person) messages() []*publishv1.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*publishv1.Message(nil), p.got...)
}

// join connects somebody to an edge; a person without a fixed edge is moved to the other one when it is lost.
func (s *system) join(name, user, session, group string, json bool, edge int) *person {
	s.tb.Helper()
	issuer := authv1.NewAuthServiceClient(apptest.Dial(s.tb, s.authAt, s.apiKey))
	token, err := issuer.IssueToken(s.tb.Context(), &authv1.IssueTokenRequest{
		Client: name, User: user, Session: session, Groups: []string{group},
		Grants: []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{
			authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_HISTORY, authv1.Action_ACTION_PRESENCE,
		}}, {Address: "*", Actions: []authv1.Action{authv1.Action_ACTION_PUBLISH}}},
	})
	testkit.Check(s.tb, err)
	p := &person{name: name, user: user, group: group, connected: make(chan *edgev1.Connected, 100)}
	p.client, err = client.New(client.Config{
		URL: "http://" + s.edgeAt[edge], JSON: json, MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
		Token: func(context.Context) (string, error) { return token.GetToken(), nil },
		OnMessage: func(m *publishv1.Message) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got = append(p.got, m)
		},
		OnGap: func(*publishv1.Gap) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.gaps++
		},
		OnConnected: func(c *edgev1.Connected) { p.connected <- c },
	})
	testkit.Check(s.tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = p.client.Run(ctx) })
	s.tb.Cleanup(func() { cancel(); done.Wait() })
	select {
	case <-p.connected:
	case <-time.After(20 * time.Second):
		s.tb.Fatalf("%s does not connect", name)
	}
	return p
}

// rest publishes over REST.
func (s *system) publishREST(to, data string) {
	s.tb.Helper()
	req, err := http.NewRequestWithContext(s.tb.Context(), http.MethodPost, s.rest+"/v1/"+to+":publish", strings.NewReader(`{"data":`+data+`}`))
	testkit.Check(s.tb, err)
	req.Header.Set("Authorization", "Bearer "+s.apiKey)
	resp, err := http.DefaultClient.Do(req)
	testkit.Check(s.tb, err)
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		s.tb.Fatalf("REST publish to %s: %s", to, resp.Status)
	}
}

// Messages take every way in to every kind of address, with 200 clients on two edges. Each recipient gets each message once and
// in order, and nobody else gets it.
func TestDelivery_everyDoorEveryAddress(t *testing.T) {
	s := startSystem(t)
	const people = 200
	all := make([]*person, people)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			p := s.join(fmt.Sprintf("client-%d", i), fmt.Sprintf("user-%d", i/2), fmt.Sprintf("session-%d", i), fmt.Sprintf("group-%d", i%10), i%3 == 0, i%2)
			if i%4 == 0 {
				_, err := p.client.Subscribe(t.Context(), client.Subscription{Address: "channels/orders:eu"})
				if err != nil {
					t.Error(err)
				}
			}
			all[i] = p
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	addresses := map[string]func(i int) bool{
		"clients/client-7":   func(i int) bool { return i == 7 },
		"users/user-20":      func(i int) bool { return i/2 == 20 },
		"groups/group-3":     func(i int) bool { return i%10 == 3 },
		"sessions/session-9": func(i int) bool { return i == 9 },
		"channels/orders:eu": func(i int) bool { return i%4 == 0 },
		"broadcast":          func(int) bool { return true },
	}
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	doors := []struct {
		name    string
		publish func(to, data string)
	}{
		{"grpc", func(to, data string) {
			_, err := grpc.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: []byte(data)})
			testkit.Check(t, err)
		}},
		{"rest", s.publishREST},
		{"cli", func(to, data string) { s.cli("pub", to, data) }},
		{"websocket", func(to, data string) {
			_, err := all[1].client.Publish(t.Context(), &publishv1.PublishRequest{To: to, Data: []byte(data)})
			testkit.Check(t, err)
		}},
	}
	want := make(map[string][]string) // by address, the data in order
	for to := range addresses {
		for round := range 3 {
			for _, d := range doors {
				data := fmt.Sprintf("%s %s %d", to, d.name, round)
				quoted, err := json.Marshal(data)
				testkit.Check(t, err)
				d.publish(to, string(quoted))
				want[to] = append(want[to], string(quoted))
			}
		}
	}
	// The last message to everybody says that everything before it on the same connection to Redis has come. Others may still be
	// under way, so each person waits for their count.
	for i, p := range all {
		count := 0
		for to, mine := range addresses {
			if mine(i) {
				count += len(want[to])
			}
		}
		testkit.Within(t, fmt.Sprintf("%s has %d messages", p.name, count), 20*time.Second, func() bool { return len(p.messages()) >= count })
		got := make(map[string][]string)
		for _, m := range p.messages() {
			got[m.GetTo()] = append(got[m.GetTo()], string(m.GetData()))
		}
		for to, mine := range addresses {
			expect := []string(nil)
			if mine(i) {
				expect = want[to]
			}
			if fmt.Sprint(got[to]) != fmt.Sprint(expect) {
				t.Errorf("%s of %s got %v\nwant %v", to, p.name, got[to], expect)
			}
		}
		if p.gaps > 0 || len(p.messages()) != count {
			t.Errorf("%s has %d messages, %d gaps; want %d and none", p.name, len(p.messages()), p.gaps, count)
		}
	}
}

// An edge is killed: its clients go to the other one and miss nothing of a durable channel. Then Redis is killed and
// comes back: no process is restarted, readiness was red and is green, and clients get what follows.
func TestCrash_ofEdgeAndRedis(t *testing.T) {
	s := startSystem(t)
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	const address = "channels/orders:crash"
	var people []*person
	for i := range 20 {
		p := s.join(fmt.Sprintf("client-%d", i), "", "", "g", i%2 == 0, i%2)
		_, err := p.client.Subscribe(t.Context(), client.Subscription{Address: address})
		testkit.Check(t, err)
		people = append(people, p)
	}
	sent := 0
	publish := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := grpc.Publish(ctx, &publishv1.PublishRequest{To: address, Data: fmt.Append(nil, sent), IdempotencyKey: fmt.Sprintf("m-%d", sent)})
		if err == nil {
			sent++
		}
		return err == nil
	}
	publishSome := func(n int) {
		for range n {
			testkit.Within(t, "a message is published", 20*time.Second, publish)
		}
	}
	complete := func() {
		t.Helper()
		for _, p := range people {
			testkit.Within(t, p.name+" has everything", 20*time.Second, func() bool { return len(p.messages()) >= sent })
			for i, m := range p.messages() {
				if string(m.GetData()) != fmt.Sprint(i) {
					t.Fatalf("%s: message %d is %s", p.name, i, m.GetData())
				}
			}
			if p.gaps > 0 {
				t.Errorf("%s was told %d gaps", p.name, p.gaps)
			}
		}
	}
	publishSome(10)
	complete()

	// The killed edge's address is taken over by the living one, as a load balancer would do it.
	_ = s.edges[1].end(syscall.SIGKILL)
	publishSome(10)
	forward(t, s.edgeAt[1], s.edgeAt[0])
	publishSome(10)
	complete()

	s.redis.Kill9()
	red := testkit.Within(t, "the edge is not ready", 10*time.Second, func() bool { return s.status(s.edges[0]) == http.StatusServiceUnavailable })
	testkit.Within(t, "publishing is not ready", 10*time.Second, func() bool { return s.status(s.publish) == http.StatusServiceUnavailable })
	if publish() {
		t.Error("a publish without Redis was OK")
	}
	s.redis.Restart()
	s.waitReady(s.edges[0], s.publish, s.auth)
	publishSome(10)
	complete()
	t.Logf("readiness was red %s after the crash of Redis", red)
	for _, p := range []*process{s.edges[0], s.publish, s.gateway, s.auth} {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%s ended with %v", p.name, err)
		}
	}
}
