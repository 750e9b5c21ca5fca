package rpc

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/loopback"
	"github.com/trunkline/trunkline/internal/occupancy"
	clientpeer "github.com/trunkline/trunkline/internal/peer"
	"github.com/trunkline/trunkline/internal/revoked"
	"github.com/trunkline/trunkline/internal/ticket"
)

// Validator says who a token stands for. It returns an *bus.Error for a token that is refused,
// ErrAuthUnavailable when that cannot be said.
type Validator interface {
	Validate(ctx context.Context, token string) (*bus.Identity, error)
}

// AuthConfig says who may call.
type AuthConfig struct {
	// Keys are the API keys.
	Keys []APIKey
	// Tokens validates tokens; nil refuses all of them.
	Tokens Validator
	// Revocations ends the streams of clients whose tokens are revoked. Nil for a server that hears of no revocations: what its
	// Tokens says is then all that counts.
	Revocations *revoked.Follower
	// Certificates maps the common name of a verified client certificate to scopes.
	Certificates map[string][]string
	// Tickets opens tickets for streams; nil refuses all of them.
	Tickets *ticket.Tickets
	// DevLoopback makes a caller without credentials from a loopback address an admin. Development only.
	DevLoopback bool
}

type authenticator struct {
	keys        keyring
	tokens      Validator
	tickets     *ticket.Tickets
	standing    *standing
	certs       map[string][]string
	devLoopback bool
	peers       *clientpeer.Resolver // tells the addresses of proxies, which are nobody's
}

func newAuthenticator(cfg AuthConfig) (*authenticator, error) {
	ring, err := newKeyring(cfg.Keys)
	if err != nil {
		return nil, err
	}
	return &authenticator{
		keys: ring, tokens: cfg.Tokens, tickets: cfg.Tickets, standing: newStanding(cfg.Revocations), certs: cfg.Certificates, devLoopback: cfg.DevLoopback,
	}, nil
}

// authenticate applies the method's rule and returns the caller; nil where the method is open to everybody.
func (a *authenticator) authenticate(ctx context.Context, method string) (*Caller, error) {
	rule, ok := RuleFor(method)
	if !ok {
		return nil, bus.ErrPermissionDenied.With("this method may not be called", nil)
	}
	if rule.Open {
		return nil, nil //nolint:nilnil // see above
	}
	if rule.Anyone && len(metadata.ValueFromIncomingContext(ctx, "authorization")) == 0 {
		return a.stranger(ctx), nil
	}
	c, err := a.caller(ctx)
	if err != nil {
		return nil, err
	}
	if c.ticket != nil && !rule.Tickets {
		return nil, bus.ErrTicketInvalid.With("a ticket for a stream opens that stream alone", nil)
	}
	if c.Identity != nil && !rule.Tokens || c.Identity == nil && !c.Has(rule.Scope) {
		return nil, bus.ErrPermissionDenied.With(
			"this method needs an API key with the scope "+rule.Scope, map[string]string{"scope": rule.Scope})
	}
	return c, nil
}

func (a *authenticator) caller(ctx context.Context) (*Caller, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	switch len(values) {
	case 0:
		return a.anonymous(ctx)
	case 1:
	default:
		return nil, bus.ErrTokenInvalid.With("authorization was sent more than once", nil)
	}
	if text, ok := ticketOf(values[0]); ok {
		return a.ticketed(ctx, text)
	}
	secret := bus.BearerToken(values[0])
	if secret == "" {
		return nil, bus.ErrTokenMissing
	}
	if strings.HasPrefix(secret, keyPrefix) {
		c, err := a.keys.find(secret)
		if group := peerIn(ctx); err == nil && c.Name == internalID && group != "" {
			return &Caller{Name: c.Name, scopes: c.scopes, peer: group}, nil
		}
		return c, err
	}
	return a.client(ctx, secret)
}

// client is the caller that a token stands for.
func (a *authenticator) client(ctx context.Context, token string) (*Caller, error) {
	if a.tokens == nil {
		return nil, bus.ErrTokenInvalid
	}
	id, err := a.tokens.Validate(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := a.standing.refused(id); err != nil {
		return nil, err // the validator may remember better times
	}
	return &Caller{Name: id.Client, Identity: id}, nil
}

// anonymous is a caller without credentials: a client certificate may speak for it.
func (a *authenticator) anonymous(ctx context.Context) (*Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, bus.ErrTokenMissing
	}
	why := bus.ErrTokenMissing
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
		names := commonNames(info.State.VerifiedChains[0][0])
		if scopes, ok := a.certs[strings.Join(names, "\n")]; ok && len(names) == 1 {
			return &Caller{Name: names[0], scopes: slices.Clone(scopes)}, nil
		}
		why = unknownCertificate(names)
	}
	if a.devLoopback && loopback.Peer(p.Addr.String()) {
		return &Caller{Name: "dev", scopes: []string{ScopeAll}}, nil
	}
	return nil, why
}

