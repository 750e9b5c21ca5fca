package bus

import (
	"context"
	"strings"
	"time"
)

// OpaqueToken is what the store keeps of a token of an older system, by the token's digest.
type OpaqueToken struct {
	Client  string        `json:"client"`
	User    string        `json:"user,omitempty"`
	Session string        `json:"session,omitempty"`
	Groups  []string      `json:"groups,omitempty"`
	Grants  []OpaqueGrant `json:"grants,omitempty"`
	Issued  time.Time     `json:"issued"`
	Expires time.Time     `json:"expires"`
}

// OpaqueGrant is a Grant as it is kept.
type OpaqueGrant struct {
	Pattern string `json:"pattern"`
	Actions Action `json:"actions"`
}

// Identity returns who the token stands for; id is the token's. A grant whose pattern cannot be read grants nothing.
func (t OpaqueToken) Identity(id string) *Identity {
	who := &Identity{
		Client: t.Client, User: t.User, Session: t.Session, Groups: t.Groups, TokenID: id, Issued: t.Issued, Expires: t.Expires,
	}
	for _, g := range t.Grants {
		if p, err := ParsePattern(g.Pattern); err == nil {
			who.Grants = append(who.Grants, Grant{Pattern: p, Actions: g.Actions})
		}
	}
	return who
}

// sessionScheme begins the credential of a session of an older system.
const sessionScheme = "session:"

// MaxSessionKey is the longest key of a session, in bytes.
const MaxSessionKey = 128

// SessionCredential returns the token that stands for the session of an older system; its key is the value of a cookie.
func SessionCredential(key string) string { return sessionScheme + key }

// SessionKey returns the key of a credential; false when it is none of a session.
func SessionKey(token string) (string, bool) {
	key, ok := strings.CutPrefix(token, sessionScheme)
	return key, ok && key != "" && len(key) <= MaxSessionKey
}

// SessionIdentity is a session of an older system: who it is by names, since when and for how long, and what it may do, where no
// grants means to publish to all facilities of broadcast, its user, its groups and itself.
func SessionIdentity(key, session, user string, groups []string, grants []OpaqueGrant, since time.Time, ttl time.Duration) OpaqueToken {
	// Later than the end of a session before, however soon.
	now := since.Truncate(time.Millisecond).Add(time.Millisecond)
	t := OpaqueToken{
		Client: "s-" + TokenDigest(SessionCredential(key))[:32], User: user, Session: session, Groups: groups, Grants: grants,
		Issued: now, Expires: now.Add(ttl),
	}
	if len(grants) > 0 {
		return t
	}
	patterns := []string{"broadcast/topics/*", "sessions/" + session + "/topics/*"}
	if user != "" {
		patterns = append(patterns, "users/"+user+"/topics/*")
	}
	for _, g := range groups {
		patterns = append(patterns, "groups/"+g+"/topics/*")
	}
	for _, p := range patterns {
		t.Grants = append(t.Grants, OpaqueGrant{Pattern: p, Actions: Publish})
	}
	return t
}

// SessionResolver says whose a session of an older system is that nobody has registered. It may be called concurrently.
type SessionResolver interface {
	// ResolveSession returns ErrTokenInvalid for a session that there is not, and ErrAuthUnavailable when that cannot be
	// found out.
	ResolveSession(ctx context.Context, key string) (OpaqueToken, error)
}
