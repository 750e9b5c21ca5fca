package bus

import "context"

// Connect is the action of opening a session. It is no grant: a valid token is enough, unless an Authorizer says no.
const Connect Action = 1 << 7

// Deliver is the action of handing a message that asks for an ack to a device. It is no grant: who may subscribe to the
// address may have it, unless an Authorizer says no.
const Deliver Action = 1 << 6

// Question asks whether an identity may do something that its token allows.
type Question struct {
	Identity *Identity
	Action   Action   // Connect, Subscribe, Publish or Deliver
	Address  Address  // zero for Connect
	Message  *Message // of Deliver
}

// Authorizer decides what the grants of a token leave open. It may be called concurrently.
type Authorizer interface {
	// Authorize returns nil, the refusal of the action, or ErrAuthorizerAway.
	Authorize(ctx context.Context, q Question) error
}

// Authorize asks an authorizer; without one everything is allowed.
func Authorize(ctx context.Context, a Authorizer, q Question) error {
	if a == nil {
		return nil
	}
	return a.Authorize(ctx, q)
}

// DeliveryAuthorizer is what an Authorizer may be besides: one that is asked about Deliver too. It is discovered by type
// assertion.
type DeliveryAuthorizer interface {
	Authorizer
	// AsksDeliver says whether Deliver is asked about; the answer never changes.
	AsksDeliver() bool
}

// AsksDeliver says whether an authorizer is asked about Deliver.
func AsksDeliver(a Authorizer) bool {
	d, ok := a.(DeliveryAuthorizer)
	return ok && d.AsksDeliver()
}

// Admit asks whether a device may have a message that asks for an ack: by the grants of its token and then, when it
// is asked about that, by the authorizer. It returns nil, the refusal, or an error with RetryAfter when nobody can say.
func Admit(ctx context.Context, a Authorizer, who *Identity, m *Message) error {
	if err := who.Check(Subscribe, m.To); err != nil {
		return err
	}
	if !AsksDeliver(a) {
		return nil
	}
	return a.Authorize(ctx, Question{Identity: who, Action: Deliver, Address: m.To, Message: m})
}
