package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// The verdicts.
const (
	delivered    = "delivered"
	waiting      = "waiting"
	notDelivered = "not_delivered"
	unknown      = "unknown"
)

// explanation collects decisions.
type explanation struct {
	resp *adminv1.ExplainDeliveryResponse
}

func (e explanation) add(step string, effect adminv1.Effect, format string, args ...any) {
	e.resp.Decisions = append(e.resp.Decisions, &adminv1.DeliveryDecision{Step: step, Effect: effect, Detail: fmt.Sprintf(format, args...)})
}

func (e explanation) pass(step, format string, args ...any) {
	e.add(step, adminv1.Effect_EFFECT_PASS, format, args...)
}

func (e explanation) stop(step, format string, args ...any) {
	e.add(step, adminv1.Effect_EFFECT_STOP, format, args...)
	e.resp.Verdict = notDelivered
}

// ExplainDelivery says why somebody did or did not get a message.
func (s *Server) ExplainDelivery(ctx context.Context, req *adminv1.ExplainDeliveryRequest) (*adminv1.ExplainDeliveryResponse, error) {
	var bad bus.Invalid
	a := bad.Address("address", req.GetAddress())
	if req.GetId() == "" {
		bad.Add("id", "is empty")
	}
	client, err := bus.ParseName("client", req.GetClient())
	bad.Check("client", err)
	who := bus.Identity{Client: client, User: bad.Name("user", req.GetUser())}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	e := explanation{&adminv1.ExplainDeliveryResponse{Verdict: unknown}}
	if a.HasInbox() {
		d, err := s.store.Delivery(ctx, a, req.GetId(), false)
		if err == nil {
			s.explainInbox(e, &d, &who, a)
			return e.resp, nil
		}
		if !errors.Is(err, bus.ErrMessageNotFound) {
			return nil, err
		}
		e.add("inbox", adminv1.Effect_EFFECT_UNKNOWN, "no receipt: the message asked for no ack, was sent to another address, or ended more than %s ago", bus.ReceiptAge)
	}
	return e.resp, s.explainChannel(ctx, e, req.GetId(), client, a)
}

// explainInbox goes through what is known of a message that asked for an ack.
func (s *Server) explainInbox(e explanation, d *bus.Delivery, id *bus.Identity, a bus.Address) {
	switch {
	case id.Owns(a):
		e.pass("own_address", "%s receives from %s without asking", id.Client, a)
	case a.Kind() == bus.KindSessions:
		e.add("own_address", adminv1.Effect_EFFECT_UNKNOWN, "whose session this is stands in the token alone")
	default:
		e.stop("own_address", "%s is not the address of client %q or user %q", a, id.Client, id.User)
		return
	}
	now := s.store.Now()
	state := d.State(now)
	e.pass("inbox", "it entered the inbox at %s", d.Published.UTC().Format(time.RFC3339Nano))
	var mine *bus.Device
	for i := range d.Devices {
		if d.Devices[i].Client == id.Client {
			mine = &d.Devices[i]
		}
	}
	switch {
	case mine == nil && state == bus.StateExpired:
		e.stop("expired", "it left the inbox (%s) before this device was given it", orTTL(d.Reason))
	case mine == nil && state == bus.StateAcked && d.Scope == bus.AnyDevice:
		e.stop("acked", "another device acknowledged it at %s, which is enough for all of them", d.Ended.UTC().Format(time.RFC3339Nano))
	case mine == nil && d.Scope == bus.EachDevice && d.SentCount >= bus.MaxDevices:
		e.stop("devices", "%d devices were given it, and no more are", d.SentCount)
	case mine == nil && max(d.SentCount, d.DeniedCount) >= bus.MaxDevices:
		e.add("sent", adminv1.Effect_EFFECT_UNKNOWN, "%d devices were given it and %d denied it; the first %d are told apart", d.SentCount, d.DeniedCount, bus.MaxDevices)
	case mine == nil:
		e.add("sent", adminv1.Effect_EFFECT_UNKNOWN, "this device has not been given it; it is delivered at its next connect, until %s", d.Expires.UTC().Format(time.RFC3339))
		e.resp.Verdict = waiting
	case !mine.Denied.IsZero():
		if !mine.Sent.IsZero() {
			e.pass("sent", "it was written to a connection of this device at %s", mine.Sent.UTC().Format(time.RFC3339Nano))
		}
		e.stop("denied", "this device was denied it at %s, for good: %s", mine.Denied.UTC().Format(time.RFC3339Nano), mine.Why)
	default:
		e.pass("sent", "it was written to a connection of this device at %s", mine.Sent.UTC().Format(time.RFC3339Nano))
		e.resp.Verdict = delivered
		s.explainAck(e, d, mine, now)
	}
}

