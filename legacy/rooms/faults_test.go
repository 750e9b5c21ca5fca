package rooms_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	goredis "github.com/redis/go-redis/v9"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/rooms"
)

// The tests whose names begin with Fault are about what the original did wrong; docs/dialects.md lists it.

// soon lets messages count as stored quickly.
var soon = with(func(r *rooms.Settings) { r.AckTimeout = 100 * time.Millisecond })

// A wrong type ended the original's process, for a message 30 s later.
func TestFault_WrongTypesOfData(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b := h.dial(t, 0), h.dial(t, 1)
		for _, data := range []any{7, true, nil, []string{"x"}, map[string]string{"id": "x"}} {
			for _, command := range []string{"ack", "setID"} {
				a.send(command, data)
				if reason, message := a.refusal(); reason != "FIELD_INVALID" || !strings.HasPrefix(message, "data: ") {
					t.Errorf("%s %v: %s %s", command, data, reason, message)
				}
			}
		}
		for _, to := range []any{7, true, []string{"x"}, map[string]string{"id": "x"}} {
			a.send("sendMessage", map[string]any{"to": to})
			if reason, message := a.refusal(); reason != "FIELD_INVALID" || !strings.HasPrefix(message, "data.to: ") {
				t.Errorf("to %v: %s %s", to, reason, message)
			}
		}
		a.send("setID", strings.Repeat("x", 1025))
		a.refusal()
		for _, fine := range []any{"text", 7, nil, []int{1}, map[string]any{"to": nil}, map[string]any{"to": ""}, map[string]any{}} {
			a.send("sendMessage", fine)
			if got, want := b.get("sendMessage"), a.get("sendMessage"); string(got.Body.Data) != string(want.Body.Data) {
				t.Errorf("%v arrived as %s and %s", fine, got.Body.Data, want.Body.Data)
			}
		}
	}, soon)
}

// A frame that was no JSON was broadcast as an empty command.
func TestFault_MalformedJSON(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b := h.dial(t, 0), h.dial(t, 1)
		for _, text := range []string{"", "{", "hello", `{"command":7}`, `[]`, `7`, `null`, `{}`, `{"command":""}`, `{"command":null,"data":1}`, "{\"command\":\"x\xff"} {
			testkit.Check(t, a.ws.WriteMessage(websocket.BinaryMessage, []byte(text)))
			if reason, _ := a.refusal(); reason != "INVALID_JSON" && reason != "FIELD_INVALID" {
				t.Errorf("%q: %s", text, reason)
			}
		}
		a.message("", "the first that is for everybody")
		if f := b.next(); f.Body.Command != "sendMessage" {
			t.Errorf("somebody else got %+v", f)
		}
	})
}

// The archive lived for 10 s, and nobody ever read it.
func TestFault_ArchiveIsKeptAndRead(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b := h.dial(t, 0), h.as(t, 1, "bob")
		b.before()
		a.message("bob", "not acknowledged in time")
		first := b.get("sendMessage")
		receipt := &publishv1.GetReceiptRequest{Address: "clients/bob", Id: dashed(first.ID)}
		testkit.Eventually(t, "it counts as stored", func() bool {
			resp, err := h.Publish.GetReceipt(t.Context(), receipt)
			testkit.Check(t, err)
			return resp.GetReceipt().GetState() == publishv1.DeliveryState_DELIVERY_STATE_STORED
		})
		resp, err := h.Publish.GetReceipt(t.Context(), receipt)
		testkit.Check(t, err)
		if kept := resp.GetReceipt().GetExpireTime().AsTime().Sub(resp.GetReceipt().GetPublishTime().AsTime()); kept != 7*24*time.Hour {
			t.Errorf("it is kept for %s", kept)
		}
		again := h.as(t, 0, "bob")
		if f := again.get("sendMessage"); f.ID != first.ID || string(f.Body.Data) != string(first.Body.Data) || f.ClientID != first.ClientID {
			t.Errorf("handed over %+v, want %+v", f, first)
		}
		again.send("ack", first.ID) // late, and good
		testkit.Eventually(t, "nothing waits", func() bool { return h.waiting(t, "bob") == 0 })
		if all := h.as(t, 1, "bob").before(); len(all) > 0 {
			t.Errorf("delivered after the ack: %+v", all)
		}
	}, soon)
}

