package facility

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Store is what the service needs of a store.
type Store interface {
	bus.Tokens
	bus.Revocations
	bus.Clock
}

const (
	// sessionTTL is how long a session lives that does not say, and maxSessionTTL the longest.
	sessionTTL    = 14 * 24 * time.Hour
	maxSessionTTL = 365 * 24 * time.Hour
	// endedTTL is how long the end of a session is remembered, for connections that open meanwhile.
	endedTTL = 24 * time.Hour
	maxName  = 255
	maxList  = 100
	// tries is how often a session is registered against others that register it too.
	tries = 8
)

// Service is the FacilityService. It may be used concurrently.
type Service struct {
	legacyv1.UnimplementedFacilityServiceServer
	store    Store
	charging bus.Charging
}

// NewService returns the service. The sessions that it keeps are taken from the accounts of its callers; nil charges nobody.
func NewService(store Store, charging bus.Charging) *Service {
	return &Service{store: store, charging: charging}
}

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { legacyv1.RegisterFacilityServiceServer(r, s) }

// RegisterSession keeps who a session is, by the digest of its key.
func (s *Service) RegisterSession(ctx context.Context, req *legacyv1.RegisterSessionRequest) (*legacyv1.RegisterSessionResponse, error) {
	since, err := s.since(ctx, req.GetKey())
	if err != nil {
		return nil, err
	}
	t, err := session(req, since)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode a session: %w", err)
	}
	if err := s.charging.Take(rpc.CallerFrom(ctx).Author(bus.Sender{}), bus.Charge{Tokens: 1}); err != nil {
		return nil, err
	}
	id := digest(req.GetKey())
	for try := 0; ; try++ {
		if err := s.store.DropToken(ctx, id); err != nil {
			return nil, err
		}
		err := s.store.SaveToken(ctx, id, value, t.Expires.Sub(since))
		if errors.Is(err, bus.ErrTokenExists) && try < tries {
			continue // somebody registers it at the same time
		}
		if err != nil {
			return nil, err
		}
		return &legacyv1.RegisterSessionResponse{ExpireTime: convert.Time(t.Expires)}, nil
	}
}

// since is from when a session is registered, by the clock that revocations go by: not before the end of the one before.
func (s *Service) since(ctx context.Context, key string) (time.Time, error) {
	now := s.store.Now()
	ended, err := s.store.RevokedBefore(ctx, []bus.Subject{sessionOf(key)})
	if err != nil {
		return now, err
	}
	if ended[0].Equal(bus.RevocationUnreadable) {
		return now, bus.ErrStoredForeign
	}
	if ended[0].After(now) {
		now = ended[0]
	}
	return now, nil
}

func sessionOf(key string) bus.Subject {
	return bus.Subject{Kind: bus.SubjectSession, ID: dialect.Identity(key)}
}

// session checks a request; all bad fields are reported together.
func session(req *legacyv1.RegisterSessionRequest, since time.Time) (bus.OpaqueToken, error) {
	var bad bus.Invalid
	checkKey(&bad, req.GetKey())
	checkText(&bad, "user", req.GetUser())
	var groups []string
	if n := len(req.GetGroups()); n > maxList {
		bad.Add("groups", "has %d entries, the limit is %d", n, maxList)
	} else {
		for i, g := range req.GetGroups() {
			field := fmt.Sprintf("groups[%d]", i)
			if g == "" {
				bad.Add(field, "is empty")
			}
			checkText(&bad, field, g)
			groups = append(groups, dialect.Identity(g))
		}
	}
	ttl := sessionTTL
	if req.GetTtl() != nil {
		ttl = req.GetTtl().AsDuration()
		if req.GetTtl().CheckValid() != nil || ttl < time.Second || ttl > maxSessionTTL {
			bad.Add("ttl", "is not from 1s to 8760h")
		}
	}
	grants := checkGrants(&bad, req.GetGrants())
	if err := bad.Err(); err != nil {
		return bus.OpaqueToken{}, err
	}
	user := ""
	if req.GetUser() != "" {
		user = dialect.Identity(req.GetUser())
	}
	return bus.SessionIdentity(req.GetKey(), dialect.Identity(req.GetKey()), user, groups, grants, since, ttl), nil
}

// checkKey does not repeat the key: it is a credential.
func checkKey(bad *bus.Invalid, key string) {
	if n := len(key); n == 0 || n > bus.MaxSessionKey {
		bad.Add("key", "has %d bytes, allowed are 1 to %d", n, bus.MaxSessionKey)
	}
}

func checkText(bad *bus.Invalid, field, text string) {
	if n := len(text); n > maxName {
		bad.Add(field, "has %d bytes, the limit is %d", n, maxName)
	} else if !utf8.ValidString(text) {
		bad.Add(field, "is not UTF-8")
	}
}

func checkGrants(bad *bus.Invalid, list []*authv1.Grant) []bus.OpaqueGrant {
	if n := len(list); n > maxList {
		bad.Add("grants", "has %d entries, the limit is %d", n, maxList)
		return nil
	}
	var grants []bus.OpaqueGrant
	for i, g := range list {
		field := fmt.Sprintf("grants[%d]", i)
		p, err := bus.ParsePattern(g.GetAddress())
		if err != nil {
			bad.Check(field+".address", err)
		}
		var may bus.Action
		for _, a := range g.GetActions() {
			action, ok := convert.Action(a)
			if !ok {
				bad.Add(field+".actions", "has %s, which is none", a)
			}
			may |= action
		}
		if len(g.GetActions()) == 0 {
			bad.Add(field+".actions", "is empty")
		}
		grants = append(grants, bus.OpaqueGrant{Pattern: p.String(), Actions: may})
	}
	return grants
}

// UnregisterSession forgets a session and ends its connections.
func (s *Service) UnregisterSession(ctx context.Context, req *legacyv1.UnregisterSessionRequest) (*legacyv1.UnregisterSessionResponse, error) {
	var bad bus.Invalid
	checkKey(&bad, req.GetKey())
	if err := bad.Err(); err != nil {
		return nil, err
	}
	ends, err := s.ends(ctx, req.GetKey())
	if err != nil {
		return nil, err
	}
	if err := s.store.DropToken(ctx, digest(req.GetKey())); err != nil {
		return nil, err
	}
	if err := s.store.Revoke(ctx, sessionOf(req.GetKey()), ends, endedTTL); err != nil {
		return nil, err
	}
	return &legacyv1.UnregisterSessionResponse{}, nil
}

// ends is when a session ends: now, and not before it was registered, which another process has estimated.
func (s *Service) ends(ctx context.Context, key string) (time.Time, error) {
	now := s.store.Now()
	value, err := s.store.Token(ctx, digest(key))
	if errors.Is(err, bus.ErrTokenNotFound) {
		return now, nil
	}
	var t bus.OpaqueToken
	if err != nil || json.Unmarshal(value, &t) != nil || !t.Sound() || t.Issued.Before(now) {
		return now, err
	}
	return t.Issued, nil
}

// digest is the one by which the auth service looks a token up.
func digest(key string) string { return bus.TokenDigest(bus.SessionCredential(key)) }
