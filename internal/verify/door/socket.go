package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/refusal"
)

// Socket is one WebSocket connection that is connected. One goroutine reads, and one writes.
type Socket struct {
	conn *websocket.Conn
	next uint32

	// Subscribed are the answers to the subscriptions of the connect.
	Subscribed []Subscribed
	// Own is where the own addresses stand.
	Own map[string]Subscribed
}

// Frame is what came.
type Frame struct {
	Event
	// ID is the id of the command that the frame answers.
	ID uint32
	// Published is the answer to a publish, Acked to an ack, and Err a refusal.
	Published *Answer
	Acked     int
	Err       error
}

// frame is what a server sends, as far as it is read here.
type frame struct {
	ID        uint32
	Message   *received
	Connected *struct {
		Subscriptions []struct {
			Subscribed *subscribed
			Error      *failure
		}
		Own []subscribed
	}
	Subscribed    *subscribed
	Published     *published
	Gap           *told
	Acked         *struct{ Acked int }
	PresenceEvent *presence
	Error         *failure
}

type received struct {
	ID, To, Data             string
	Position                 *position
	Redelivered, AckRequired bool
}

func (r *received) message() *Message {
	return &Message{ID: r.ID, To: r.To, Data: r.Data, Position: r.Position.judge(), Redelivered: r.Redelivered, ToAck: r.AckRequired}
}

type subscribed struct {
	Address   string
	Position  *position
	Recovered bool
}

func (s *subscribed) event() Subscribed {
	return Subscribed{Address: s.Address, Position: s.Position.judge(), Recovered: s.Recovered}
}

type told struct {
	Address   string
	After, To *position
	Reason    string
}

func (t *told) gap() *Gap {
	return &Gap{Address: t.Address, After: t.After.judge(), To: t.To.judge(), Reason: t.Reason}
}

type presence struct {
	Changes []struct {
		Kind   string
		Member struct{ Client string }
	}
}

func (p *presence) changes() (all []Change) {
	for _, c := range p.Changes {
		all = append(all, Change{Client: c.Member.Client, Joined: c.Kind == "KIND_JOINED"})
	}
	return all
}

// Place asks for an address, after a position of it.
type Place struct {
	Address  string
	After    *Subscribed
	Presence bool
}

type command struct {
	ID          uint32       `json:"id"`
	Connect     *connect     `json:"connect,omitempty"`
	Subscribe   *place       `json:"subscribe,omitempty"`
	Unsubscribe *place       `json:"unsubscribe,omitempty"`
	Publish     *publication `json:"publish,omitempty"`
	Ack         *ack         `json:"ack,omitempty"`
}

type connect struct {
	Token         string  `json:"token"`
	Name          string  `json:"name,omitempty"`
	Subscriptions []place `json:"subscriptions,omitempty"`
}

type place struct {
	Address  string    `json:"address"`
	After    *position `json:"after,omitempty"`
	Presence bool      `json:"presence,omitempty"`
}

type ack struct {
	Address string   `json:"address"`
	IDs     []string `json:"ids"`
}

// Open connects with a token, and subscribes. It ends with an error when a subscription is refused.
func (s *Server) Open(ctx context.Context, token string, places ...Place) (*Socket, error) {
	at := *s.base
	at.Scheme = strings.Replace(at.Scheme, "http", "ws", 1)
	at.Path += "/v1/ws"
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, TLSClientConfig: s.tls, Subprotocols: []string{"trunkline.v1.json"}}
	conn, resp, err := d.DialContext(ctx, at.String(), nil) //nolint:bodyclose // the dialer has read it into memory
	if err != nil {
		if resp != nil {
			content, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
			return nil, ofREST(resp.StatusCode, resp.Header, content)
		}
		return nil, fmt.Errorf("connect to %s: %w", s.base.Host, err)
	}
	k := &Socket{conn: conn, next: 1, Own: map[string]Subscribed{}}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = k.connect(token, places)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return k, nil
}