func dashed(id string) string {
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// The sender's and every bystander's unacknowledged copy went into the addressee's archive.
func TestFault_OnlyTheAddresseesCopyIsKept(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		ids := []string{"ann", "bob", "cid", "dee"}
		var all []*client
		for i, id := range ids {
			all = append(all, h.as(t, i, id))
			all[i].before()
		}
		all[0].message("bob", "hello")
		seen := map[string]bool{}
		for _, c := range all {
			seen[c.get("sendMessage").ID] = true
		}
		if len(seen) != len(all) {
			t.Errorf("%d copies have the ids %v", len(all), seen)
		}
		if n := h.waiting(t, "bob"); n != 1 {
			t.Errorf("%d copies wait for bob", n)
		}
		for id := range seen {
			all[2].send("ack", id) // nobody else can
		}
		all[2].before()
		if n := h.waiting(t, "bob"); n != 1 {
			t.Errorf("%d copies wait for bob after acks of somebody else", n)
		}
		for id := range seen {
			all[1].send("ack", id)
		}
		testkit.Eventually(t, "nothing waits", func() bool {
			n := 0
			for _, id := range ids {
				n += h.waiting(t, id)
			}
			return n == 0
		})
	}, soon)
}

// Private messages were shown to everybody.
func TestFault_PrivateMessages(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b, c := h.as(t, 0, "ann"), h.as(t, 1, "bob"), h.as(t, 0, "cid")
		b.before()
		a.message("bob", "private")
		b.get("sendMessage")
		a.message("", "public")
		for _, x := range []*client{a, c} {
			if f := x.get("sendMessage"); f.text(t) != "public" {
				t.Errorf("a bystander got %+v", f)
			}
		}
	}, with(func(r *rooms.Settings) { r.Delivery = "addressed" }))
}

// The room was ignored.
func TestFault_RoomIgnored(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b := h.connect(t, 0, "/ws/1", nil), h.connect(t, 1, "/ws/2", nil)
		a.get("newUser")
		b.get("newUser")
		a.message("", "in room 1")
		a.get("sendMessage")
		b.message("", "in room 2")
		if f := b.next(); f.Body.Command != "sendMessage" || f.text(t) != "in room 2" {
			t.Errorf("room 2 got %+v", f)
		}
	}, with(func(r *rooms.Settings) { r.Scope = "room" }))
}

// Anybody could take any id.
func TestFault_TakenIDs(t *testing.T) {
	closed := apptest.With(func(c *config.Config) { c.Legacy.Open = false })
	everywhere(t, func(t *testing.T, h *deployment) {
		if status, body := h.refused(t, "/ws/1", nil); status != http.StatusUnauthorized || !strings.Contains(body, `{"message":"TOKEN_MISSING`) {
			t.Errorf("without a token: %d %s", status, body)
		}
		if status, body := h.refused(t, "/ws/1?token=x", nil); status != http.StatusUnauthorized || !strings.Contains(body, `{"message":"TOKEN_INVALID`) {
			t.Errorf("with a bad token: %d %s", status, body)
		}
		ann := h.Token(t, &authv1.IssueTokenRequest{Client: "ann", User: "ann@example"}, "channels/rooms:*", "clients/*")
		a := h.connect(t, 0, "/ws/1?token="+ann, nil)
		a.send("newID", nil)
		if f := a.get("clientID"); f.ClientID != "ann" {
			t.Errorf("the id of the token is %+v", f)
		}
		a.send("setID", "bob")
		if reason, _ := a.refusal(); reason != "PERMISSION_DENIED" {
			t.Errorf("another id is refused with %s", reason)
		}
		bob := http.Header{"Authorization": {"Bearer " + h.Token(t, &authv1.IssueTokenRequest{Client: "bob"}, "channels/rooms:*", "clients/*")}}
		b := h.connect(t, 1, "/ws/1", bob)
		b.before()
		a.message("bob", "for bob")
		f := b.get("sendMessage")
		a.send("ack", f.ID)
		a.before()
		if h.waiting(t, "bob") != 1 {
			t.Error("somebody else acknowledged it")
		}
		a.send("setID", "ann@example") // its user
		a.before()
		b.message("ann@example", "for the user")
		if f := a.get("sendMessage"); f.text(t) != "for the user" || f.ClientID != "bob" {
			t.Errorf("got %+v", f)
		}
		a.send("setID", "ann")
		a.send("newID", nil)
		if f := a.get("clientID"); f.ClientID != "ann" {
			t.Errorf("back again it is %+v", f)
		}
		none := h.connect(t, 0, "/ws/1?token="+h.Token(t, &authv1.IssueTokenRequest{Client: "eve"}, "channels/other"), nil)
		if reason, _ := none.refusal(); reason != "PERMISSION_DENIED" {
			t.Errorf("without grants: %s", reason)
		}
		var bye *websocket.CloseError
		if _, err := none.read(); !errors.As(err, &bye) || bye.Code != 4403 {
			t.Errorf("it ended with %v", err)
		}
	}, closed)
}

