// Package convert turns what the code speaks of into messages of the contract, and back. Each is said here once.
package convert

import (
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

var actions = map[authv1.Action]bus.Action{
	authv1.Action_ACTION_SUBSCRIBE: bus.Subscribe,
	authv1.Action_ACTION_PUBLISH:   bus.Publish,
	authv1.Action_ACTION_HISTORY:   bus.History,
	authv1.Action_ACTION_PRESENCE:  bus.Presence,
}

// Action returns the action; false for one that is not known.
func Action(a authv1.Action) (bus.Action, bool) {
	action, ok := actions[a]
	return action, ok
}

// Identity returns an identity as the auth service sent it. A grant whose pattern cannot
// be read grants nothing.
func Identity(p *authv1.Identity) *bus.Identity {
	id := &bus.Identity{
		Client:  p.GetClient(),
		User:    p.GetUser(),
		Session: p.GetSession(),
		Groups:  p.GetGroups(),
		TokenID: p.GetTokenId(),
		Family:  p.GetFamily(),
		Issued:  p.GetIssueTime().AsTime(),
		Expires: p.GetExpireTime().AsTime(),

		Tolerance:    p.GetIssueTolerance().AsDuration(),
		OutlivesLoss: p.GetOutlivesLoss(),

		DerivedClient: p.GetDerivedClient(),
	}
	for _, g := range p.GetGrants() {
		pattern, err := bus.ParsePattern(g.GetAddress())
		if err != nil {
			continue
		}
		var may bus.Action
		for _, a := range g.GetActions() {
			may |= actions[a]
		}
		id.Grants = append(id.Grants, bus.Grant{Pattern: pattern, Actions: may})
	}
	return id
}

// IdentityProto is the reverse of Identity.
func IdentityProto(id *bus.Identity) *authv1.Identity {
	p := &authv1.Identity{
		Client:     id.Client,
		User:       id.User,
		Session:    id.Session,
		Groups:     id.Groups,
		TokenId:    id.TokenID,
		Family:     id.Family,
		IssueTime:  Time(id.Issued),
		ExpireTime: Time(id.Expires),

		OutlivesLoss: id.OutlivesLoss, DerivedClient: id.DerivedClient,
	}
	if id.Tolerance > 0 {
		p.IssueTolerance = durationpb.New(id.Tolerance)
	}
	for _, g := range id.Grants {
		grant := &authv1.Grant{Address: g.Pattern.String()}
		for _, a := range []authv1.Action{
			authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH,
			authv1.Action_ACTION_HISTORY, authv1.Action_ACTION_PRESENCE,
		} {
			if g.Actions&actions[a] != 0 {
				grant.Actions = append(grant.Actions, a)
			}
		}
		p.Grants = append(p.Grants, grant)
	}
	return p
}
