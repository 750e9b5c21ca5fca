package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/judge"
)

// Lobby is the channel whose members are watched.
const Lobby = "channels/kept:lobby"

// Times within which a list of members has to be right.
const (
	comes   = 2 * time.Second
	returns = 3 * time.Second
	goes    = 30 * time.Second
)

// members starts those whose presence is watched, and who watches it.
func (l *Load) members(ctx context.Context) {
	for i := range l.o.Members {
		l.followers.Go(func() { l.member(ctx, fmt.Sprintf("m%d", i), i) })
	}
	l.followers.Go(func() { l.poll(ctx) })
}

// member is on the channel whenever an edge lets it.
func (l *Load) member(ctx context.Context, who string, edge int) {
	random := l.random(who)
	for ctx.Err() == nil {
		if err := l.attend(ctx, who, edge); err != nil {
			edge++
		}
		if proc.Wait(ctx, 20*time.Millisecond+time.Duration(random.Int64N(int64(200*time.Millisecond)))) != nil {
			return
		}
	}
}

func (l *Load) attend(ctx context.Context, who string, edge int) error {
	token, err := l.Token(ctx, who, "", 0)
	if err != nil {
		return err
	}
	conn, f, err := open(ctx, l.sys.Edges[edge%len(l.sys.Edges)], connect{Token: token, Subscriptions: []subscribe{{Address: Lobby}}})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() { _, _ = stop(), conn.Close() }()
	if len(f.Connected.Subscriptions) != 1 || f.Connected.Subscriptions[0].Subscribed == nil {
		return s1
	}
	l.rec.Add(judge.Event{Kind: judge.Present, Who: who, Address: Lobby, Within: comes.Microseconds()})
	for {
		if _, err := read(conn); err != nil {
			if ctx.Err() == nil {
				l.rec.Add(judge.Event{Kind: judge.Absent, Who: who, Address: Lobby, Within: goes.Microseconds()})
			}
			return err
		}
	}
}

// poll asks for the members. While the store cannot be asked nothing is known.
func (l *Load) poll(ctx context.Context) {
	client := publishv1.NewChannelServiceClient(l.conn)
	for proc.Wait(ctx, 500*time.Millisecond) == nil {
		since := l.rec.Now()
		call, cancel := context.WithTimeout(ctx, time.Second)
		resp, err := client.ListMembers(l.as(call), &publishv1.ListMembersRequest{Address: Lobby, PageSize: 100})
		cancel()
		if err != nil {
			continue
		}
		listed := map[string]bool{}
		for _, m := range resp.GetMembers() {
			listed[m.GetClient()] = true
		}
		for i := range l.o.Members {
			e := judge.Event{Kind: judge.Unlisted, Who: fmt.Sprintf("m%d", i), Address: Lobby, Since: since}
			if listed[e.Who] {
				e.Kind = judge.Listed
			}
			l.rec.Add(e)
		}
	}
}
