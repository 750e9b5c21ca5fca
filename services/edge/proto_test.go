package edge_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// protoClient is a client of the binary encoding.
type protoClient struct {
	tb testing.TB
	ws *websocket.Conn
}

// dialProto dials, and does not connect.
func (h *fixture) dialProto() *protoClient {
	h.tb.Helper()
	d := websocket.Dialer{Subprotocols: []string{native.SubprotocolProto}}
	ws, _, err := d.DialContext(h.tb.Context(), "ws"+strings.TrimPrefix(h.http.URL, "http"), nil) //nolint:bodyclose // it is the connection
	testkit.Check(h.tb, err)
	h.tb.Cleanup(func() { _ = ws.Close() })
	return &protoClient{tb: h.tb, ws: ws}
}

// proto dials, connects and subscribes.
func (h *fixture) proto(token string, addresses ...string) *protoClient {
	h.tb.Helper()
	c := h.dialProto()
	connect := &edgev1.Connect{Token: token}
	for _, a := range addresses {
		connect.Subscriptions = append(connect.Subscriptions, &edgev1.Subscribe{Address: a})
	}
	c.send(&edgev1.ClientFrame{Id: 1, Command: &edgev1.ClientFrame_Connect{Connect: connect}})
	f := c.read()
	if f.GetConnected() == nil || len(f.GetConnected().GetSubscriptions()) != len(addresses) {
		h.tb.Fatalf("connect was answered with %v", f)
	}
	for _, s := range f.GetConnected().GetSubscriptions() {
		if s.GetSubscribed() == nil {
			h.tb.Fatalf("not subscribed: %v", s)
		}
	}
	return c
}

func (c *protoClient) send(f *edgev1.ClientFrame) {
	c.tb.Helper()
	b, err := proto.Marshal(f)
	testkit.Check(c.tb, err)
	testkit.Check(c.tb, c.ws.WriteMessage(websocket.BinaryMessage, b))
}

func (c *protoClient) read() *edgev1.ServerFrame {
	c.tb.Helper()
	testkit.Check(c.tb, c.ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, b, err := c.ws.ReadMessage()
	testkit.Check(c.tb, err)
	f := new(edgev1.ServerFrame)
	testkit.Check(c.tb, proto.Unmarshal(b, f))
	return f
}

func (c *protoClient) message() *publishv1.Message {
	c.tb.Helper()
	f := c.read()
	if f.GetMessage() == nil {
		c.tb.Fatalf("not a message: %v", f)
	}
	return f.GetMessage()
}

// Every subscriber gets every message once and in order while others come, go and resume.
func TestDelivery_inOrderUnderChurn(t *testing.T) {
	h := start(t, edge.Config{})
	token := h.token("ada", everything)
	const messages, subscribers = 2000, 20
	var wg sync.WaitGroup
	for range subscribers {
		c := h.proto(token, "channels/busy")
		wg.Go(func() {
			for want := uint64(1); want <= messages; want++ {
				if m := c.message(); m.GetPosition().GetOffset() != want {
					t.Errorf("got offset %d, want %d", m.GetPosition().GetOffset(), want)
					return
				}
			}
		})
	}
	churn := make(chan struct{})
	var churners sync.WaitGroup
	churners.Go(func() {
		for {
			select {
			case <-churn:
				return
			default:
			}
			c := h.proto(token, "channels/busy")
			testkit.Check(t, c.ws.Close())
		}
	})
	for i := range messages {
		h.pub("channels/busy", fmt.Sprint(i))
	}
	wg.Wait()
	close(churn)
	churners.Wait()
}

// Clients that resume while the channel is published to miss and repeat nothing.
func TestResume_underFire(t *testing.T) {
	h := start(t, edge.Config{})
	token := h.token("ada", everything)
	done := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				h.pub("channels/fire", fmt.Sprint(i))
			}
		}
	})
	first := h.proto(token, "channels/fire")
	m := first.message()
	at := m.GetPosition()
	testkit.Check(t, first.ws.Close())
	for range 200 {
		c := h.proto(token)
		c.send(&edgev1.ClientFrame{Id: 2, Command: &edgev1.ClientFrame_Subscribe{Subscribe: &edgev1.Subscribe{
			Address: "channels/fire", After: at,
		}}})
		recovered := c.read().GetSubscribed().GetRecovered()
		for i := range 7 {
			f := c.read()
			if i == 0 && !recovered && f.GetGap() == nil {
				t.Fatalf("not recovered, and %v came without a gap", f)
			}
			if g := f.GetGap(); g != nil { // the log keeps 100 messages, and the publisher may be faster
				at = g.GetTo()
				continue
			}
			if got := f.GetMessage().GetPosition().GetOffset(); got != at.GetOffset()+1 {
				t.Fatalf("got offset %d after %d", got, at.GetOffset())
			}
			at = f.GetMessage().GetPosition()
		}
		testkit.Check(t, c.ws.Close())
	}
	close(done)
	publisher.Wait()
}

func TestRevoke_endsOpenConnections(t *testing.T) {
	h := start(t, edge.Config{})
	ada := h.connected(h.token("ada"))
	bob := h.connected(h.token("bob"))
	_, err := h.auth.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
	testkit.Check(t, err)
	if code, text := ada.closed(); code != 4401 || text != "TOKEN_REVOKED" {
		t.Errorf("closed with %d %s", code, text)
	}
	bob.send(`{"id":3,"ping":{}}`)
	if f := bob.read(); f["pong"] == nil {
		t.Errorf("bob got %v", f)
	}
}

func TestDrain_tellsClientsToMove(t *testing.T) {
	h := start(t, edge.Config{})
	c := h.connected(h.token("ada"))
	go h.stop()
	if code, text := c.closed(); code != 4503 || text != "SERVER_DRAINING" {
		t.Errorf("closed with %d %s", code, text)
	}
	h.stop()
}
