package access_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/access"
)

// Whom a ticket stands for keeps nothing of the frame that the ticket was cut out of.
func TestSealer_keepsCopies(t *testing.T) {
	s, err := access.NewSealer(access.Tickets{Keys: [][]byte{[]byte(strings.Repeat("a", access.TicketKeySize))}, Life: time.Minute})
	testkit.Check(t, err)
	now := time.Now()
	opened := make([]*bus.Identity, 1000)
	testkit.KeepsCopies(t, opened, func(i int, in *testkit.Input) {
		id := &bus.Identity{Client: fmt.Sprint(i), Groups: []string{"staff"}, TokenID: "t", Issued: now, Expires: now.Add(time.Hour)}
		ticket, _ := s.Seal(id, now)
		opened[i], _, err = s.Open(in.Cut(ticket), now)
		testkit.Check(t, err)
	})
}
