package edge_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// tongueTied speaks JSON, and has no words for a pong, for changes of presence, and for the end of a subscription.
type tongueTied struct{ native.JSON }

func (tongueTied) Name() string { return "tongue-tied" }

func (d tongueTied) Hello(r *http.Request) (dialect.Hello, bool) {
	h, ok := d.JSON.Hello(r)
	return h, ok && r.URL.Path == "/tied"
}

func (d tongueTied) Reply(dst []byte, f *edgev1.ServerFrame) ([]byte, error) {
	switch f.GetEvent().(type) {
	case *edgev1.ServerFrame_Pong, *edgev1.ServerFrame_PresenceEvent, *edgev1.ServerFrame_Unsubscribed:
		return nil, errors.New("it cannot be said")
	}
	return d.JSON.Reply(dst, f)
}

// An answer that cannot be encoded is a refusal with its id, a delivery is a gap, and any other event ends the connection.
func TestUnencodable_isTold(t *testing.T) {
	h := start(t, edge.Config{})
	server := httptest.NewServer(h.edge.Handler(edge.Route{Dialects: []dialect.Dialect{tongueTied{}}}))
	t.Cleanup(server.Close)
	token := h.token("ada", everything)
	c := h.at(server).dial("/tied?token=" + token)
	c.read() // it is connected
	c.send(`{"id":7,"ping":{}}`)
	if f := c.read(); f["id"] != float64(7) || f["error"].(map[string]any)["reason"] != "INTERNAL" {
		t.Errorf("the answer is %v", f)
	}
	c.send(`{"id":8,"subscribe":{"address":"channels/room","presence":true}}`)
	c.read()
	h.connected(h.token("bob", everything)).subscribe("channels/room")
	f := c.read()
	if gap, _ := f["gap"].(map[string]any); gap["address"] != "channels/room" {
		t.Errorf("in place of who came there is %v", f)
	}
	channels := publishv1.NewChannelServiceClient(h.conns.Publish)
	_, err := channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: "channels/doomed"})
	testkit.Check(t, err)
	c.send(`{"id":9,"subscribe":{"address":"channels/doomed"}}`)
	c.read()
	_, err = channels.DeleteChannel(t.Context(), &publishv1.DeleteChannelRequest{Name: "channels/doomed"})
	testkit.Check(t, err)
	if code, text := c.closed(); code != 4500 || text != "INTERNAL" {
		t.Errorf("closed with %d %s", code, text)
	}
}

// A connect whose answer cannot be encoded is refused, and the connection ends: it is not what its client would think.
func TestUnencodable_connect(t *testing.T) {
	h := start(t, edge.Config{Node: "\xFF"})
	w := h.dialProto()
	w.send(&edgev1.ClientFrame{Id: 7, Command: &edgev1.ClientFrame_Connect{Connect: &edgev1.Connect{Token: h.token("ada")}}})
	for _, id := range []uint32{7, 0} {
		if f := w.read(); f.GetError().GetReason() != "INTERNAL" || f.GetId() != id {
			t.Errorf("got %v, want a refusal with the id %d", f, id)
		}
	}
}
