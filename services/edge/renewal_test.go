package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// pipes is a listener in memory, which a bubble's clock can wait for.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	over  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.over) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// bubble is an edge with tickets in a bubble, and its clients.
type bubble struct {
	*testing.T
	edge  *edge.Edge
	pipes *pipes
	stop  func() // drains the edge, and ends everything
}

const ticketLife = 2 * time.Minute

func newBubble(t *testing.T, store edge.Store) *bubble {
	t.Helper()
	dialects := []dialect.Dialect{native.JSON{}}
	e, err := edge.New(store, edge.Conns{}, dialects, edge.Config{
		Node: "n", Tickets: edge.Tickets{Keys: [][]byte{key(1)}, Life: ticketLife}, Namespaces: bus.Namespaces{Default: bus.DefaultNamespace()},
	}, slog.New(slog.DiscardHandler), nil)
	testkit.Check(t, err)
	b := &bubble{T: t, edge: e, pipes: &pipes{conns: make(chan net.Conn), over: make(chan struct{})}}
	server := &http.Server{Handler: e.Handler(edge.Route{Dialects: dialects}), ReadHeaderTimeout: time.Minute}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { testkit.Check(t, e.Run(ctx)) })
	done.Go(func() { _ = server.Serve(b.pipes) })
	b.stop = func() {
		cancel()
		synctest.Wait()
		time.Sleep(time.Minute) // of the bubble: everybody has been sent away
		_ = server.Close()
		done.Wait()
	}
	synctest.Wait()
	return b
}

func lasting(user string, life time.Duration) *bus.Identity {
	return &bus.Identity{Client: "c-" + user, User: user, TokenID: "t-" + user, Issued: time.Now(), Expires: time.Now().Add(life)}
}

// holder is a client that keeps the newest ticket.
type holder struct {
	mu      sync.Mutex
	tickets []string
	times   []time.Time
	last    []string // the kinds of the last two frames
	ended   chan struct{}
}

func (h *holder) newest() (string, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tickets[len(h.tickets)-1], len(h.tickets)
}