// commonNames returns every common name of a certificate. Its Subject has the last one alone, which whoever asks for a certificate
// may have added.
func commonNames(c *x509.Certificate) []string {
	var names []string
	for _, part := range c.Subject.Names {
		if part.Type.Equal(commonName) {
			names = append(names, fmt.Sprint(part.Value))
		}
	}
	return names
}

// commonName is the attribute id-at-commonName of RFC 5280, appendix A.
var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// unknownCertificate says what is wrong with a certificate that was verified.
func unknownCertificate(names []string) *bus.Error {
	switch len(names) {
	case 0:
		return bus.ErrPermissionDenied.With("the client certificate has no common name; issue one that has a name of grpc.client_scopes", nil)
	case 1:
		text := fmt.Sprintf("the client certificate of %.64q has no scopes; add the name to grpc.client_scopes", names[0])
		return bus.ErrPermissionDenied.With(text, map[string]string{"setting": "grpc.client_scopes"})
	}
	return bus.ErrPermissionDenied.With(fmt.Sprintf("the client certificate has %d common names; issue one with one", len(names)), nil)
}

// gatewayHeader carries the internal key of a gateway beside the credentials of its caller. A gateway counts the addresses of its
// own callers. They all come from the one address of the gateway.
const gatewayHeader = "x-trunkline-gateway"

// holder is who has a stream open: a token and its user, or an API key. Of a caller without a key the address counts too.
func (a *authenticator) holder(ctx context.Context, caller *Caller) occupancy.Opener {
	var h occupancy.Opener
	switch {
	case caller == nil || caller.unknown:
	case caller.Identity != nil:
		h = occupancy.Of(caller.Identity)
	case caller.Name == internalID:
		return h // the roles themselves
	default:
		return occupancy.Opener{Key: caller.Name} // back ends may share an address
	}
	if !a.byGateway(ctx) {
		h.IP = a.network(ctx)
	}
	return h
}

// byGateway says whether a call was handed on by one of our gateways.
func (a *authenticator) byGateway(ctx context.Context) bool {
	shown := metadata.ValueFromIncomingContext(ctx, gatewayHeader)
	if len(shown) != 1 {
		return false
	}
	caller, err := a.keys.find(shown[0])
	return err == nil && caller.Name == internalID
}

// network is what counts as one address of callers: an IPv4 address, or the first half of an IPv6 address. It is empty for callers of this process and for those behind a proxy.
func (a *authenticator) network(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if a.peers.Trusts(ip) {
		return ""
	}
	return a.peers.Group(ip)
}

// stranger is a caller without credentials whom a service may let in. What it makes the store keep is paid for by the network address
// that it comes from.
func (a *authenticator) stranger(ctx context.Context) *Caller {
	return &Caller{Name: nobody.Name, Identity: &bus.Identity{Peer: a.peerOf(ctx)}, unknown: true}
}

// peerOf returns the network address of a caller: that of the connection, or what a trusted proxy says. One of our own processes has
// found it out at its own door, and is believed. It is empty where nobody knows.
func (a *authenticator) peerOf(ctx context.Context) string {
	if a.byGateway(ctx) {
		return peerIn(ctx)
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	// The headers of proxies are read as those of a request: a proxy of gRPC writes the same.
	req := &http.Request{RemoteAddr: tcp.String(), Header: http.Header{}}
	for _, name := range []string{clientpeer.XForwardedFor, clientpeer.Forwarded} {
		for _, value := range metadata.ValueFromIncomingContext(ctx, name) {
			req.Header.Add(name, value)
		}
	}
	return a.peers.GroupOf(req)
}

// longestPeer is more than the longest network address has.
const longestPeer = 64

// peerIn returns the network address that a call names. The caller makes sure that one of our own processes has made the call.
func peerIn(ctx context.Context) string {
	shown := metadata.ValueFromIncomingContext(ctx, peerHeader)
	if len(shown) != 1 || len(shown[0]) > longestPeer {
		return ""
	}
	return shown[0]
}
