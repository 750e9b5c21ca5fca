package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// ticketScheme is how a gateway hands on the ticket in the URL of a stream.
	ticketScheme = "ticket"
	// ProofHeader carries what a stream with a ticket shows to come back: first to its reader, and then from it.
	ProofHeader = "x-stream-proof"
	// LiveHeader says that the token of such a stream grants no history: it comes back without a position.
	LiveHeader = "x-stream-live"
)

// ticketOf returns the ticket of an authorization header; false when it has none.
func ticketOf(header string) (string, bool) {
	scheme, text, _ := strings.Cut(header, " ")
	return strings.TrimSpace(text), strings.EqualFold(scheme, ticketScheme)
}

// ticketed is the caller that a ticket stands for. Its token is validated as at every call.
func (a *authenticator) ticketed(ctx context.Context, text string) (*Caller, error) {
	if a.tickets == nil {
		return nil, bus.ErrTicketInvalid
	}
	proof := metadata.ValueFromIncomingContext(ctx, ProofHeader)
	if len(proof) > 1 {
		return nil, bus.ErrTicketInvalid
	}
	pass, err := a.tickets.Open(ctx, text, strings.Join(proof, ""))
	if err != nil {
		return nil, err
	}
	caller, err := a.client(ctx, pass.Token)
	if err != nil {
		return nil, err
	}
	caller.ticket = &pass
	return caller, nil
}

// headers is what the reader of a stream is told before the first message, besides how long its token lives.
func (c *Caller) headers() metadata.MD {
	if c.ticket == nil {
		return nil
	}
	md := metadata.Pairs(ProofHeader, c.ticket.Proof)
	if c.Check(bus.History, c.ticket.Address) != nil {
		md.Set(LiveHeader, "1")
	}
	return md
}

// TokenFrom returns the token that a call was made with; empty for every other credential.
func TokenFrom(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return ""
	}
	token := bus.BearerToken(values[0])
	if strings.HasPrefix(token, keyPrefix) {
		return ""
	}
	return token
}
