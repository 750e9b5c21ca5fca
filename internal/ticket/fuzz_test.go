package ticket_test

import (
	"errors"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

// FuzzOpen shows any text as a ticket of a stream, and puts any value where the store keeps a real one. Neither opens anything, and a
// real one opens once.
func FuzzOpen(f *testing.F) {
	tickets, store := open(f)
	f.Fuzz(func(t *testing.T, text, proof string, kept []byte) {
		refused(t, tickets, text, proof, "any text")
		minted, _, err := tickets.Mint(t.Context(), pass(t, time.Minute))
		testkit.Check(t, err)
		refused(t, tickets, minted, proof+"x", "a proof before the first use")
		refused(t, tickets, minted+text+"x", "", "more than a ticket")
		got, err := tickets.Open(t.Context(), minted, "")
		if err != nil || got.Token != "the token itself" {
			t.Fatalf("the ticket is %+v, %v", got, err)
		}
		refused(t, tickets, minted, "", "the second use")
		if again, err := tickets.Open(t.Context(), minted, got.Proof); err != nil || again.Address != got.Address {
			t.Fatalf("its own proof opens %+v, %v", again, err)
		}
		if proof != got.Proof && proof != "" {
			refused(t, tickets, minted, proof, "another proof")
		}
		// The store has something else now.
		for _, state := range []string{"stream ticket\n", "used stream ticket\n"} {
			id := bus.TokenDigest(state + minted)
			testkit.Check(t, store.DropToken(t.Context(), id))
			testkit.Check(t, store.SaveToken(t.Context(), id, kept, time.Millisecond))
		}
		for _, shown := range []string{"", got.Proof} {
			if got, err := tickets.Open(t.Context(), minted, shown); !errors.Is(err, bus.ErrTicketInvalid) {
				t.Fatalf("%q opens %+v, %v", kept, got, err)
			}
		}
	})
}
