package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
)

// ticketMargin is how long before its end a ticket is not used any more: it has to get there.
const ticketMargin = time.Second

// credentials returns what the next connect carries: the last ticket while it lives, and otherwise a token.
func (c *Client) credentials(ctx context.Context) (*edgev1.Connect, error) {
	c.mu.Lock()
	ticket := c.ticket
	if !time.Now().Add(ticketMargin).Before(c.ticketEnds) {
		ticket = ""
	}
	c.mu.Unlock()
	if ticket != "" {
		return &edgev1.Connect{Ticket: ticket}, nil
	}
	token, err := c.cfg.Token(ctx)
	if err != nil {
		return nil, &tokenError{err: err}
	}
	return &edgev1.Connect{Token: token}, nil
}

// keepTicket keeps the newest ticket; an empty one drops it.
func (c *Client) keepTicket(ticket string, ends *timestamppb.Timestamp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticket, c.ticketEnds = ticket, ends.AsTime()
}

// withoutTicket drops the ticket when the refusal may be the ticket's own; the next connect carries a token.
func (c *Client) withoutTicket(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Reason {
	case "SERVER_OVERLOADED", "SERVER_DRAINING":
		return err // for the ticket as for any other
	}
	c.keepTicket("", nil)
	return &ticketError{err: err}
}