func orTTL(why bus.EndReason) bus.EndReason {
	if why == "" {
		return bus.EndTTL
	}
	return why
}

func (s *Server) explainAck(e explanation, d *bus.Delivery, mine *bus.Device, now time.Time) {
	switch {
	case !mine.Acked.IsZero():
		e.pass("acked", "this device acknowledged it at %s", mine.Acked.UTC().Format(time.RFC3339Nano))
	case d.State(now) == bus.StateAcked && d.Scope == bus.AnyDevice:
		e.pass("acked", "another device acknowledged it; this one was told to dismiss it")
	case d.State(now) == bus.StateExpired:
		e.stop("expired", "nobody acknowledged it, and it left the inbox (%s)", orTTL(d.Reason))
	case !now.Before(d.Deadline):
		e.pass("stored", "no ack came within the deadline; it is delivered again at the next connect, until %s", d.Expires.UTC().Format(time.RFC3339))
		e.resp.Verdict = waiting
	default:
		e.pass("stored", "an ack is waited for until %s", d.Deadline.UTC().Format(time.RFC3339))
	}
}

// explainLimit is how many messages of a log are searched.
const explainLimit = 1000

// explainChannel looks for the message in the log, and for the client among the subscribers.
func (s *Server) explainChannel(ctx context.Context, e explanation, message, client string, a bus.Address) error {
	m, err := s.find(ctx, a, message)
	if err != nil {
		return err
	}
	if m == nil {
		e.add("kept", adminv1.Effect_EFFECT_UNKNOWN, "it is not among the newest %d messages that the address keeps", explainLimit)
	} else {
		e.pass("kept", "it is at offset %d", m.Position.Offset)
		if m.Expired(s.store.Now()) {
			e.stop("expired", "it ended at %s", m.Expires.UTC().Format(time.RFC3339Nano))
		}
		switch {
		case m.ExcludeClient == client && m.ExcludeClient != "":
			e.stop("excluded", "it was sent with exclude_sender by this client")
		case !m.For(client, ""):
			e.stop("recipient", "it is narrowed to %d recipients, and this client is none of them", len(m.Recipients))
		default:
			e.pass("recipient", "this client may have it")
		}
	}
	present := false
	for after, more := "", true; more && !present; {
		page, err := s.store.Members(ctx, a, after, explainLimit)
		if err != nil {
			return err
		}
		for _, member := range page.Members {
			after = member.Connection
			if member.Client == client {
				e.pass("subscribed", "it is subscribed since %s, over connection %s", member.Joined.UTC().Format(time.RFC3339Nano), member.Connection)
				present = true
			}
		}
		more = page.More
	}
	if !present {
		e.add("subscribed", adminv1.Effect_EFFECT_UNKNOWN, "it is not among the listed subscribers now; with history it gets the message when it resumes")
	}
	if e.resp.GetVerdict() != notDelivered && present && m != nil {
		e.resp.Verdict = delivered
	}
	return nil
}

// find returns a message of a log; nil when it is not among the newest.
func (s *Server) find(ctx context.Context, a bus.Address, id string) (*bus.Message, error) {
	keep := s.namespaces.For(a).Retention
	if !keep.Durable() {
		return nil, nil
	}
	page, err := s.store.Latest(ctx, a, keep, 0, explainLimit)
	if err != nil {
		return nil, err
	}
	for _, m := range page.Messages {
		if m.ID == id {
			return m, nil
		}
	}
	return nil, nil
}