func (k *Socket) connect(token string, places []Place) error {
	c := &connect{Token: token, Name: "trunkline verify"}
	for _, p := range places {
		c.Subscriptions = append(c.Subscriptions, p.wire())
	}
	if err := k.conn.WriteJSON(command{ID: 1, Connect: c}); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	f, err := k.read()
	switch {
	case err != nil:
		return err
	case f.Error != nil:
		return f.Error.refused()
	case f.Connected == nil:
		return errors.New("the answer to connect is another frame")
	}
	for _, r := range f.Connected.Subscriptions {
		if r.Error != nil {
			return r.Error.refused()
		}
		k.Subscribed = append(k.Subscribed, r.Subscribed.event())
	}
	for _, o := range f.Connected.Own {
		k.Own[o.Address] = o.event()
	}
	return nil
}

func (p Place) wire() place {
	w := place{Address: p.Address, Presence: p.Presence}
	if p.After != nil {
		w.After = spelled(p.After.Position)
	}
	return w
}

func (k *Socket) read() (*frame, error) {
	_, b, err := k.conn.ReadMessage()
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok && closed.Code >= 4000 { // the codes of applications
		return nil, &Refused{Reason: closed.Text, Message: "the server closed the connection", Again: refusal.OfClose(closed.Code) == refusal.Again}
	}
	if err != nil {
		return nil, err
	}
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("read a frame: %w", err)
	}
	return &f, nil
}

// Read returns the next frame.
func (k *Socket) Read() (Frame, error) {
	f, err := k.read()
	if err != nil {
		return Frame{}, err
	}
	got := Frame{ID: f.ID}
	switch {
	case f.Message != nil:
		got.Message = f.Message.message()
	case f.Gap != nil:
		got.Gap = f.Gap.gap()
	case f.Subscribed != nil:
		s := f.Subscribed.event()
		got.Subscribed = &s
	case f.Published != nil:
		a := f.Published.answer()
		got.Published = &a
	case f.PresenceEvent != nil:
		got.Changes = f.PresenceEvent.changes()
	case f.Acked != nil:
		got.Acked = f.Acked.Acked
	case f.Error != nil:
		got.Err = f.Error.refused()
	}
	return got, nil
}

func (k *Socket) send(c command) (uint32, error) {
	k.next++
	c.ID = k.next
	_ = k.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return c.ID, k.conn.WriteJSON(c)
}

// Ack acknowledges a message, and returns the id of the command.
func (k *Socket) Ack(address string, ids ...string) (uint32, error) {
	return k.send(command{Ack: &ack{Address: address, IDs: ids}})
}

// Subscribe asks for an address, and returns the id of the command.
func (k *Socket) Subscribe(p Place) (uint32, error) {
	w := p.wire()
	return k.send(command{Subscribe: &w})
}

// Publish publishes, and waits for the answer. Whatever else comes is passed over, so the socket is for publishing alone.
func (k *Socket) Publish(ctx context.Context, p Publication) (Answer, error) {
	deadline, _ := ctx.Deadline()
	_ = k.conn.SetReadDeadline(deadline)
	id, err := k.send(command{Publish: written(p)})
	if err != nil {
		return Answer{}, err
	}
	for {
		f, err := k.Read()
		switch {
		case err != nil:
			return Answer{}, err
		case f.Err != nil && f.ID != id: // the connection ends
			return Answer{}, fmt.Errorf("the connection ends: %w", &Refused{Reason: "UNAVAILABLE", Message: f.Err.Error(), Again: true})
		case f.ID != id:
		case f.Err != nil:
			return Answer{}, f.Err
		case f.Published != nil:
			return *f.Published, nil
		}
	}
}

// Leave ends the connection in good order.
func (k *Socket) Leave() {
	_ = k.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	_ = k.conn.Close()
}

// Kill ends the connection as a broken network does. It may be called at any time.
func (k *Socket) Kill() { _ = k.conn.Close() }
