package rpc

import (
	"context"
	"slices"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/ticket"
)

// The scopes of API keys.
const (
	ScopePublish        = "publish"
	ScopeSubscribe      = "subscribe"
	ScopeHistory        = "history"
	ScopePresence       = "presence"
	ScopeChannels       = "channels"
	ScopeInbox          = "inbox"
	ScopeEvents         = "events"
	ScopeTokensIssue    = "tokens.issue"
	ScopeTokensValidate = "tokens.validate"
	ScopeTokensRevoke   = "tokens.revoke"
	ScopeAdmin          = "admin"
	// ScopeAll is every scope.
	ScopeAll = "*"
)

// Scopes lists every scope that a key may have.
func Scopes() []string {
	return []string{
		ScopePublish, ScopeSubscribe, ScopeHistory, ScopePresence, ScopeChannels, ScopeInbox, ScopeEvents,
		ScopeTokensIssue, ScopeTokensValidate, ScopeTokensRevoke, ScopeAdmin, ScopeAll,
	}
}

// Caller is who makes a call: a back end with an API key or certificate, or a client with a token.
// It is immutable.
type Caller struct {
	// Name is the key's id or the token's client, for logs.
	Name string
	// Identity is who a token stands for; nil for a back end.
	Identity *bus.Identity

	scopes  []string
	ticket  *ticket.Pass // of a caller with a ticket for a stream
	peer    string       // the network address of the stranger that one of our own processes calls for
	unknown bool         // without credentials: the identity is nobody's
}

// Backend returns the caller that an API key of the name and scopes stands for.
func Backend(name string, scopes ...string) *Caller {
	return &Caller{Name: name, scopes: scopes}
}

// Has says whether a back end has the scope. A client has none.
func (c *Caller) Has(scope string) bool {
	return c.Identity == nil && (slices.Contains(c.scopes, scope) || slices.Contains(c.scopes, ScopeAll))
}

// Author returns who it is that publishes: the client, by whichever door it came, or the API key. The argument from is the client
// that an edge publishes for. Of other back ends it is who they say that the message is from.
func (c *Caller) Author(from bus.Sender) bus.Author {
	switch {
	case c.Identity != nil:
		return c.Identity.Author(from)
	case c.peer != "":
		return bus.Author{Sender: from, Peer: c.peer}
	case c.Name == internalID && from.Client != "":
		return bus.Author{Sender: from}
	}
	return bus.Author{Key: c.Name, Sender: from}
}

// Who returns the identity whose token it is; nil for a back end.
func (c *Caller) Who() *bus.Identity { return c.Identity }

// Trusted says whether the caller is a back end: it may speak for others.
func (c *Caller) Trusted() bool { return c.Identity == nil }

var actionScopes = map[bus.Action]string{
	bus.Subscribe: ScopeSubscribe, bus.Publish: ScopePublish, bus.History: ScopeHistory, bus.Presence: ScopePresence,
}

// Check returns nil when the caller may do the action on the address: a back end by its scopes, a
// client by its token's grants.
func (c *Caller) Check(action bus.Action, a bus.Address) error {
	if c.ticket != nil && c.ticket.Address != a {
		return bus.Denied(action, a)
	}
	if c.Identity != nil {
		return c.Identity.Check(action, a)
	}
	if c.Has(actionScopes[action]) {
		return nil
	}
	return bus.Denied(action, a)
}

// CheckInbox returns nil when the caller may read and acknowledge the inbox of the address. A back end may by its scope, a client
// when the address is its own.
func (c *Caller) CheckInbox(a bus.Address) error {
	if c.Identity == nil && c.Has(ScopeInbox) || c.Identity != nil && c.Identity.Owns(a) {
		return nil
	}
	return bus.ErrPermissionDenied.With("these credentials do not allow the inbox of "+a.String(), map[string]string{"address": a.String()})
}

// CheckOpen returns nil for everybody where the older protocols are open, and otherwise for a back end
// with the scope.
func (c *Caller) CheckOpen(open bool, scope string) error {
	if open || c.Has(scope) {
		return nil
	}
	return bus.ErrTokenMissing.With("this needs an API key with the scope "+scope+" in the header Authorization: Bearer; "+
		"serve --legacy-open lets everybody do it, as the older system did", map[string]string{"scope": scope, "setting": "legacy.open"})
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// nobody may do nothing.
var nobody = &Caller{Name: "nobody", Identity: &bus.Identity{}}

// CallerFrom returns who makes the call; somebody who may do nothing when the context carries nobody.
func CallerFrom(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok {
		return c
	}
	return nobody
}
