package access_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/access"
)

// FuzzTicket says that a resume ticket gives back whom it was made for, and that nothing else is a ticket.
func FuzzTicket(f *testing.F) {
	s, err := access.NewSealer(access.Tickets{Keys: [][]byte{[]byte(strings.Repeat("a", 32)), []byte(strings.Repeat("b", 32))}, Life: time.Minute})
	testkit.Check(f, err)
	now := time.UnixMilli(1_700_000_000_000)
	f.Fuzz(func(t *testing.T, text, client, group string, at uint, to byte) {
		if _, _, err := s.Open(text, now); !errors.Is(err, bus.ErrTicketInvalid) {
			t.Fatalf("%q is opened: %v", text, err)
		}
		id := &bus.Identity{Client: client, Groups: []string{group}, TokenID: "t", Issued: now, Expires: now.Add(time.Hour)}
		ticket, ends := s.Seal(id, now)
		if ticket == "" {
			return // names that no token has
		}
		if ends.Sub(now) != time.Minute {
			t.Errorf("it ends at %v", ends)
		}
		got, sealed, err := s.Open(ticket, now)
		if err != nil || !sealed.Equal(now) || got.Client != client || !reflect.DeepEqual(got.Groups, id.Groups) {
			t.Fatalf("%+v is opened as %+v, %v", id, got, err)
		}
		if _, _, err := s.Open(ticket, ends); !errors.Is(err, bus.ErrTicketInvalid) {
			t.Errorf("it is opened at its end: %v", err)
		}
		changed := []byte(ticket)
		if changed[at%uint(len(changed))] = to; string(changed) == ticket {
			return
		}
		if _, _, err := s.Open(string(changed), now); !errors.Is(err, bus.ErrTicketInvalid) {
			t.Errorf("a changed ticket is opened: %v", err)
		}
	})
}