func TestFault_TakenIDs_open(t *testing.T) {
	h := start(t, with(func(r *rooms.Settings) { r.BindIDs = true }))
	a := h.dial(t, 0)
	a.send("setID", "bob")
	if reason, _ := a.refusal(); reason != "PERMISSION_DENIED" {
		t.Errorf("an id without a token is refused with %s", reason)
	}
	a.send("newID", nil)
	id := a.get("clientID").ClientID
	a.send("setID", id) // its own
	if all := a.before(); len(all) > 0 {
		t.Errorf("got %+v", all)
	}
}

// The addressee was a raw key in Redis.
func TestFault_AddresseeIsNoKey(t *testing.T) {
	redis := redistest.Start(t)
	h := start(t, apptest.Redis(redis.URL()))
	raw := goredis.NewClient(&goredis.Options{Addr: redis.Addr()})
	defer func() { testkit.Check(t, raw.Close()) }()
	testkit.Check(t, raw.Set(t.Context(), "roomCount", "precious", 0).Err())
	a := h.dial(t, 0)
	ids := []string{"roomCount", "tl:{channels}", "tl:{clients/ann}:k:", "}{", "*", "a b", "ü", strings.Repeat("long", 250), "channels/rooms:all", "../x", "x-"}
	for _, id := range ids {
		a.message(id, id)
		a.get("sendMessage")
	}
	b := h.dial(t, 0)
	for _, id := range ids { // each has its own, and nobody else's
		b.send("setID", id)
		f := b.get("sendMessage")
		if f.text(t) != id {
			t.Errorf("%q was handed %+v", id, f)
		}
		b.send("ack", f.ID)
		b.send("newID", nil)
		if f := b.get("clientID"); f.ClientID != id {
			t.Errorf("%q is called %q", id, f.ClientID)
		}
		b.message("", "from "+id)
		if f := a.get("sendMessage"); f.ClientID != id {
			t.Errorf("%q sends as %q", id, f.ClientID)
		}
		b.get("sendMessage")
	}
	keys, err := raw.Keys(t.Context(), "*").Result()
	testkit.Check(t, err)
	for _, key := range keys {
		if key == "roomCount" {
			continue
		}
		if !strings.HasPrefix(key, "tl:") {
			t.Errorf("the key %q", key)
		}
		if strings.HasPrefix(key, "tl:{clients/") && raw.PTTL(t.Context(), key).Val() <= 0 {
			t.Errorf("the key %q has no end", key)
		}
	}
	if value := raw.Get(t.Context(), "roomCount").Val(); value != "precious" {
		t.Errorf("another program's key is %q", value)
	}
}

// The id of a connection was written by one goroutine and read by another.
func TestFault_IDChangesWhileMessagesFlow(t *testing.T) {
	fast := apptest.With(func(c *config.Config) { c.Edge.CommandsPerSecond, c.Edge.CommandBurst = 1e6, 1e6 })
	everywhere(t, func(t *testing.T, h *deployment) {
		const messages = 60
		a, b := h.as(t, 0, "ann"), h.as(t, 1, "p")
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range messages {
				a.message("p", fmt.Sprint("p", i))
				a.message("q", fmt.Sprint("q", i))
			}
		})
		acked, mine := map[string]string{}, map[string]bool{}
		for turn := 0; len(mine) < 2*messages; turn++ {
			id := []string{"p", "q"}[turn%2]
			b.send("setID", id)
			for _, f := range b.before() {
				if f.ID[12] == '0' { // a bystander's copy
					continue
				}
				if text, again := acked[f.ID]; again {
					t.Fatalf("%s came again after its ack", text)
				}
				acked[f.ID], mine[f.text(t)] = f.text(t), true
				b.send("ack", f.ID)
			}
			if turn > 2000 {
				t.Fatalf("%d messages of %d came", len(mine), 2*messages)
			}
		}
		sending.Wait()
	}, fast)
}
