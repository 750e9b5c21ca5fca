package auth

import (
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/trunkline/trunkline/internal/bus"
)

// accessType is the header typ of our tokens (RFC 9068, section 2.1), so no other JWT, of ours or of others, passes for one.
const accessType = "at+jwt"

// claims is the body of a token. sub is the user.
type claims struct {
	jwt.RegisteredClaims
	Client  string   `json:"cid,omitempty"`
	Session string   `json:"sid,omitempty"`
	Groups  []string `json:"grp,omitempty"`
	Grants  []grant  `json:"grants,omitempty"`
	Family  string   `json:"fam,omitempty"`
	// IssuedMs is iat in milliseconds: a revocation and a new token may fall into one second.
	IssuedMs int64 `json:"ims,omitempty"`
}

type grant struct {
	Address string   `json:"a"`
	Can     []string `json:"can"`
}

var actionNames = map[string]bus.Action{
	bus.Subscribe.String(): bus.Subscribe, bus.Publish.String(): bus.Publish,
	bus.History.String(): bus.History, bus.Presence.String(): bus.Presence,
}

var allActions = []bus.Action{bus.Subscribe, bus.Publish, bus.History, bus.Presence}

// identity returns who the claims stand for; false when a name in them is none, or an unknown right is claimed.
func (c *claims) identity(trustGrants bool) (*bus.Identity, bool) {
	id := &bus.Identity{
		Client:  c.Client,
		User:    c.Subject,
		Session: c.Session,
		Groups:  c.Groups,
		TokenID: c.ID,
		Family:  c.Family,
		Expires: c.ExpiresAt.Time,
	}
	if c.IssuedAt != nil {
		id.Issued = c.IssuedAt.Time
	}
	if c.IssuedMs > 0 {
		id.Issued = time.UnixMilli(c.IssuedMs)
	} else {
		id.Tolerance = time.Second // iat has no more
	}
	if id.Client == "" {
		id.Client = id.TokenID
	}
	for _, name := range append([]string{id.User, id.Session}, id.Groups...) {
		if name != "" && bus.CheckName("name", name) != nil {
			return nil, false
		}
	}
	if bus.CheckName("client", id.Client) != nil || bus.CheckName("jti", id.TokenID) != nil {
		return nil, false
	}
	if !trustGrants {
		return id, true
	}
	for _, g := range c.Grants {
		pattern, err := bus.ParsePattern(g.Address)
		if err != nil {
			return nil, false
		}
		var may bus.Action
		for _, name := range g.Can {
			action, ok := actionNames[name]
			if !ok {
				return nil, false
			}
			may |= action
		}
		id.Grants = append(id.Grants, bus.Grant{Pattern: pattern, Actions: may})
	}
	return id, true
}

func grantClaims(grants []bus.Grant) []grant {
	var list []grant
	for _, g := range grants {
		c := grant{Address: g.Pattern.String()}
		for _, a := range allActions {
			if g.Actions&a != 0 {
				c.Can = append(c.Can, a.String())
			}
		}
		list = append(list, c)
	}
	return list
}
