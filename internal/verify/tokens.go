package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/verify/door"
)

// guest is one session of a token that ends. It comes back never.
type guest struct {
	r    *run
	door string
	name string

	part   string
	opened chan struct{}
	over   chan struct{}
	at     time.Time // when over was closed
	err    error
	end    atomic.Int64 // of its right, on the clock of the record; 0 while nobody knows
}

// guests open a session at every door with a token, and return when all of them have. Close ends them.
func (r *run) guests(ctx context.Context, part string, n int, token string) (all []*guest, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	end = func() {
		cancel()
		running.Wait()
	}
	for name, follow := range r.streams(token) {
		g := &guest{r: r, part: part, door: name, name: fmt.Sprintf("%s-%d-%s", part, n, name), opened: make(chan struct{}), over: make(chan struct{})}
		all = append(all, g)
		running.Go(func() { g.run(ctx, follow) })
	}
	soon := time.NewTimer(r.Timeout)
	defer soon.Stop()
	for _, g := range all {
		select {
		case <-g.opened:
		case <-g.over:
			end()
			return nil, nil, fmt.Errorf("open %s with a new token: %w", g.door, g.err)
		case <-soon.C:
			end()
			return nil, nil, fmt.Errorf("open %s with a new token: no answer within %s", g.door, r.Timeout)
		}
	}
	return all, end, nil
}

func (g *guest) run(ctx context.Context, follow sit) {
	f := g.r.newFollower(g.name, follow, true, g.r.channels()[0])
	s := &session{follower: f, name: g.name, since: g.r.record.now(), missing: map[string]uint64{}, heard: g.heard}
	err := follow(ctx, []door.Place{{Address: f.addresses[0]}}, func(e door.Event) {
		s.event(e)
		if e.Subscribed != nil {
			close(g.opened)
		}
	})
	g.at, g.err = time.Now(), err
	close(g.over)
	if len(s.followed) > 0 {
		g.r.record.add(judge.Event{Kind: judge.Unsubscribed, Who: g.name, Session: g.name, Address: f.addresses[0]})
	}
}

// within is how long after the end of a right messages may come that were published meanwhile.
const within = time.Second

// ends notes when the right of a guest ends.
func (g *guest) ends(at time.Time) {
	g.end.Store(g.r.record.now() + time.Until(at).Microseconds())
}

// heard sees whether a message may come: it may not when it was published after the right had ended.
func (g *guest) heard(key string) {
	end := g.end.Load()
	if late := time.Duration(g.r.record.began(key)-end) * time.Microsecond; end > 0 && late > within {
		g.r.book.broke(g.part+".silent", 1, "%s came over %s, and was published %s after the end", key, g.door, late.Round(time.Millisecond))
	}
}

// grace is how much longer than a bound is waited for, to say by how much it was missed.
const grace = 5 * time.Second

// closes waits until guests are told to leave, and notes how long after a time they were. A guest that was told so too early
// counts as well. One that broke off by itself shows nothing.
func (r *run) closes(ctx context.Context, all []*guest, at time.Time, bound time.Duration, reason string) {
	for _, g := range all {
		g.ends(at)
	}
	late, cancel := context.WithDeadline(ctx, at.Add(bound+grace))
	defer cancel()
	for _, g := range all {
		id := g.part + ".closed"
		select {
		case <-g.over:
			told, _ := errors.AsType[*door.Refused](g.err)
			switch early := at.Sub(g.at); {
			case early <= bound:
				r.book.took(id, max(-early, 0), g.door)
			case told != nil && told.Reason == reason:
				r.book.took(id, early, g.door+" was closed too early")
			default:
				r.book.doubt(id, "%s broke off: %s", g.door, door.Short(g.err))
			}
		case <-late.Done():
			if ctx.Err() == nil {
				r.book.took(id, time.Since(at), g.door+" was still open after")
			}
		}
		r.book.looked(g.part+".silent", 1)
	}
}

// revocation opens everything with a token, and revokes it.
func (r *run) revocation(ctx context.Context, n int) error {
	t, err := r.issue(ctx, fmt.Sprintf("revoked-%d", n), r.worker(), 0)
	if err != nil {
		return err
	}
	all, end, err := r.guests(ctx, "revocation", n, t.GetToken())
	if err != nil {
		return err
	}
	defer end()
	if err := r.revoke(ctx, &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: t.GetToken()}}); err != nil {
		return err
	}
	at := time.Now()
	r.closes(ctx, all, at, revoked, "TOKEN_REVOKED")
	for name, follow := range r.streams(t.GetToken()) {
		call, cancel := context.WithTimeout(ctx, r.Timeout)
		open := false
		err := follow(call, []door.Place{{Address: r.channels()[0]}}, func(door.Event) {
			open = true
			cancel()
		})
		cancel()
		switch {
		case open:
			r.book.looked("revocation.refused", 1)
			r.book.broke("revocation.refused", 1, "%s was opened with a revoked token", name)
		case door.Unauthenticated(err):
			r.book.looked("revocation.refused", 1)
		default:
			r.book.doubt("revocation.refused", "%s: %s", name, door.Short(orElse(err, context.Canceled)))
		}
	}
	return nil
}

func (r *run) revoke(ctx context.Context, req *authv1.RevokeTokenRequest) error {
	return r.do(ctx, http.MethodPost, "/v1/tokens:revoke", req, nil)
}

// short is the life of tokens whose end is waited for.
const short = 3 * time.Second

// expiry opens everything with a token that ends soon.
func (r *run) expiry(ctx context.Context, n int) error {
	ahead, err := r.clock(ctx, n)
	if err != nil {
		return err
	}
	t, err := r.issue(ctx, fmt.Sprintf("expired-%d", n), r.worker(), short)
	if err != nil {
		return err
	}
	at := t.GetExpireTime().AsTime().Add(-ahead)
	all, end, err := r.guests(ctx, "expiry", n, t.GetToken())
	if err != nil {
		return err
	}
	defer end()
	at = time.Now().Add(time.Until(at)) // on the monotonic clock from here on
	r.closes(ctx, all, at, expired, "TOKEN_EXPIRED")
	return nil
}

// clock returns how far the clock of the server is ahead of ours. It is asked by a publish, whose answer has a time.
func (r *run) clock(ctx context.Context, n int) (time.Duration, error) {
	token, err := r.token(ctx, "clock")
	if err != nil {
		return 0, err
	}
	p := door.Publication{To: r.channel("lobby"), Key: fmt.Sprintf("%s-clock-%d", r.id, n), Data: "tick"}
	var began time.Time
	a, err := r.patient(ctx, func(ctx context.Context, p door.Publication) (door.Answer, error) {
		began = time.Now()
		p.Key += fmt.Sprint("-", began.UnixNano()) // a repeat would be answered with the time of the first one
		return r.server.PublishREST(ctx, token, p)
	}, p)
	if err != nil {
		return 0, err
	}
	return a.At.Sub(began.Add(time.Since(began) / 2)), nil
}

// cleanTokens revokes every token of the run.
func (r *run) cleanTokens(ctx context.Context) {
	for _, user := range []string{r.worker(), r.user()} {
		if err := r.revoke(ctx, &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: user}}); err != nil {
			r.leave("the tokens of users/%s, until they end (the scope tokens.revoke ends them at once): %s", user, door.Short(err))
		}
	}
}
