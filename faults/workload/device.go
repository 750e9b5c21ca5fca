package workload

import (
	"context"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/internal/judge"
)

// device is one of a user that acknowledges most of what it is given, and some of it only when it is given again.
type device struct {
	raw
	user string

	acks map[uint32]string // keys by the id of the frame
	next uint32
}

func (d *device) run(ctx context.Context, opened func()) {
	d.random = d.l.random(d.who)
	for ctx.Err() == nil {
		if err := d.sit(ctx, opened); err != nil {
			d.edge++
		}
		if proc.Wait(ctx, d.pause()) != nil {
			return
		}
	}
}

func (d *device) sit(ctx context.Context, opened func()) error {
	if d.token == "" {
		token, err := d.l.Token(ctx, d.who, d.user, 0)
		if err != nil {
			return err
		}
		d.token = token
	}
	address := d.addresses[0]
	c := connect{Token: d.token}
	if at, ok := d.position(address); ok && at.Epoch != "" {
		c.Own = []owned{{address, wire(at)}}
	}
	since := d.l.rec.Now()
	conn, f, err := open(ctx, d.l.sys.Edges[d.edge%len(d.l.sys.Edges)], c)
	if err != nil {
		d.renew(err)
		return err
	}
	session := d.session()
	defer d.follower.leaves(session)
	end := d.over(ctx, conn)
	defer end()
	var own judge.Position
	for _, o := range f.Connected.Own {
		if o.Address == address {
			own = o.Position.judge()
		}
	}
	d.begins(session, address, own, true, since) // an inbox says nothing of it
	d.acks = map[uint32]string{}
	opened()
	return d.listen(session, conn)
}

func (d *device) listen(session string, conn *websocket.Conn) error {
	for {
		f, err := read(conn)
		switch {
		case err != nil:
			return err
		case f.Message != nil:
			key := d.message(session, *f.Message)
			if f.Message.AckRequired && (f.Message.Redelivered || d.random.IntN(8) > 0) {
				if err := d.ack(conn, key, *f.Message); err != nil {
					return err
				}
			}
		case f.Gap != nil:
			d.gap(session, *f.Gap)
		case f.Acked != nil && len(f.Acked.Refused) == 0:
			d.l.rec.Add(judge.Event{Kind: judge.Acked, Who: d.who, Address: d.addresses[0], Key: d.acks[f.ID]})
			delete(d.acks, f.ID)
		}
	}
}

// ack acknowledges a message. An ack without an answer is not repeated: the message comes again.
func (d *device) ack(conn *websocket.Conn, key string, m received) error {
	d.next++
	d.acks[d.next] = key
	_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return conn.WriteJSON(command{ID: d.next, Ack: &ack{Address: m.To, IDs: []string{m.ID}}})
}
