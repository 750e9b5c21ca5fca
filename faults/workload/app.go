package workload

import (
	"context"
	"strconv"
	"time"

	"github.com/trunkline/trunkline/client"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/judge"
)

// app is an application of the product's own client.
type app struct {
	*follower
}

func (a *app) run(ctx context.Context, opened func()) {
	session := a.session()
	c, err := client.New(client.Config{
		URL:        "http://" + a.l.sys.Front.Addr(),
		Token:      func(ctx context.Context) (string, error) { return a.l.Token(ctx, a.who, "", 0) },
		MaxBackoff: 2 * time.Second,
		OnMessage: func(m *publishv1.Message) {
			a.message(session, received{To: m.GetTo(), Data: string(m.GetData()), Position: text(m.GetPosition())})
		},
		OnGap: func(g *publishv1.Gap) {
			t := told{Address: g.GetAddress(), Reason: g.GetReason()}
			after := text(g.GetAfter())
			t.After = &after
			if g.GetTo() != nil {
				to := text(g.GetTo())
				t.To = &to
			}
			a.gap(session, t)
		},
	})
	if err != nil {
		return
	}
	ctx, end := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = c.Run(ctx)
	}()
	defer func() {
		end()
		<-over
	}()
	for _, address := range a.addresses {
		// The answer comes when the client may have handed messages on already, so what is before them is asked for.
		a.l.rec.Add(judge.Event{Kind: judge.Subscribed, Who: a.who, Session: session, Address: address, App: true})
		for {
			_, err := c.Subscribe(ctx, client.Subscription{Address: address, FromBeginning: true})
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
		}
	}
	opened()
	<-ctx.Done()
}

func text(p *publishv1.Position) position {
	if p.GetEpoch() == "" {
		return position{}
	}
	return position{Epoch: p.GetEpoch(), Offset: strconv.FormatUint(p.GetOffset(), 10)}
}
