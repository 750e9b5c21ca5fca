package edge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
)

// key is a key that seals tickets.
func key(b byte) []byte { return append(bytes.Repeat([]byte{7}, edge.TicketKeySize-1), b) }

// ticketed connects with a token and returns the client and its ticket.
func (h *fixture) ticketed(token string) (c *client, ticket, expires string) {
	h.tb.Helper()
	testkit.Eventually(h.tb, "the edge is sure of revocations", h.edge.Sure)
	c = h.dial("")
	c.send(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
	f, ok := c.read()["connected"].(map[string]any)
	if !ok || f["ticket"] == nil {
		h.tb.Fatalf("no ticket: %v", f)
	}
	return c, f["ticket"].(string), f["ticketExpireTime"].(string)
}

// with connects with a ticket.
func (h *fixture) with(ticket string) *client {
	c := h.dial("")
	c.send(fmt.Sprintf(`{"id":1,"connect":{"ticket":%q}}`, ticket))
	return c
}

func TestTicket_connectsWithoutAnAuthCall(t *testing.T) {
	cfg := edge.Config{Tickets: edge.Tickets{Keys: [][]byte{key(1)}}}
	h := start(t, cfg)
	_, server := h.another(h.store, h.conns, cfg)
	_, ticket, expires := h.ticketed(h.token("ada", everything))
	if n := h.calls.n.Load(); n != 1 {
		t.Errorf("a connect by token took %d calls", n)
	}
	if end, err := time.Parse(time.RFC3339, expires); err != nil || time.Until(end) > 2*time.Minute || time.Until(end) < time.Minute {
		t.Errorf("the ticket ends %s, %v", expires, err)
	}
	h.cut() // no service is needed
	c := h.at(server).with(ticket)
	f, ok := c.read()["connected"].(map[string]any)
	if !ok || f["user"] != "ada" || f["ticket"] == nil || f["ticket"] == ticket {
		t.Fatalf("got %v", f)
	}
	if n := h.calls.n.Load(); n != 1 {
		t.Errorf("a connect by ticket took %d calls", n-1)
	}
	c.subscribe("channels/granted")
	if _, err := h.store.Publish(t.Context(), bustest.Admit(bus.Publication{Message: bus.Message{
		ID: "m", To: mustAddress(t, "users/ada"), Data: []byte(`1`), ContentType: bus.JSON, Published: time.Now(),
	}})); err != nil {
		t.Fatal(err)
	}
	if m := c.message(); m["to"] != "users/ada" {
		t.Errorf("got %v", m)
	}
}

func mustAddress(t *testing.T, s string) bus.Address {
	t.Helper()
	a, err := bus.ParseAddress(s)
	testkit.Check(t, err)
	return a
}

func TestTicket_neverOutlivesTheToken(t *testing.T) {
	h := start(t, edge.Config{Tickets: edge.Tickets{Keys: [][]byte{key(1)}}})
	resp, err := h.auth.IssueToken(t.Context(), &authv1.IssueTokenRequest{User: "ada", Ttl: durationpb.New(30 * time.Second)})
	testkit.Check(t, err)
	_, ticket, expires := h.ticketed(resp.GetToken())
	if end, err := time.Parse(time.RFC3339, expires); err != nil || !end.Equal(resp.GetExpireTime().AsTime()) {
		t.Errorf("the ticket ends %s, the token %s", expires, resp.GetExpireTime().AsTime())
	}
	c := h.with(ticket) // and hands on no more than it has
	if f := c.read()["connected"].(map[string]any); f["ticketExpireTime"] != expires || f["expireTime"] != expires {
		t.Errorf("got %v", f)
	}
}

// All refusals look the same; the keys rotate.
func TestTicket_refusals(t *testing.T) {
	h := start(t, edge.Config{Tickets: edge.Tickets{Keys: [][]byte{key(1)}}})
	_, ticket, _ := h.ticketed(h.token("ada"))
	at := func(keys [][]byte, life time.Duration) *fixture {
		_, server := h.another(h.store, h.conns, edge.Config{Tickets: edge.Tickets{Keys: keys, Life: life}})
		return h.at(server)
	}
	rotated := at([][]byte{key(2), key(1)}, 0)
	if f := rotated.with(ticket).read(); f["connected"] == nil {
		t.Errorf("a ticket of the older key: %v", f)
	}
	for name, tc := range map[string]struct {
		h      *fixture
		ticket string
	}{
		"no ticket at all": {h, "x"}, "changed": {h, strings.Replace(ticket, ticket[30:31], map[bool]string{true: "A", false: "B"}[ticket[30] != 'A'], 1)},
		"cut":         {h, ticket[:len(ticket)-4]},
		"too long":    {h, strings.Repeat("A", 20<<10)},
		"key is gone": {at([][]byte{key(2)}, 0), ticket}, "past its time": {at([][]byte{key(1)}, time.Nanosecond), ticket},
		"no tickets here": {at(nil, 0), ticket},
	} {
		t.Run(name, func(t *testing.T) {
			c := tc.h.with(tc.ticket)
			e, _ := c.read()["error"].(map[string]any)
			code, text := c.closed()
			if e["reason"] != "TICKET_INVALID" || e["message"] != "ticket is not valid; connect with the token" || code != 4402 || text != "TICKET_INVALID" {
				t.Errorf("got %v, closed with %d %s", e, code, text)
			}
		})
	}
	c := h.dial("")
	c.send(`{"connect":{"ticket":"x","token":"y"}}`)
	if e, _ := c.read()["error"].(map[string]any); e["reason"] != "FIELD_INVALID" {
		t.Errorf("both: %v", e)
	}
	if n := h.calls.n.Load(); n != 1 {
		t.Errorf("refused tickets took %d calls", n-1)
	}
}

func TestTicket_keysAreChecked(t *testing.T) {
	for name, tickets := range map[string]edge.Tickets{
		"short key": {Keys: [][]byte{key(1)[1:]}}, "long life": {Keys: [][]byte{key(1)}, Life: edge.MaxTicketLife + 1},
	} {
		if _, err := edge.New(memory.New(memory.Config{}), edge.Conns{}, nil, edge.Config{Node: "n", Tickets: tickets}, slog.New(slog.DiscardHandler), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// asked is the memory store, which counts how often it is asked about revocations, and can be away.
type asked struct {
	bus.Store
	n    atomic.Int64
	away atomic.Bool
}

func (a *asked) RevokedBefore(ctx context.Context, subjects []bus.Subject) ([]time.Time, error) {
	a.n.Add(1)
	if a.away.Load() {
		return nil, bus.ErrStoreUnavailable
	}
	return a.Store.RevokedBefore(ctx, subjects)
}

// run runs an edge in the bubble until the function is called.
func run(t *testing.T, store edge.Store) (*edge.Edge, func()) {
	t.Helper()
	e, err := edge.New(store, edge.Conns{}, nil, edge.Config{Node: "n", Tickets: edge.Tickets{Keys: [][]byte{key(1)}}}, slog.New(slog.DiscardHandler), nil)
	testkit.Check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { testkit.Check(t, e.Run(ctx)) })
	synctest.Wait()
	return e, func() { cancel(); done.Wait() }
}

// What was announced is known without asking; what came before this edge listened is asked of the store; and who cannot
// ask lets nobody in.
func TestTicket_afterARevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &asked{Store: memory.New(memory.Config{})}
		old, stop := run(t, store)
		identity := func(user string) *bus.Identity {
			return &bus.Identity{Client: "c-" + user, User: user, TokenID: "t-" + user, Issued: time.Now(), Expires: time.Now().Add(time.Hour)}
		}
		redeem := func(e *edge.Edge, ticket string, want error, asks int64) {
			t.Helper()
			before := store.n.Load()
			_, err := e.Redeem(t.Context(), ticket)
			if !errors.Is(err, want) || store.n.Load()-before != asks {
				t.Errorf("got %v with %d questions; want %v with %d", err, store.n.Load()-before, want, asks)
			}
		}
		time.Sleep(time.Minute)
		ada, bob := old.Seal(identity("ada")), old.Seal(identity("bob"))
		time.Sleep(time.Second)
		redeem(old, ada, nil, 0)
		testkit.Check(t, store.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Now(), time.Hour))
		synctest.Wait()
		redeem(old, ada, bus.ErrTokenRevoked, 0)
		redeem(old, bob, nil, 0)

		fresh, stopFresh := run(t, store) // heard nothing of it
		redeem(fresh, ada, bus.ErrTokenRevoked, 1)
		redeem(fresh, bob, nil, 1)
		store.away.Store(true)
		redeem(fresh, bob, bus.ErrStoreUnavailable, 1)
		redeem(old, bob, nil, 0)
		if _, err := fresh.Redeem(t.Context(), bob); rpc.FromError(err).RetryAfter == 0 {
			t.Errorf("no time to come back: %v", err)
		}
		store.away.Store(false)

		time.Sleep(2*time.Minute - 2*time.Second) // as long as the ticket lives
		redeem(old, ada, bus.ErrTokenRevoked, 0)
		time.Sleep(time.Second)
		redeem(old, ada, bus.ErrTicketInvalid, 0)
		cy := old.Seal(identity("cy"))
		stop() // its feed is not ready any more
		redeem(old, cy, nil, 1)
		stopFresh()
	})
}
