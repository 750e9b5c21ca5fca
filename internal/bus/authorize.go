package bus

import "context"

// Connect is the action of opening a session. It is no grant: a valid token is enough, unless an Authorizer says no.
const Connect Action = 1 << 7

// Question asks whether an identity may do something that its token allows.
type Question struct {
	Identity *Identity
	Action   Action  // Connect, Subscribe or Publish
	Address  Address // zero for Connect
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