// connect opens a connection by ticket; its goroutine ends with the connection.
func (b *bubble) connect(ticket string) *holder {
	b.Helper()
	d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		b.pipes.conns <- there
		return here, nil
	}}
	ws, resp, err := d.DialContext(b.Context(), "ws://bubble/", nil) //nolint:bodyclose // it is the connection
	if err != nil {
		b.Fatal(err, resp)
	}
	testkit.Check(b, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"connect":{"ticket":%q}}`, ticket)))
	h := &holder{ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		defer func() { _ = ws.Close() }()
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			h.take(b.T, data)
		}
	}()
	synctest.Wait()
	return h
}

func (h *holder) take(t *testing.T, data []byte) {
	var f struct {
		Connected, Ticket *struct {
			Ticket                       string
			ExpireTime, TicketExpireTime time.Time
		}
		Error *struct{ Reason string }
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Errorf("%s: %v", data, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	kind, ticket := "other", ""
	switch {
	case f.Connected != nil:
		kind, ticket = "connected", f.Connected.Ticket
	case f.Ticket != nil:
		kind, ticket = "ticket", f.Ticket.Ticket
		if d := time.Until(f.Ticket.ExpireTime); d < ticketLife-2*time.Second || d > ticketLife {
			t.Errorf("a new ticket lives %s", d)
		}
	case f.Error != nil:
		kind = f.Error.Reason
	}
	if h.last = append(h.last, kind); len(h.last) > 2 {
		h.last = h.last[1:]
	}
	if ticket != "" {
		h.tickets, h.times = append(h.tickets, ticket), append(h.times, time.Now())
	}
}

// An open connection holds a ticket that works, however old it is; each one before ends in its time.
func TestTicket_isRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, memory.New(memory.Config{}))
		c := b.connect(b.edge.Seal(lasting("ada", time.Hour)))
		first, n := c.newest()
		if n != 1 {
			t.Fatalf("%d tickets at the connect", n)
		}
		for start := time.Now(); time.Since(start) < 20*time.Minute; time.Sleep(time.Second) {
			ticket, _ := c.newest()
			if id, err := b.edge.Redeem(t.Context(), ticket); err != nil || id.User != "ada" {
				t.Fatalf("after %s: %v", time.Since(start), err)
			}
		}
		if _, err := b.edge.Redeem(t.Context(), first); err == nil {
			t.Error("the first ticket works for ever")
		}
		c.mu.Lock()
		for i := 1; i < len(c.times); i++ {
			if d := c.times[i].Sub(c.times[i-1]); d < ticketLife*3/8-time.Second || d > ticketLife*5/8+2*time.Second {
				t.Errorf("ticket %d came after %s", i, d)
			}
		}
		if len(c.tickets) < 16 || len(c.tickets) > 28 {
			t.Errorf("%d tickets in 20 minutes", len(c.tickets))
		}
		c.mu.Unlock()
		_, before := c.newest()
		b.stop()
		<-c.ended
		if _, n := c.newest(); n != before+1 || fmt.Sprint(c.last) != "[ticket SERVER_DRAINING]" {
			t.Errorf("the drain gave %d tickets and ended with %v", n-before, c.last)
		}
	})
}

// Many that connect in the same second are not given their next tickets in the same second, and all are in time. After a while
// without tickets they are all due, and are served in turn.
func TestTicket_renewalsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &asked{Store: memory.New(memory.Config{})}
		b := newBubble(t, store)
		const n = 1000
		all := make([]*holder, n)
		for i := range all {
			all[i] = b.connect(b.edge.Seal(lasting(fmt.Sprint("user", i), time.Hour)))
		}
		// busiest returns how many tickets came in the second that had most, and in how many seconds they came. It also checks
		// that everybody has a newer one.
		busiest := func(since time.Time) (most, spread int) {
			t.Helper()
			seconds := map[int64]int{}
			for _, c := range all {
				c.mu.Lock()
				if !c.times[len(c.times)-1].After(since) {
					t.Errorf("no ticket since %s", since)
				}
				for _, at := range c.times[1:] {
					if at.After(since) {
						seconds[at.Unix()]++
						most = max(most, seconds[at.Unix()])
					}
				}
				c.mu.Unlock()
			}
			return most, len(seconds)
		}
		start := time.Now()
		time.Sleep(ticketLife*5/8 + 5*time.Second)
		if most, spread := busiest(start); most > n/10 || spread < 20 {
			t.Errorf("%d of %d were served in one second, all in %d", most, n, spread)
		}

		store.away.Store(true)
		b.edge.Doubt() // a revocation may have been missed, and nobody can say
		time.Sleep(2 * time.Minute)
		quiet := time.Now()
		for _, c := range all {
			c.mu.Lock()
			if last := c.times[len(c.times)-1]; last.After(quiet.Add(-time.Minute)) {
				t.Errorf("a ticket was given %s before the answer", quiet.Sub(last))
			}
			c.mu.Unlock()
		}
		store.away.Store(false)
		time.Sleep(ticketLife/4 + 2*time.Second)
		if most, _ := busiest(quiet); most > n/4 {
			t.Errorf("after the doubt %d of %d were served in one second", most, n)
		}
		b.stop()
		for _, c := range all {
			<-c.ended
		}
	})
}

// A revoked client is given no new ticket.
func TestTicket_isNotRenewedAfterARevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.Config{})
		b := newBubble(t, store)
		c := b.connect(b.edge.Seal(lasting("ada", time.Hour)))
		testkit.Check(t, store.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Now(), time.Hour))
		<-c.ended
		if _, n := c.newest(); n != 1 || fmt.Sprint(c.last) != "[connected TOKEN_REVOKED]" {
			t.Errorf("%d tickets, the last frames are %v", n, c.last)
		}
		b.stop()
	})
}
