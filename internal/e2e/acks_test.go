package e2e_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// device is one client of a user that acknowledges when it is told to.
type device struct {
	tb        testing.TB
	client    *client.Client
	messages  chan *publishv1.Message
	dismissed chan string
	connected chan *edgev1.Connected
	leave     func()
}

// device connects a client of a user to an edge.
func (s *system) device(user, name string, edge int) *device {
	s.tb.Helper()
	issuer := authv1.NewAuthServiceClient(apptest.Dial(s.tb, s.authAt, s.apiKey))
	token, err := issuer.IssueToken(s.tb.Context(), &authv1.IssueTokenRequest{Client: name, User: user})
	testkit.Check(s.tb, err)
	d := &device{tb: s.tb, messages: make(chan *publishv1.Message, 4096), dismissed: make(chan string, 4096), connected: make(chan *edgev1.Connected, 16)}
	d.client, err = client.New(client.Config{
		URL: "http://" + s.edgeAt[edge], MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond, ManualAck: true,
		Token:       func(context.Context) (string, error) { return token.GetToken(), nil },
		OnMessage:   func(m *publishv1.Message) { d.messages <- m },
		OnConnected: func(c *edgev1.Connected) { d.connected <- c },
		OnDismissed: func(m *publishv1.Dismissed) {
			for _, id := range m.GetIds() {
				d.dismissed <- id
			}
		},
	})
	testkit.Check(s.tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = d.client.Run(ctx) })
	d.leave = sync.OnceFunc(func() { cancel(); done.Wait() })
	s.tb.Cleanup(d.leave)
	next(s.tb, d.connected)
	return d
}

// next returns what a channel brings.
func next[T any](tb testing.TB, c <-chan T) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		tb.Fatal("nothing came within 20 s")
		panic("unreachable")
	}
}

func (d *device) ack(m *publishv1.Message) {
	d.tb.Helper()
	d.client.Ack(m)
	ctx, cancel := context.WithTimeout(d.tb.Context(), 10*time.Second)
	defer cancel()
	testkit.Check(d.tb, d.client.Flush(ctx))
}

// A user has two devices on two edges. Both get the message, and the first ack dismisses it on the other. The publisher sees the
// states as they happen.
func TestAck_dismissesOnTheOtherDevice(t *testing.T) {
	s := startSystem(t)
	phone, desk := s.device("ada", "phone", 0), s.device("ada", "desk", 1)
	cmd := exec.CommandContext(t.Context(), binary, "pub", "users/ada", `{"text":"hi"}`, "--ack", "--wait")
	cmd.Env = append(os.Environ(), "TRUNKLINE_GRPC="+s.publishAt, "TRUNKLINE_TOKEN="+s.apiKey)
	stdout, err := cmd.StdoutPipe()
	testkit.Check(t, err)
	testkit.Check(t, cmd.Start())
	var out strings.Builder
	lines := bufio.NewScanner(stdout)
	until := func(text string) {
		t.Helper()
		for lines.Scan() {
			fmt.Fprintln(&out, lines.Text())
			if strings.Contains(lines.Text(), text) {
				return
			}
		}
		t.Fatalf("pub --wait ended without %s:\n%s", text, &out)
	}
	m := next(t, desk.messages)
	if got := next(t, phone.messages); got.GetId() != m.GetId() || !got.GetAckRequired() || got.GetRedelivered() {
		t.Errorf("the phone got %v, the desk %v", got, m)
	}
	until("  SENT  ")
	acked := time.Now()
	phone.client.Ack(m)
	if id := next(t, desk.dismissed); id != m.GetId() {
		t.Errorf("dismissed %s, want %s", id, m.GetId())
	}
	t.Logf("the dismissal came %s after the ack", time.Since(acked))
	until("  ACKED  ")
	if err := cmd.Wait(); err != nil {
		t.Errorf("pub --wait: %v\n%s", err, &out)
	}
	t.Logf("pub --ack --wait:\n%s", &out)
	receipt := s.cli("receipt", "users/ada", m.GetId(), "-o", "json")
	if !strings.Contains(receipt, "DELIVERY_STATE_ACKED") || !strings.Contains(receipt, `"client":"desk"`) {
		t.Errorf("receipt is %s", receipt)
	}
	if len(phone.dismissed) > 0 {
		t.Error("who acknowledged was dismissed")
	}
}

// long takes the times of the documents instead of short ones.
var long = flag.Bool("long", false, "take the times of the documents, such as 30 s for an ack, instead of short ones")

// ackTimeout is short in everyday runs; -long proves the documented 30 s.
func ackTimeout() time.Duration {
	if *long {
		return 30 * time.Second
	}
	return 2 * time.Second
}

