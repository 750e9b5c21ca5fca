package pushserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// conversation is the protocol on one connection.
type conversation struct {
	conn     dialect.Conn
	follower dialect.Follower
	uuid     string // the client's id; set by Start, before a message is given

	mu       sync.Mutex // guards what follows: Message and Event come while Receive is at it
	names    map[bus.Address]string
	channels []string // the names in the order of the subscriptions
}

// Start tells the client who it is.
func (c *conversation) Start(context.Context) {
	c.uuid = c.conn.Identity().Client
	if !uuidForm.MatchString(c.uuid) {
		c.conn.Refuse(bus.ErrTokenInvalid.With("the client of the token is not a UUID, which the protocol needs", map[string]string{"field": "client"}))
		return
	}
	c.answer("Connected")
}

// answer says what was done and how the client stands.
func (c *conversation) answer(done string) {
	c.mu.Lock()
	f := frame{Type: "CLIENT_ACK", Code: http.StatusOK, Message: done, Data: standing{UUID: c.uuid, Channels: append([]string{}, c.channels...)}}
	c.mu.Unlock()
	c.write(f)
}

func (c *conversation) write(f frame) { c.conn.Write(dialect.Text, f.appendTo(nil)) }

// refuse answers with what went wrong, in the words of the protocol where it has some.
func (c *conversation) refuse(err error, channel string) {
	var e *bus.Error
	if !errors.As(err, &e) {
		e = bus.ErrInternal
	}
	if errors.Is(e, bus.ErrChannelNotFound) {
		e = e.With(`Could not find a WebSocketChannel called "`+channel+`"`, nil)
	}
	c.write(refused(e))
}

// Receive carries out a command. Binary frames are ignored.
func (c *conversation) Receive(ctx context.Context, op dialect.Opcode, data []byte) {
	if op != dialect.Text {
		return
	}
	do, err := parse(data)
	switch {
	case errors.Is(err, errIgnored):
		return
	case err != nil:
		c.write(failure(http.StatusBadRequest, err.Error(), string(data)))
		return
	}
	if do.uuid != "" && !strings.EqualFold(do.uuid, c.uuid) {
		c.forbid(ctx, do.uuid)
		return
	}
	a, err := bus.NewAddress(bus.KindChannels, dialect.Name(do.channel))
	if err != nil {
		c.refuse(err, do.channel)
		return
	}
	// Before the channel is looked for: whether it is there is not for everybody to know.
	if err := c.conn.Identity().Check(bus.Subscribe, a); err != nil {
		c.refuse(err, do.channel)
		return
	}
	if do.subscribe {
		c.subscribe(ctx, a, do.channel)
	} else {
		c.unsubscribe(ctx, a, do.channel)
	}
}

// forbid refuses a command in the name of somebody else.
func (c *conversation) forbid(ctx context.Context, uuid string) {
	details := "The given UUID does not belong to any WebSocket connection"
	for _, name := range []string{strings.ToLower(uuid), uuid} {
		there, err := c.follower.Listed(ctx, bus.PushClients, name)
		if err != nil {
			c.refuse(err, "")
			return
		}
		if there {
			details = "The given UUID does not belong to this WebSocket connection"
			break
		}
	}
	c.write(failure(http.StatusForbidden, "Forbidden", details))
}

// subscribe follows a channel that was created. It looks once more when it follows it: a channel that is deleted from
// then on is told by Event.
func (c *conversation) subscribe(ctx context.Context, a bus.Address, name string) {
	if c.subscribed(a) {
		c.answer("Subscribed")
		return
	}
	if err := c.follower.Created(ctx, a); err != nil {
		c.refuse(err, name)
		return
	}
	var gone error
	err := c.follower.Subscribe(ctx, dialect.Follow{Address: a}, func() {
		if gone = c.follower.Created(ctx, a); gone != nil {
			return
		}
		c.mu.Lock()
		c.names[a] = name
		c.channels = append(c.channels, name)
		c.mu.Unlock()
		c.answer("Subscribed")
	})
	if err == nil && gone != nil {
		c.follower.Unsubscribe(a)
		err = gone
	}
	if err != nil {
		c.refuse(err, name)
	}
}

func (c *conversation) unsubscribe(ctx context.Context, a bus.Address, name string) {
	if c.subscribed(a) {
		c.forget(a)
		c.follower.Unsubscribe(a)
	} else if err := c.follower.Created(ctx, a); err != nil {
		c.refuse(err, name)
		return
	}
	c.answer("Unsubscribed")
}

func (c *conversation) subscribed(a bus.Address) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.names[a]
	return ok
}

// forget takes a channel from the list.
func (c *conversation) forget(a bus.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok := c.names[a]
	if !ok {
		return
	}
	delete(c.names, a)
	c.channels = slices.DeleteFunc(c.channels, func(s string) bool { return s == name })
}

// Message writes a push. What comes to other addresses than those of subscribed channels, the protocol has no words for.
func (c *conversation) Message(dst []byte, m *bus.Message) (dialect.Opcode, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok := c.names[m.To]
	if !ok {
		return dialect.Text, nil
	}
	f := frame{Type: "CLIENT_PUSH", Code: http.StatusOK, Message: "Push Message", Data: standing{
		UUID: c.uuid, Channels: c.channels, Push: &push{Channel: name, Message: textOf(m)},
	}}
	return dialect.Text, f.appendTo(dst)
}

// Event forgets a deleted channel in silence, and tells why a connection ends; of the rest the protocol knows nothing.
func (c *conversation) Event(dst []byte, f *edgev1.ServerFrame) []byte {
	switch e := f.GetEvent().(type) {
	case *edgev1.ServerFrame_Unsubscribed:
		if a, err := bus.ParseAddress(e.Unsubscribed.GetAddress()); err == nil {
			c.forget(a)
		}
	case *edgev1.ServerFrame_Error:
		return refused(&bus.Error{
			Reason: e.Error.GetReason(), Message: e.Error.GetMessage(), RetryAfter: e.Error.GetRetryDelay().AsDuration(),
		}).appendTo(dst)
	}
	return nil
}

// Tick has nothing to say.
func (*conversation) Tick(time.Time) []byte { return nil }
