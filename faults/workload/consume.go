package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// consumer follows a channel over gRPC.
type consumer struct {
	*follower
}

func (c *consumer) run(ctx context.Context, opened func()) {
	for ctx.Err() == nil {
		_ = c.sit(ctx, opened)
		if proc.Wait(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

func (c *consumer) sit(ctx context.Context, opened func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.droppable(cancel)
	req := &publishv1.ConsumeRequest{Address: c.addresses[0]}
	if at, ok := c.position(c.addresses[0]); ok && at.Epoch != "" {
		req.After = &publishv1.Position{Epoch: at.Epoch, Offset: at.Seq}
	}
	since := c.l.rec.Now()
	s, err := publishv1.NewPublishServiceClient(c.l.conn).Consume(c.l.as(ctx), req)
	if err != nil {
		return err
	}
	session := c.session()
	defer c.leaves(session)
	for {
		resp, err := s.Recv()
		if err != nil {
			return err
		}
		switch {
		case resp.GetSubscribed() != nil:
			at := text(resp.GetSubscribed().GetPosition())
			c.begins(session, c.addresses[0], at.judge(), resp.GetSubscribed().GetRecovered(), since)
			opened()
		case resp.GetMessage() != nil:
			m := resp.GetMessage()
			c.message(session, received{To: m.GetTo(), Data: string(m.GetData()), Position: text(m.GetPosition())})
		case resp.GetGap() != nil:
			g := resp.GetGap()
			after, to := text(g.GetAfter()), text(g.GetTo())
			c.gap(session, told{g.GetAddress(), &after, &to, g.GetReason()})
		}
	}
}

// events follows a channel by server-sent events of the gateway.
type events struct {
	*follower
}

func (e *events) run(ctx context.Context, opened func()) {
	last := ""
	for ctx.Err() == nil {
		_ = e.sit(ctx, &last, opened)
		if proc.Wait(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

func (e *events) sit(ctx context.Context, last *string, opened func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.droppable(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.l.sys.Gateway+"/v1/"+e.addresses[0]+"/stream", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+e.l.sys.APIKey)
	req.Header.Set("Accept", "text/event-stream")
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	since := e.l.rec.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the stream is answered with %s", resp.Status)
	}
	session := e.session()
	defer e.leaves(session)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	var id, kind string
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			if err := e.event(session, kind, value, since, opened); err != nil {
				return err
			}
			if id != "" {
				*last = id
			}
		case "":
			id, kind = "", ""
		}
	}
	return lines.Err()
}

func (e *events) event(session, kind, data string, since int64, opened func()) error {
	switch kind {
	case "subscribed":
		var s subscribed
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return err
		}
		e.begins(session, e.addresses[0], s.Position.judge(), s.Recovered, since)
		opened()
	case "message":
		var m received
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			return err
		}
		e.message(session, m)
	case "gap":
		var t told
		if err := json.Unmarshal([]byte(data), &t); err != nil {
			return err
		}
		e.gap(session, t)
	}
	return nil
}
