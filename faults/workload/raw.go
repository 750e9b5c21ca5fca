package workload

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/faults/proc"
)

// raw is a subscriber over a bare WebSocket, which keeps positions by itself.
type raw struct {
	*follower
	edge   int
	leaves bool
	slow   bool
	random *rand.Rand
	token  string
}

func (r *raw) run(ctx context.Context, opened func()) {
	r.random = r.l.random(r.who)
	for ctx.Err() == nil {
		if err := r.sit(ctx, opened); err != nil {
			r.edge++
		}
		if proc.Wait(ctx, r.pause()) != nil {
			return
		}
	}
}

// pause is how long the subscriber stays away.
func (r *raw) pause() time.Duration {
	away := 250 * time.Millisecond
	if r.leaves && r.l.o.Away > 0 {
		away = r.l.o.Away
	} else if r.leaves {
		away = time.Second
	}
	return 20*time.Millisecond + time.Duration(r.random.Int64N(int64(away)))
}

// sit is one session.
func (r *raw) sit(ctx context.Context, opened func()) error {
	if r.token == "" {
		token, err := r.l.Token(ctx, r.who, "", 0)
		if err != nil {
			return err
		}
		r.token = token
	}
	c := connect{Token: r.token}
	for _, a := range r.addresses {
		s := subscribe{Address: a}
		if at, ok := r.position(a); ok {
			s.After = wire(at)
		}
		c.Subscriptions = append(c.Subscriptions, s)
	}
	since := r.l.rec.Now()
	conn, f, err := open(ctx, r.l.sys.Edges[r.edge%len(r.l.sys.Edges)], c)
	if err != nil {
		r.renew(err)
		return err
	}
	session := r.session()
	defer r.follower.leaves(session)
	end := r.over(ctx, conn)
	defer end()
	all := true
	for _, s := range f.Connected.Subscriptions {
		if s.Subscribed == nil {
			all = false // it is asked for again in the next session
			continue
		}
		r.begins(session, s.Subscribed.Address, s.Subscribed.Position.judge(), s.Subscribed.Recovered, since)
	}
	if !all {
		return s1
	}
	opened()
	return r.listen(session, conn)
}

var s1 = &failure{Reason: "NOT_ALL", Message: "a subscription was refused"}

// renew forgets a token that an edge does not take any more: a store that was emptied knows of no revocations, so older ones end.
func (r *raw) renew(err error) {
	if f, ok := errors.AsType[*failure](err); ok && strings.HasPrefix(f.Reason, "TOKEN_") {
		r.token = ""
	}
}

// over ends the connection when ctx ends, when the session is to be resumed, or when the subscriber likes to leave.
func (r *raw) over(ctx context.Context, conn *websocket.Conn) (end func()) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	r.droppable(func() { _ = conn.Close() })
	if !r.leaves {
		return func() { _, _ = stop(), conn.Close() }
	}
	stay := 300*time.Millisecond + time.Duration(r.random.Int64N(int64(2500*time.Millisecond)))
	if r.l.o.Away > 0 {
		stay = r.l.o.Away + time.Duration(r.random.Int64N(int64(r.l.o.Away)))
	}
	t := time.AfterFunc(stay, func() { _ = conn.Close() })
	return func() { _, _, _ = stop(), t.Stop(), conn.Close() }
}

// listen reads until the connection ends.
func (r *raw) listen(session string, conn *websocket.Conn) error {
	rest := time.Now()
	for {
		if r.slow && time.Since(rest) > 2*time.Second && !r.l.ending.Load() {
			rest = time.Now().Add(5 * time.Second)
			<-time.After(5 * time.Second)
		}
		f, err := read(conn)
		switch {
		case err != nil:
			return err
		case f.Message != nil:
			r.message(session, *f.Message)
		case f.Gap != nil:
			r.gap(session, *f.Gap)
		}
	}
}
