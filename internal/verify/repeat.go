package verify

import (
	"context"
	"errors"
	"fmt"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/verify/door"
)

// repeat publishes with an idempotency key, again with it, and again with another body.
func (r *run) repeat(ctx context.Context, n int) error {
	p := door.Publication{To: r.channels()[0], Key: fmt.Sprintf("%s-repeat-%d", r.id, n)}
	p.Data = compose(p.Key, p.To, r.Size)
	first, err := r.send(ctx, "repeat", r.rest, p)
	if err != nil {
		return err
	}
	ways := map[string]publish{"REST": r.rest}
	if r.server.GRPC != nil {
		ways["gRPC"] = r.grpc
	}
	for name, by := range ways {
		a, err := r.patient(ctx, by, p)
		if err != nil {
			return err
		}
		r.record.add(judge.Event{Kind: judge.Answered, Who: "repeat", Address: p.To, Key: p.Key, Position: a.Position, Repeat: a.Duplicate})
		r.book.looked("repeat.duplicate", 1)
		if !a.Duplicate || a.ID != first.ID || a.Position != first.Position {
			r.book.broke("repeat.duplicate", 1, "%s repeated over %s: duplicate %t, id %s at %s; it was %s at %s", p.Key, name, a.Duplicate, a.ID, a.Position,
				first.ID, first.Position)
		}
	}
	other := p
	other.Data += "!"
	a, err := r.patient(ctx, r.rest, other)
	r.book.looked("repeat.mismatch", 1)
	switch refused, _ := errors.AsType[*door.Refused](err); {
	case err == nil:
		r.book.broke("repeat.mismatch", 1, "%s with another body was answered with id %s", p.Key, a.ID)
	case refused == nil || refused.Reason != "IDEMPOTENCY_MISMATCH":
		r.book.doubt("repeat.mismatch", "%s", door.Short(err))
	}
	return nil
}

// patient publishes until the outcome is known. It records nothing.
func (r *run) patient(ctx context.Context, by publish, p door.Publication) (a door.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for {
		if a, err = by(ctx, p); err == nil || door.Final(err) {
			return a, err
		}
		if !wait(ctx, max(door.Wait(err), pause/10)) {
			return a, err
		}
	}
}

// refusals tries what a token does not grant, at every door.
func (r *run) refusals(ctx context.Context, n int) error {
	granted := &authv1.Grant{Address: r.channel("granted"), Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH}}
	t, err := r.grant(ctx, "stranger", r.worker(), 0, granted)
	if err != nil {
		return err
	}
	token, to := t.GetToken(), r.channels()[0]
	ways := map[string]publish{
		"REST": func(ctx context.Context, p door.Publication) (door.Answer, error) {
			return r.server.PublishREST(ctx, token, p)
		},
	}
	if r.server.GRPC != nil {
		ways["gRPC"] = func(ctx context.Context, p door.Publication) (door.Answer, error) {
			return r.server.PublishGRPC(ctx, token, p)
		}
	}
	k, err := r.open(ctx, token)
	if err != nil {
		return err
	}
	defer k.Leave()
	ways["WebSocket"] = k.Publish
	for name, by := range ways {
		p := door.Publication{To: to, Key: fmt.Sprintf("%s-refused-%d-%s", r.id, n, name)}
		p.Data = compose(p.Key, to, r.Size)
		call, cancel := context.WithTimeout(ctx, r.Timeout)
		_, err := r.attempt(call, "stranger", by, p)
		cancel()
		r.refusal("a publish over "+name, err)
	}
	for name, follow := range r.streams(token) {
		call, cancel := context.WithTimeout(ctx, r.Timeout)
		err := follow(call, []door.Place{{Address: to}}, func(e door.Event) {
			if e.Subscribed != nil {
				cancel()
			}
		})
		r.refusal("a subscription over "+name, err)
		cancel()
	}
	return nil
}

// refusal notes whether a call was refused as it should.
func (r *run) refusal(what string, err error) {
	switch {
	case door.Denied(err):
		r.book.looked("rights.refused", 1)
	case err == nil || errors.Is(err, context.Canceled):
		r.book.looked("rights.refused", 1)
		r.book.broke("rights.refused", 1, "%s that the token does not grant was taken", what)
	default:
		r.book.doubt("rights.refused", "%s: %s", what, door.Short(err))
	}
}

// streams are the ways to follow with a token, by name.
func (r *run) streams(token string) map[string]sit {
	show := func(context.Context) (string, error) { return token, nil }
	all := map[string]sit{"WebSocket": r.overSocket(show), "server-sent events": r.overSSE(show)}
	if r.server.GRPC != nil {
		all["gRPC"] = r.overGRPC(show)
	}
	return all
}

// open connects within the time for calls.
func (r *run) open(ctx context.Context, token string, places ...door.Place) (*door.Socket, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.server.Open(ctx, token, places...)
}
