package verify

import (
	"context"
	"fmt"
	"net/http"
	"time"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/verify/door"
)

// due is how soon an ack is asked for.
const due = 2 * time.Second

// device is one client of the user that receives with an ack.
type device struct {
	r       *run
	address string
	token   string
	n       int // sessions

	k    *door.Socket
	name string
	came map[string]door.Message // of this session, by key
}

// acks publishes a message with an ack, withholds the ack, and gives it when the message comes again.
func (r *run) acks(ctx context.Context, n int) error {
	t, err := r.issue(ctx, "device", r.user(), 0)
	if err != nil {
		return err
	}
	d := &device{r: r, address: "users/" + r.user(), token: t.GetToken(), n: 1000 * n}
	if err := d.connect(ctx); err != nil {
		return err
	}
	defer func() { d.leave() }()
	first := r.mail(n, "withheld")
	a, err := r.send(ctx, "sender", r.rest, first)
	if err != nil {
		return err
	}
	answered := time.Now()
	if err := d.until(ctx, first.Key); err != nil {
		return err
	}
	if err := r.stored(ctx, a.ID, answered); err != nil {
		return err
	}
	d.kill()
	if err := d.connect(ctx); err != nil {
		return err
	}
	r.book.looked("acks.redelivered", 1)
	if err := d.until(ctx, first.Key); err != nil {
		return d.missed("acks.redelivered", first.Key, err)
	}
	if !d.came[first.Key].Redelivered {
		r.book.broke("acks.redelivered", 1, "%s came again without the mark", first.Key)
	}
	if err := d.ack(ctx, first.Key); err != nil {
		return err
	}
	if err := r.acknowledged(ctx, a.ID); err != nil {
		return err
	}
	return d.final(ctx, n)
}

// final connects again after an ack, and sees that only what was sent since comes.
func (d *device) final(ctx context.Context, n int) error {
	d.kill()
	if err := d.connect(ctx); err != nil {
		return err
	}
	second := d.r.mail(n, "marker")
	if _, err := d.r.send(ctx, "sender", d.r.rest, second); err != nil {
		return err
	}
	if err := d.until(ctx, second.Key); err != nil {
		return err
	}
	d.r.book.looked("acks.final", 1) // the judge sees whether the first one came
	return d.ack(ctx, second.Key)
}

func (r *run) mail(n int, what string) door.Publication {
	p := door.Publication{To: "users/" + r.user(), Key: fmt.Sprintf("%s-mail-%d-%s", r.id, n, what), AckWithin: due}
	p.Data = compose(p.Key, p.To, r.Size)
	return p
}

// connect opens a session.
func (d *device) connect(ctx context.Context) error {
	since := d.r.record.now()
	k, err := d.r.open(ctx, d.token)
	if err != nil {
		return err
	}
	d.n++
	d.k, d.name, d.came = k, fmt.Sprintf("device-%d", d.n), map[string]door.Message{}
	d.r.record.add(judge.Event{
		Kind: judge.Subscribed, Who: "device", Session: d.name, Address: d.address, Position: k.Own[d.address].Position, Recovered: true, Since: since,
	})
	return nil
}

// kill ends the session as a broken network does, and leave in good order.
func (d *device) kill()  { d.end((*door.Socket).Kill) }
func (d *device) leave() { d.end((*door.Socket).Leave) }

func (d *device) end(how func(*door.Socket)) {
	if d.k == nil {
		return
	}
	how(d.k)
	d.k = nil
	d.r.record.add(judge.Event{Kind: judge.Unsubscribed, Who: "device", Session: d.name, Address: d.address})
}

// until reads until a message has come.
func (d *device) until(ctx context.Context, key string) error {
	return d.read(ctx, func(door.Frame) bool {
		_, ok := d.came[key]
		return ok
	})
}

