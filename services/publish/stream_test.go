package publish_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// consumer reads one Consume stream.
type consumer struct {
	tb     testing.TB
	stream interface {
		Recv() (*publishv1.ConsumeResponse, error)
	}
	cancel context.CancelFunc
}

func (h *fixture) consume(ctx context.Context, req *publishv1.ConsumeRequest) (*consumer, *publishv1.Subscribed) {
	h.tb.Helper()
	ctx, cancel := context.WithCancel(ctx)
	h.tb.Cleanup(cancel)
	st, err := h.publish.Consume(ctx, req)
	testkit.Check(h.tb, err)
	c := &consumer{h.tb, st, cancel}
	s := c.next().GetSubscribed()
	if s == nil {
		h.tb.Fatal("subscribed is not the first event")
	}
	return c, s
}

func (c *consumer) next() *publishv1.ConsumeResponse {
	c.tb.Helper()
	r, err := c.stream.Recv()
	testkit.Check(c.tb, err)
	return r
}

func (c *consumer) message() *publishv1.Message {
	c.tb.Helper()
	for {
		r := c.next()
		if r.GetHeartbeat() != nil {
			continue
		}
		if r.GetMessage() == nil {
			c.tb.Fatalf("not a message: %v", r)
		}
		return r.GetMessage()
	}
}

func TestConsume_replaysAndFollows(t *testing.T) {
	h := start(t, publish.Config{})
	for i := range 3 {
		h.pub("channels/c", fmt.Sprint(i))
	}
	c, s := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/c"})
	if s.GetPosition().GetOffset() != 3 {
		t.Errorf("subscribed at %v", s)
	}
	h.pub("channels/c", "3")
	if m := c.message(); string(m.GetData()) != "3" {
		t.Errorf("got %v", m)
	}
	c, s = h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/c", After: &publishv1.Position{Epoch: s.GetPosition().GetEpoch(), Offset: 1}})
	if !s.GetRecovered() {
		t.Errorf("not recovered: %v", s)
	}
	h.pub("channels/c", "4")
	for want := 1; want <= 4; want++ {
		if m := c.message(); string(m.GetData()) != fmt.Sprint(want) {
			t.Fatalf("got %s, want %d", m.GetData(), want)
		}
	}
	c, _ = h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/c", FromBeginning: true})
	for want := range 5 {
		if m := c.message(); string(m.GetData()) != fmt.Sprint(want) {
			t.Fatalf("got %s, want %d", m.GetData(), want)
		}
	}
	c, s = h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/c", After: &publishv1.Position{Epoch: "x", Offset: 9}})
	if g := c.next().GetGap(); s.GetRecovered() || g.GetReason() != string(bus.GapEpoch) {
		t.Errorf("recovered %v, gap %v", s.GetRecovered(), g)
	}
}

func TestConsume_refusals(t *testing.T) {
	h := start(t, publish.Config{})
	ctx := h.as("c1", grant("channels/may", authv1.Action_ACTION_SUBSCRIBE))
	for name, tc := range map[string]struct {
		req  *publishv1.ConsumeRequest
		want *bus.Error
	}{
		"no address": {&publishv1.ConsumeRequest{}, bus.ErrFieldInvalid}, "not granted": {&publishv1.ConsumeRequest{Address: "channels/x"}, bus.ErrSubscribeDenied},
		"another client": {&publishv1.ConsumeRequest{Address: "clients/c2"}, bus.ErrSubscribeDenied},
		"no history":     {&publishv1.ConsumeRequest{Address: "channels/may", FromBeginning: true}, bus.ErrHistoryDenied},
		"both":           {&publishv1.ConsumeRequest{Address: "channels/may", FromBeginning: true, After: &publishv1.Position{Epoch: "e"}}, bus.ErrFieldInvalid},
		"no epoch":       {&publishv1.ConsumeRequest{Address: "channels/may", After: &publishv1.Position{Offset: 1}}, bus.ErrFieldInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := h.publish.Consume(ctx, tc.req)
			testkit.Check(t, err)
			_, err = st.Recv()
			refused(t, err, tc.want)
		})
	}
}

