package auth

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/trunkline/trunkline/internal/bus"
)

// accessType is the header typ of our tokens (RFC 9068, section 2.1), so no other JWT, of ours or of others, passes for one.
const accessType = "at+jwt"

// claims is the body of a token. sub is the user. Names are in it as their issuer wrote them, without escapes.
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

// identity returns who the claims stand for, or which claim names nobody or claims an unknown right.
func (c *claims) identity(trustGrants bool) (*bus.Identity, error) {
	id := &bus.Identity{
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
	if err := c.name(id); err != nil {
		return nil, err
	}
	if !trustGrants {
		return id, nil
	}
	for i, g := range c.Grants {
		pattern, err := bus.ParsePattern(g.Address)
		if err != nil {
			return nil, fmt.Errorf("grants[%d]: %w", i, err)
		}
		var may bus.Action
		for _, name := range g.Can {
			action, ok := actionNames[name]
			if !ok {
				return nil, fmt.Errorf("grants[%d]: %.32q is no action", i, name)
			}
			may |= action
		}
		id.Grants = append(id.Grants, bus.Grant{Pattern: pattern, Actions: may})
	}
	return id, nil
}

// name gives the identity its names, in their canonical form. A client that is not named is called as its token.
func (c *claims) name(id *bus.Identity) error {
	if err := bus.CheckName("jti", id.TokenID); err != nil {
		return err
	}
	var err error
	set := func(claim, raw string) (name string) {
		if raw != "" && err == nil {
			name, err = bus.NameOf(claim, raw)
		}
		return name
	}
	id.User, id.Session, id.Client = set("sub", c.Subject), set("sid", c.Session), set("cid", c.Client)
	for i, g := range c.Groups {
		if name := set(fmt.Sprintf("grp[%d]", i), g); name != "" {
			id.Groups = append(id.Groups, name)
		}
	}
	if id.Client == "" {
		id.Client = id.TokenID
	}
	return err
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