// A user who is away gets what was sent first thing on return, whatever crashed in between, and never again after an ack.
func TestInbox_outlivesCrashes(t *testing.T) {
	s := startSystem(t)
	wait := ackTimeout()
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	publish := func(i int) *publishv1.PublishResponse {
		t.Helper()
		resp, err := grpc.Publish(t.Context(), &publishv1.PublishRequest{
			To: "users/ada", Data: fmt.Append(nil, i), Ack: &publishv1.AckPolicy{Timeout: durationpb.New(wait)},
		})
		testkit.Check(t, err)
		return resp
	}
	const n = 300
	ids := make([]string, n)
	for i := range ids {
		ids[i] = publish(i).GetId()
	}
	last := publish(n)
	published := time.Now()
	receipts, err := grpc.WatchReceipts(t.Context(), &publishv1.WatchReceiptsRequest{Address: "users/ada", Id: last.GetId()})
	testkit.Check(t, err)
	for {
		resp, err := receipts.Recv()
		testkit.Check(t, err)
		if resp.GetReceipt().GetState() == publishv1.DeliveryState_DELIVERY_STATE_STORED {
			break
		}
	}
	t.Logf("the receipt read STORED %s after the publish, ack timeout %s", time.Since(published).Round(time.Millisecond), wait)
	if early := time.Since(published); early < wait-time.Second {
		t.Errorf("it read STORED after %s already", early)
	}

	for _, p := range []*process{s.edges[0], s.publish} {
		_ = p.end(syscall.SIGKILL)
	}
	s.redis.Kill9()
	s.redis.Restart()
	s.publish.start()
	s.edges[0].start()
	s.waitReady(s.publish, s.edges[0], s.edges[1])

	phone := s.device("ada", "phone", 0)
	var got []*publishv1.Message
	for i := range n + 1 {
		m := next(t, phone.messages)
		if string(m.GetData()) != fmt.Sprint(i) || !m.GetRedelivered() || !m.GetAckRequired() {
			t.Fatalf("message %d is %v", i, m)
		}
		got = append(got, m)
	}
	for _, m := range got {
		phone.client.Ack(m)
	}
	phone.ack(got[0])
	phone.leave()
	again := s.device("ada", "phone", 1)
	_, err = grpc.Publish(t.Context(), &publishv1.PublishRequest{To: "users/ada", Data: []byte(`"new"`)})
	testkit.Check(t, err)
	if m := next(t, again.messages); string(m.GetData()) != `"new"` {
		t.Errorf("after the acks came %v", m)
	}
	if out := s.cli("receipt", "users/ada", ids[n/2], "-o", "json"); !strings.Contains(out, "DELIVERY_STATE_ACKED") {
		t.Errorf("receipt is %s", out)
	}
}

// A client that returns to a full inbox gets all of it in order. It costs the edge no more than a page at a time; what it costs
// is logged.
func TestInbox_full(t *testing.T) {
	t.Setenv("GOGC", "100") // what grows is memory in use then, not headroom of the collector
	s := startSystem(t)
	const n = 10_000
	grpc := publishv1.NewPublishServiceClient(apptest.Dial(t, s.publishAt, s.apiKey))
	for from := 0; from < n; from += 1000 {
		req := &publishv1.BatchPublishRequest{}
		for i := range 1000 {
			req.Requests = append(req.Requests, &publishv1.PublishRequest{
				To: "users/ada", Data: fmt.Appendf(nil, `"%d %s"`, from+i, strings.Repeat("x", 1000)), Ack: &publishv1.AckPolicy{},
			})
		}
		resp, err := grpc.BatchPublish(t.Context(), req)
		testkit.Check(t, err)
		if resp.GetRefused() > 0 {
			t.Fatalf("%d of a batch were refused", resp.GetRefused())
		}
	}
	_, err := grpc.Publish(t.Context(), &publishv1.PublishRequest{To: "users/ada", Data: []byte(`1`), Ack: &publishv1.AckPolicy{}})
	if e := rpc.FromError(err); e == nil || e.Reason != "INBOX_FULL" {
		t.Errorf("one more was answered with %v", err)
	}
	before, start := s.edges[0].rss(), time.Now()
	phone := s.device("ada", "phone", 0)
	for i := range n {
		if m := next(t, phone.messages); !strings.HasPrefix(string(m.GetData()), fmt.Sprintf(`"%d `, i)) || !m.GetRedelivered() {
			t.Fatalf("message %d is %.20s, redelivered %t", i, m.GetData(), m.GetRedelivered())
		}
	}
	t.Logf("%d messages of 1 kB after %s; the edge grew by %d KiB", n, time.Since(start).Round(time.Millisecond), s.edges[0].rss()-before)
}