func TestConsume_givesEachWhatIsForIt(t *testing.T) {
	h := startBeating(t, 5*time.Millisecond)
	may := grant("channels/*", authv1.Action_ACTION_SUBSCRIBE)
	one, _ := h.consume(h.as("c1", may), &publishv1.ConsumeRequest{Address: "channels/live:n"})
	own, _ := h.consume(h.as("c2"), &publishv1.ConsumeRequest{Address: "users/u-c2/topics/alerts"})
	for _, req := range []*publishv1.PublishRequest{
		{Data: []byte(`"not c1"`), Recipients: []string{"c9"}},
		{Data: []byte(`"for c1"`), Recipients: []string{"c9", "c1"}},
		{Data: []byte(`"excluded"`), ExcludeSender: true, Sender: &publishv1.Sender{Client: "c1"}},
		{Data: []byte(`"last"`)},
	} {
		req.To = "channels/live:n"
		_, err := h.publish.Publish(t.Context(), req)
		testkit.Check(t, err)
	}
	if got := string(one.message().GetData()) + string(one.message().GetData()); got != `"for c1""last"` {
		t.Errorf("got %s", got)
	}
	h.pub("users/u-c2", `"without the topic"`)
	h.pub("users/u-c2/topics/alerts", `"alert"`)
	if m := own.message(); string(m.GetData()) != `"alert"` {
		t.Errorf("got %v", m)
	}
	for own.next().GetHeartbeat() == nil {
	}
}

// A reader that is far behind gets everything of a durable channel from the log.
func TestConsume_catchesUp(t *testing.T) {
	h := start(t, publish.Config{StreamQueue: 4})
	c, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/long:slow"})
	const n = 3000
	for i := range n {
		h.pub("channels/long:slow", fmt.Sprint(i))
	}
	for want := range n {
		if m := c.message(); string(m.GetData()) != fmt.Sprint(want) {
			t.Fatalf("got %s, want %d", m.GetData(), want)
		}
	}
}

// 1,000 resumes while the channel is published to: nothing lost, repeated or out of order.
func TestConsume_resumesUnderFire(t *testing.T) {
	h := start(t, publish.Config{})
	const to = "channels/long:fire"
	done := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				h.pub(to, fmt.Sprint(i))
			}
		}
	})
	c, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: to})
	at := c.message().GetPosition()
	c.cancel()
	for range 1000 {
		c, s := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: to, After: at})
		if !s.GetRecovered() {
			t.Fatalf("not recovered: %v", s)
		}
		for range 3 {
			m := c.message()
			if m.GetPosition().GetOffset() != at.GetOffset()+1 {
				t.Fatalf("got offset %d after %d", m.GetPosition().GetOffset(), at.GetOffset())
			}
			at = m.GetPosition()
		}
		c.cancel()
	}
	close(done)
	publisher.Wait()
}

