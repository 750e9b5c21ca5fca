package auth

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/jose"
)

// accessType is the header typ of our tokens (RFC 9068, section 2.1), so no other JWT, of ours or of others, passes for one.
const accessType = "at+jwt"

// claims is the body of a token that we make. sub is the user. Names are in it as their issuer wrote them, without escapes. It is
// written only: what is read is read by claimReader.
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

// The names of claims that we read in our own tokens. In those of others, the first list alone means something by itself.
var (
	registeredClaims = []string{"iss", "sub", "aud", "jti", "exp", "nbf", "iat"}
	ownClaims        = append([]string{"cid", "sid", "grp", "grants", "fam", "ims"}, registeredClaims...)
)

type grant struct {
	Address string   `json:"a"`
	Can     []string `json:"can"`
}

var actionNames = map[string]bus.Action{
	bus.Subscribe.String(): bus.Subscribe, bus.Publish.String(): bus.Publish,
	bus.History.String(): bus.History, bus.Presence.String(): bus.Presence,
}

var allActions = []bus.Action{bus.Subscribe, bus.Publish, bus.History, bus.Presence}

// claimReader reads claims by their exact names, and keeps the first one that is not what it has to be.
type claimReader struct {
	claims jose.Object
	err    error
}

func (r *claimReader) fail(claim string, value any, want string) {
	if r.err == nil {
		r.err = invalid(claim, value, want)
	}
}

// text returns a claim that is a text; empty when it is missing.
func (r *claimReader) text(name string) string {
	value, there := r.claims[name]
	text, ok := value.(string)
	if there && !ok {
		r.fail(name, value, "a text")
	}
	return text
}

// texts returns a claim that is a list of texts.
func (r *claimReader) texts(name string) []string {
	value, there := r.claims[name]
	if !there {
		return nil
	}
	list, ok := textsOf(value)
	if !ok {
		r.fail(name, value, "a list of texts")
	}
	return list
}

func textsOf(value any) ([]string, bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	all := make([]string, len(list))
	for i, v := range list {
		if all[i], ok = v.(string); !ok {
			return nil, false
		}
	}
	return all, true
}

// endOfTime is when the year 10000 begins, in seconds: no time in an answer can be later.
const endOfTime = 253402300800

// moment returns a claim that is a time in seconds; zero when it is missing.
func (r *claimReader) moment(name string) time.Time {
	seconds, ok := r.number(name, endOfTime)
	if !ok {
		return time.Time{}
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC()
}

// number returns a claim that is a number from 0 up to a limit; false when it is missing or another.
func (r *claimReader) number(name string, limit float64) (float64, bool) {
	value, there := r.claims[name]
	if !there {
		return 0, false
	}
	n, ok := value.(json.Number)
	if !ok {
		r.fail(name, value, "a number")
		return 0, false
	}
	f, err := n.Float64()
	switch {
	case err != nil || f < 0:
		r.fail(name, value, "a time after 1970, in seconds")
		return 0, false
	case f >= limit:
		r.fail(name, value, "a time before the year 10000, in seconds and not in milliseconds")
		return 0, false
	}
	return f, true
}

// grants reads a list of grants. A member of a grant that is not known is refused: it might have been meant to restrict it.
func grantsOf(claim string, value any) ([]bus.Grant, error) {
	if value == nil {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, invalid(claim, value, "a list of grants")
	}
	grants := make([]bus.Grant, 0, len(list))
	for i, v := range list {
		g, err := grantOf(fmt.Sprintf("%s[%d]", claim, i), v)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

func grantOf(claim string, value any) (bus.Grant, error) {
	o, ok := value.(jose.Object)
	if !ok {
		return bus.Grant{}, invalid(claim, value, `an object such as {"a":"channels/x","can":["subscribe"]}`)
	}
	for name := range o {
		if name != "a" && name != "can" {
			return bus.Grant{}, invalid(claim, name, "no members but a and can")
		}
	}
	address, ok := o.Text("a")
	if !ok {
		return bus.Grant{}, invalid(claim+".a", o["a"], "an address")
	}
	pattern, err := bus.ParsePattern(address)
	if err != nil {
		return bus.Grant{}, invalid(claim+".a", address, err.Error())
	}
	can, ok := textsOf(o["can"])
	if !ok {
		return bus.Grant{}, invalid(claim+".can", o["can"], "a list of texts")
	}
	g := bus.Grant{Pattern: pattern}
	for _, name := range can {
		action, ok := actionNames[name]
		if !ok {
			return bus.Grant{}, invalid(claim+".can", name, "subscribe, publish, history or presence")
		}
		g.Actions |= action
	}
	return g, nil
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
