package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/recent"
)

// tokenMemory is how long a validated token is believed without asking again. Revocations are heard meanwhile.
const tokenMemory = 3 * time.Second

// tokenLimit is how many tokens are remembered, and tokenBytes how much memory they take at most.
const (
	tokenLimit = 20_000
	tokenBytes = 32 << 20
)

// Tokens validates tokens with the auth service and remembers the answer for 3 s. Concurrent
// validations of one token share a call. It may be used concurrently.
type Tokens struct {
	auth   authv1.AuthServiceClient
	recent *recent.Cache[[sha256.Size]byte, remembered]
	calls  singleflight.Group
	now    func() time.Time

	mu     sync.Mutex
	forgot uint64 // how often everything was forgotten
}

type remembered struct {
	identity *bus.Identity
	until    time.Time
}

var _ Validator = (*Tokens)(nil)

// NewTokens returns a validator over the auth service.
func NewTokens(auth authv1.AuthServiceClient) *Tokens {
	return &Tokens{auth: auth, recent: recent.New[[sha256.Size]byte, remembered](tokenLimit, tokenBytes), now: time.Now}
}

// Validate returns who the token stands for.
func (t *Tokens) Validate(ctx context.Context, token string) (*bus.Identity, error) {
	if err := bus.CheckToken(token); err != nil {
		return nil, err
	}
	key := sha256.Sum256([]byte(token))
	if r, ok := t.recent.Get(key); ok && t.now().Before(r.until) {
		return r.identity, nil
	}
	for again := true; ; again = false {
		forgot := t.forgotten() // a call from before that may not know of a revocation, and is not shared
		call := string(binary.BigEndian.AppendUint64(key[:], forgot))
		v, err, shared := t.calls.Do(call, func() (any, error) { return t.ask(ctx, key, token, forgot) })
		if err == nil {
			return v.(*bus.Identity), nil //nolint:forcetypeassert // what ask returns
		}
		// Whoever made the shared call may have given up; that says nothing about the token, so this one asks once more.
		if !again || !shared || ctx.Err() != nil || !gaveUp(err) {
			return nil, err
		}
	}
}

// Forget forgets what was validated, and what is being validated: revocations of it may have been missed.
func (t *Tokens) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgot++
	t.recent.Purge()
}

// identitySize is about how many bytes an identity takes besides what its token says.
const identitySize = 512

// remember keeps an answer, unless everything was forgotten since it was asked for.
func (t *Tokens) remember(key [sha256.Size]byte, r remembered, size int, forgot uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.forgot == forgot {
		t.recent.Add(key, r, size)
	}
}

func (t *Tokens) forgotten() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forgot
}

// gaveUp says whether a call ended because its caller did, or because the caller's deadline came.
func gaveUp(err error) bool {
	switch status.Code(errors.Unwrap(err)) {
	case codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return false
}

func (t *Tokens) ask(ctx context.Context, key [sha256.Size]byte, token string, forgot uint64) (*bus.Identity, error) {
	resp, err := t.auth.ValidateToken(ctx, &authv1.ValidateTokenRequest{Token: token})
	if err != nil {
		return nil, Unreachable(err, bus.ErrAuthUnavailable)
	}
	id := convert.Identity(resp.GetIdentity())
	until := t.now().Add(tokenMemory)
	if id.Expires.Before(until) {
		until = id.Expires
	}
	t.remember(key, remembered{identity: id, until: until}, identitySize+len(token), forgot)
	return id, nil
}

// Unreachable returns the refusal of a call to another role. It is instead when that role could not be reached or did not answer,
// and its own refusal otherwise.
func Unreachable(err error, instead *bus.Error) error {
	e := FromError(err)
	switch Code(e.Reason) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		if e.Reason == bus.ErrStoreUnavailable.Reason {
			return e
		}
		return instead.Wrap(err)
	}
	return e
}

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