func TestSubscribe_addressesComeAndGo(t *testing.T) {
	h := start(t, publish.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	st, err := h.publish.Subscribe(ctx)
	testkit.Check(t, err)
	do := func(n uint64, req *publishv1.SubscribeRequest) *publishv1.SubscribeResponse {
		t.Helper()
		req.Sequence = n
		testkit.Check(t, st.Send(req))
		r, err := st.Recv()
		testkit.Check(t, err)
		if r.GetSequence() != n {
			t.Fatalf("command %d was answered with %v", n, r)
		}
		return r
	}
	subscribe := func(a string) *publishv1.SubscribeRequest {
		return &publishv1.SubscribeRequest{Command: &publishv1.SubscribeRequest_Subscribe{Subscribe: &publishv1.ConsumeRequest{Address: a}}}
	}
	for i, a := range []string{"channels/a", "channels/live:b", "users/x"} {
		if r := do(uint64(i+1), subscribe(a)); r.GetSubscribed().GetAddress() != a {
			t.Errorf("answer is %v", r)
		}
	}
	if r := do(7, subscribe("channels/a")); r.GetError().GetReason() != "FIELD_INVALID" {
		t.Errorf("twice: %v", r)
	}
	if r := do(8, &publishv1.SubscribeRequest{}); r.GetError().GetReason() != "PROTOCOL_ERROR" {
		t.Errorf("no command: %v", r)
	}
	for _, a := range []string{"channels/a", "channels/live:b", "users/x"} {
		h.pub(a, `1`)
		r, err := st.Recv()
		testkit.Check(t, err)
		if r.GetMessage().GetTo() != a {
			t.Errorf("got %v", r)
		}
	}
	leave := &publishv1.SubscribeRequest{Command: &publishv1.SubscribeRequest_Unsubscribe{Unsubscribe: &publishv1.UnsubscribeCommand{Address: "channels/a"}}}
	if r := do(9, leave); r.GetUnsubscribed().GetAddress() != "channels/a" {
		t.Errorf("answer is %v", r)
	}
	h.pub("channels/a", `2`)
	h.pub("users/x", `3`)
	r, err := st.Recv()
	testkit.Check(t, err)
	if string(r.GetMessage().GetData()) != "3" {
		t.Errorf("got %v", r)
	}
	testkit.Check(t, st.CloseSend())
	if _, err := st.Recv(); err == nil {
		t.Error("the stream goes on")
	}
}

// A deleted channel ends its streams, after what came before.
func TestStreams_endWithTheirChannel(t *testing.T) {
	h := start(t, publish.Config{})
	const name = "channels/gone"
	create := func() {
		_, err := h.channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: name})
		testkit.Check(t, err)
	}
	create()
	one, err := h.publish.Consume(t.Context(), &publishv1.ConsumeRequest{Address: name})
	testkit.Check(t, err)
	many, err := h.publish.Subscribe(t.Context())
	testkit.Check(t, err)
	subscribe := &publishv1.SubscribeRequest{Sequence: 1, Command: &publishv1.SubscribeRequest_Subscribe{Subscribe: &publishv1.ConsumeRequest{Address: name}}}
	testkit.Check(t, many.Send(subscribe))
	first, err := one.Recv()
	testkit.Check(t, err)
	answer, err := many.Recv()
	testkit.Check(t, err)
	if first.GetSubscribed() == nil || answer.GetSubscribed() == nil {
		t.Fatalf("began with %v and %v", first, answer)
	}
	h.pub(name, `"last"`)
	_, err = h.channels.DeleteChannel(t.Context(), &publishv1.DeleteChannelRequest{Name: name})
	testkit.Check(t, err)
	if r, err := one.Recv(); err != nil || string(r.GetMessage().GetData()) != `"last"` {
		t.Errorf("got %v, %v", r, err)
	}
	_, err = one.Recv()
	refused(t, err, bus.ErrChannelNotFound)
	if r, err := many.Recv(); err != nil || string(r.GetMessage().GetData()) != `"last"` {
		t.Errorf("got %v, %v", r, err)
	}
	if r, err := many.Recv(); err != nil || r.GetUnsubscribed().GetAddress() != name || r.GetSequence() != 0 {
		t.Errorf("got %v, %v", r, err)
	}
	create()
	testkit.Check(t, many.Send(subscribe))
	if r, err := many.Recv(); err != nil || r.GetSubscribed() == nil {
		t.Errorf("to follow it again was answered with %v, %v", r, err)
	}
}

// A caller that asks for everything is told where that begins. A live address has no position.
func TestConsume_TellsWhereItBegins(t *testing.T) {
	h := start(t, publish.Config{})
	h.pub("channels/begin", `1`)
	for name, c := range map[string]struct {
		req  *publishv1.ConsumeRequest
		want string
	}{
		"everything": {&publishv1.ConsumeRequest{Address: "channels/begin", FromBeginning: true}, "start"},
		"from now":   {&publishv1.ConsumeRequest{Address: "channels/begin"}, "1"},
		"unused":     {&publishv1.ConsumeRequest{Address: "channels/unused", FromBeginning: true}, "start"},
		"live":       {&publishv1.ConsumeRequest{Address: "channels/live:begin", FromBeginning: true}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := h.publish.Consume(t.Context(), c.req)
			testkit.Check(t, err)
			first, err := stream.Recv()
			testkit.Check(t, err)
			p := first.GetSubscribed().GetPosition()
			got := "none"
			switch {
			case p != nil && p.GetEpoch() != "" && p.GetOffset() == 0:
				got = "start"
			case p.GetEpoch() != "":
				got = strconv.FormatUint(p.GetOffset(), 10)
			}
			if got != c.want {
				t.Errorf("it begins at %v, want %s", p, c.want)
			}
		})
	}
}

// The silence of a stream is counted from what it sent last, not by a clock of its own: a proxy counts so, too.
func TestConsume_silenceBeginsWithTheLastMessage(t *testing.T) {
	const every = time.Second
	h := startBeating(t, every)
	s, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/live:quiet"})
	for s.next().GetHeartbeat() == nil {
	}
	h.pub("channels/live:quiet", "1")
	for s.next().GetMessage() == nil {
	}
	sent := time.Now()
	for s.next().GetHeartbeat() == nil {
	}
	if silent := time.Since(sent); silent > every*17/10 {
		t.Errorf("silent for %s", silent)
	}
}
