package ticket_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/ticket"
)

func pass(tb testing.TB, life time.Duration) ticket.Pass {
	tb.Helper()
	a, err := bus.ParseAddress("channels/orders:eu")
	testkit.Check(tb, err)
	return ticket.Pass{Token: "the token itself", Address: a, Expires: time.Now().Add(life)}
}

func open(tb testing.TB) (*ticket.Tickets, bus.Store) {
	tb.Helper()
	store := memory.New(memory.Config{})
	tb.Cleanup(func() { testkit.Check(tb, store.Close()) })
	return ticket.New(store), store
}

func refused(tb testing.TB, tickets *ticket.Tickets, text, proof, why string) {
	tb.Helper()
	if _, err := tickets.Open(context.Background(), text, proof); !errors.Is(err, bus.ErrTicketInvalid) {
		tb.Errorf("%s: %v", why, err)
	}
}

func TestTickets(t *testing.T) {
	tickets, _ := open(t)
	made := pass(t, time.Hour)
	text, ends, err := tickets.Mint(t.Context(), made)
	testkit.Check(t, err)
	if left := time.Until(ends); left > ticket.Life || left < ticket.Life-10*time.Second {
		t.Errorf("it ends in %s", left)
	}
	refused(t, tickets, text, "a proof", "a proof before the first use")
	p, err := tickets.Open(t.Context(), text, "")
	testkit.Check(t, err)
	if p.Token != made.Token || p.Address != made.Address || !p.Expires.Equal(made.Expires) || p.Proof == "" {
		t.Errorf("opened %+v", p)
	}
	refused(t, tickets, text, "", "the second use")
	refused(t, tickets, text, "x"+p.Proof[1:], "another proof")
	for range 2 { // a stream may come back often
		again, err := tickets.Open(t.Context(), text, p.Proof)
		testkit.Check(t, err)
		if again != p {
			t.Errorf("came back as %+v", again)
		}
	}
	other, _, err := tickets.Mint(t.Context(), made)
	testkit.Check(t, err)
	_, err = tickets.Open(t.Context(), other, "")
	testkit.Check(t, err)
	refused(t, tickets, other, p.Proof, "the proof of another ticket")
	for _, bad := range []string{"", "tls_", text + "x", text[:len(text)-1], strings.ToUpper(text), strings.Replace(text, "tls_", "tlk_", 1), strings.Repeat("a", 1<<16)} {
		refused(t, tickets, bad, "", "no ticket")
	}
}

func TestTickets_end(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.Config{})
		defer func() { testkit.Check(t, store.Close()) }()
		tickets := ticket.New(store)
		late, _, err := tickets.Mint(t.Context(), pass(t, time.Hour))
		testkit.Check(t, err)
		kept, _, err := tickets.Mint(t.Context(), pass(t, time.Hour))
		testkit.Check(t, err)
		short, ends, err := tickets.Mint(t.Context(), pass(t, time.Second))
		testkit.Check(t, err)
		if !ends.Equal(time.Now().Add(time.Second)) {
			t.Errorf("it outlives its token: %s", ends)
		}
		p, err := tickets.Open(t.Context(), kept, "")
		testkit.Check(t, err)
		pause(time.Second)
		refused(t, tickets, short, "", "after the token's end")
		pause(ticket.Life)
		refused(t, tickets, late, "", "after its life")
		_, err = tickets.Open(t.Context(), kept, p.Proof)
		testkit.Check(t, err)
		pause(time.Hour)
		refused(t, tickets, kept, p.Proof, "a return after the token's end")
	})
}

// pause lets the time of a bubble pass.
func pause(d time.Duration) { <-time.After(d) }

// Of many that show a ticket at the same time one is let in.
func TestTickets_oneUse(t *testing.T) {
	tickets, _ := open(t)
	text, _, err := tickets.Mint(t.Context(), pass(t, time.Hour))
	testkit.Check(t, err)
	var g sync.WaitGroup
	var in atomic.Int64
	for range 16 {
		g.Go(func() {
			if _, err := tickets.Open(t.Context(), text, ""); err == nil {
				in.Add(1)
			}
		})
	}
	g.Wait()
	if in.Load() != 1 {
		t.Errorf("%d were let in", in.Load())
	}
}

// Whoever reads the store finds neither the ticket nor the token, and garbage there lets nobody in.
func TestTickets_inTheStore(t *testing.T) {
	_, store := open(t)
	spy := &spy{Tokens: store}
	tickets := ticket.New(spy)
	text, _, err := tickets.Mint(t.Context(), pass(t, time.Hour))
	testkit.Check(t, err)
	if strings.Contains(spy.saved, "token itself") || strings.Contains(spy.id+spy.saved, text) {
		t.Errorf("the store has %q", spy.saved)
	}
	testkit.Check(t, store.DropToken(t.Context(), spy.id))
	testkit.Check(t, store.SaveToken(t.Context(), spy.id, []byte("garbage"), time.Minute))
	refused(t, tickets, text, "", "garbage")
}

// spy remembers what was saved last.
type spy struct {
	bus.Tokens
	id, saved string
}

func (s *spy) SaveToken(ctx context.Context, id string, value []byte, ttl time.Duration) error {
	s.id, s.saved = id, string(value)
	return s.Tokens.SaveToken(ctx, id, value, ttl)
}
