package edge

import (
	"context"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
)

// Seal returns a ticket, as an answer to a connect does.
func (e *Edge) Seal(id *bus.Identity) string {
	text, _ := e.guard.Tickets.Seal(id, time.Now())
	return text
}

// Redeem opens a ticket, as a connect does.
func (e *Edge) Redeem(ctx context.Context, ticket string) (*bus.Identity, error) {
	return e.guard.Redeem(ctx, ticket)
}

// Sure says whether tickets are given.
func (e *Edge) Sure() bool { return e.guard.Revocations.Sure() }

// Connecting returns how many connects are in progress.
func (e *Edge) Connecting() int {
	return e.guard.InProgress()
}

// Become gives the sessions of a client another identity, as a refresh does before it leaves what that does not grant.
func (e *Edge) Become(client string, who *bus.Identity) {
	e.each(func(s *session) {
		if id := s.Identity(); id != nil && id.Client == client {
			s.SetIdentity(who)
		}
	})
}

// Doubt says that announcements of revocations may have been missed.
func (e *Edge) Doubt() { e.guard.Revocations.Doubt() }

// Waiting returns how many acks, notes of what was written and changes of rosters wait for the store.
func (e *Edge) Waiting() (acks, sent, rosters int) {
	acks, sent = e.behind.Acks.Waiting()
	return acks, sent, e.behind.Roster.Waiting()
}

// Backlogs is how many connections have a backlog, Refused how many were told to end.
func (e *Edge) Backlogs() (n int) {
	e.each(func(s *session) {
		if !s.Conn.Idle() {
			n++
		}
	})
	return n
}

// Refused is how many open connections were told to end.
func (e *Edge) Refused() (n int) {
	e.each(func(s *session) {
		if s.refused.Load() != nil {
			n++
		}
	})
	return n
}

// Validate asks who a token stands for, as a connect does.
func (e *Edge) Validate(ctx context.Context, token string) (*bus.Identity, error) {
	return e.guard.Tokens.Validate(ctx, token)
}
