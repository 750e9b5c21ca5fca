package workload

import (
	"context"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/judge"
)

// Guest is one session whose right ends.
type Guest struct {
	Token  string
	Opened time.Time
	End    time.Time

	f       *follower
	session string
	conn    *websocket.Conn
	over    chan struct{}
	at      time.Time // when over was closed
}

// Guest opens a session of its own at an edge, with a token that lives so long, or for an hour.
func (l *Load) Guest(ctx context.Context, who string, edge int, life time.Duration) (*Guest, error) {
	g := &Guest{Opened: time.Now(), over: make(chan struct{})}
	var err error
	if g.Token, err = l.Token(ctx, who, "", life); err != nil {
		return nil, err
	}
	address := Channel(edge % l.o.Channels)
	since := l.rec.Now()
	conn, answer, err := open(ctx, l.sys.Edges[edge], connect{Token: g.Token, Subscriptions: []subscribe{{Address: address}}})
	if err != nil {
		return nil, err
	}
	// It ends before the run does, so it is not one of those that read to the end.
	g.f = &follower{
		l: l, who: who, addresses: []string{address}, at: map[string]judge.Position{}, followed: map[string]bool{}, open: map[string]bool{},
		marks: map[string]int{}, ended: make(chan struct{}),
	}
	g.session, g.conn = g.f.session(), conn
	for _, s := range answer.Connected.Subscriptions {
		if s.Subscribed == nil {
			_ = conn.Close()
			return nil, s1
		}
		g.f.begins(g.session, address, s.Subscribed.Position.judge(), s.Subscribed.Recovered, since)
	}
	l.followers.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		_ = (&raw{follower: g.f}).listen(g.session, conn)
		g.at = time.Now()
		close(g.over)
		_ = conn.Close()
	})
	return g, nil
}

// Ends writes down that the right ends at a time. What was published within a while after it may still come.
func (g *Guest) Ends(reason string, at time.Time, within time.Duration) {
	g.End = at
	g.f.l.rec.Add(judge.Event{
		At: g.f.l.rec.Now() + time.Until(at).Microseconds(), Kind: judge.Ends, Session: g.session, Reason: reason, Within: within.Microseconds(),
	})
}

// Ended says when the server has ended the session; false when it has not.
func (g *Guest) Ended() (time.Time, bool) {
	select {
	case <-g.over:
		return g.at, true
	default:
		return time.Time{}, false
	}
}

// Closed waits for the end.
func (g *Guest) Closed(ctx context.Context) (time.Time, error) {
	select {
	case <-g.over:
		return g.at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

// Close ends the session.
func (g *Guest) Close() { _ = g.conn.Close() }