// read reads until enough has come.
func (d *device) read(ctx context.Context, enough func(door.Frame) bool) error {
	ctx, cancel := context.WithTimeout(ctx, d.r.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, d.k.Kill)
	defer stop()
	for f := (door.Frame{}); !enough(f); {
		var err error
		if f, err = d.k.Read(); err != nil {
			return orElse(ctx.Err(), err)
		}
		if m := f.Message; m != nil && m.ToAck {
			key, origin := decompose(m.Data)
			d.came[key] = *m
			d.r.record.add(judge.Event{
				Kind: judge.Delivered, Who: "device", Session: d.name, Address: m.To, Key: key, Origin: origin, Digest: digest(m.Data), Position: m.Position,
				Redelivered: m.Redelivered, Inbox: true,
			})
		}
	}
	return nil
}

// ack acknowledges a message, and waits for the answer.
func (d *device) ack(ctx context.Context, key string) error {
	began := time.Now()
	id, err := d.k.Ack(d.address, d.came[key].ID)
	if err != nil {
		return err
	}
	var refused error
	if err := d.read(ctx, func(f door.Frame) bool {
		refused = f.Err
		return f.ID == id && (f.Acked > 0 || f.Err != nil)
	}); err != nil {
		return err
	}
	if refused != nil {
		return fmt.Errorf("acknowledge a message: %w", refused)
	}
	d.r.record.took(ackTime, time.Since(began))
	d.r.record.add(judge.Event{Kind: judge.Acked, Who: "device", Address: d.address, Key: key})
	return nil
}

// missed notes that a message did not come, if the server was there.
func (d *device) missed(id, key string, err error) error {
	if d.k != nil && err == context.DeadlineExceeded { //nolint:errorlint // as read returns it
		d.r.book.broke(id, 1, "%s did not come within %s of the connect", key, d.r.Timeout)
		return nil
	}
	return err
}

// receipt asks what became of a message.
func (r *run) receipt(ctx context.Context, id string) (publishv1.DeliveryState, error) {
	resp := &publishv1.GetReceiptResponse{}
	credential, err := r.publisher(ctx)
	if err != nil {
		return 0, err
	}
	err = r.repeated(ctx, func(ctx context.Context) error {
		return r.server.Do(ctx, credential, http.MethodGet, "/v1/users/"+r.user()+"/receipts/"+id, nil, resp)
	})
	return resp.GetReceipt().GetState(), err
}

// stored waits until the receipt says so, and notes how far that is off the time.
func (r *run) stored(ctx context.Context, id string, answered time.Time) error {
	for {
		state, err := r.receipt(ctx, id)
		off := time.Since(answered) - due
		switch {
		case err != nil:
			return err
		case state == publishv1.DeliveryState_DELIVERY_STATE_STORED:
			r.book.took("acks.stored", max(off, -off), "the receipt of "+id)
			return nil
		case off > ackSlack+grace:
			r.book.took("acks.stored", off, "the receipt of "+id+" still reads "+state.String()+" after")
			return nil
		}
		if !wait(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// acknowledged sees that the receipt says so.
func (r *run) acknowledged(ctx context.Context, id string) error {
	r.book.looked("acks.acked", 1)
	for end := time.Now().Add(grace); ; {
		state, err := r.receipt(ctx, id)
		if err != nil || state == publishv1.DeliveryState_DELIVERY_STATE_ACKED {
			return err
		}
		if time.Now().After(end) {
			r.book.broke("acks.acked", 1, "the receipt of %s reads %s, %s after the ack", id, state, grace)
			return nil
		}
		if !wait(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// cleanInbox acknowledges what a broken round has left.
func (r *run) cleanInbox(ctx context.Context) {
	if !r.rights.issue || !r.book.wants("acks") {
		return
	}
	address := "users/" + r.user()
	t, err := r.issue(ctx, "device", r.user(), 0)
	if err == nil {
		var ids []string
		if ids, err = r.server.Inbox(ctx, t.GetToken(), address); err == nil && len(ids) > 0 {
			err = r.server.Do(ctx, t.GetToken(), http.MethodPost, "/v1/"+address+"/inbox:ack", &publishv1.AckMessagesRequest{Ids: ids}, nil)
		}
	}
	if err != nil {
		r.leave("the inbox of %s, until its messages expire: %s", address, door.Short(err))
	}
}
