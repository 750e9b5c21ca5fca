package rooms

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// conversation is the protocol on one connection.
type conversation struct {
	cfg       SocketConfig
	conn      dialect.Conn
	follower  dialect.Follower
	publisher dialect.Publisher
	pool      bus.Address

	connection string        // its id; set by Start
	base       *bus.Identity // whose grants it has; set by Start
	self       atomic.Pointer[self]
}

// self is the id that a connection goes by at present.
type self struct {
	text   string
	name   string // of its client
	former []former
}

// former is an id that a connection went by before.
type former struct {
	name  string
	until time.Time
}

// maxFormer is how many former ids are known: messages and acks may have been under way when the id changed.
const maxFormer = 4

// become returns the self after a change of the id.
func (s *self) become(text string) *self {
	all := append(slices.Clone(s.former), former{s.name, time.Now()})
	if len(all) > maxFormer {
		all = all[1:]
	}
	return &self{text: text, name: dialect.Identity(text), former: all}
}

// hasOwn says whether the connection has a copy of its own of a message that is addressed to a client. It has one when it
// goes by that id, or did so when the message was published.
func (s *self) hasOwn(client string, published time.Time) bool {
	return client == s.name || slices.ContainsFunc(s.former, func(f former) bool {
		return f.name == client && published.Before(f.until)
	})
}

// addressOf returns the address of a client, whose name is one.
func addressOf(name string) bus.Address {
	a, _ := bus.NewAddress(bus.KindClients, name)
	return a
}

// Start takes the id of the token, or the fresh one. A client that may not be in the room is sent away.
func (c *conversation) Start(context.Context) {
	c.connection, c.base = c.conn.ID(), c.conn.Identity()
	c.self.Store(&self{text: dialect.IdentityText(c.base.Client), name: c.base.Client})
	if !c.follower.Subscribed(c.pool) {
		c.conn.Refuse(bus.ErrPermissionDenied.With("these credentials do not allow the room; a token needs subscribe, presence and publish on "+
			c.pool.String(), map[string]string{"address": c.pool.String()}))
	}
}

// Receive carries out a command. Only what fails is answered.
func (c *conversation) Receive(ctx context.Context, op dialect.Opcode, data []byte) {
	if op == dialect.Binary {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	cmd, err := parse(data)
	if err == nil {
		switch cmd.Name {
		case cmdNewID:
			err = c.tellID(ctx)
		case cmdSetID:
			err = c.setID(ctx, cmd)
		case cmdAck:
			err = c.ack(cmd)
		default:
			err = c.send(ctx, op, cmd)
		}
	}
	if err != nil {
		c.conn.Write(dialect.Text, refusalOf(err))
	}
}

// tellID tells the connection's id to every connection that has it.
func (c *conversation) tellID(ctx context.Context) error {
	me := c.self.Load()
	id := appendText(nil, me.text)
	_, err := c.publisher.Publish(ctx, &publishv1.PublishRequest{
		To: addressOf(me.name).String(), Data: id, Attributes: map[string]string{attrEvent: sayClientID},
	})
	if errors.Is(err, bus.ErrPublishDenied) { // the token lets it write to others, or to nobody
		c.conn.Write(dialect.Text, frame(nil, "", dialect.Text, sayClientID, id, me.text))
		return nil
	}
	return err
}

// setID gives the connection another id. What waits for that id is delivered.
func (c *conversation) setID(ctx context.Context, cmd command) error {
	text, err := cmd.text()
	if err != nil {
		return err
	}
	old := c.self.Load()
	next := old.become(text)
	if next.name == old.name {
		return nil
	}
	if c.cfg.BindIDs && next.name != c.base.Client && next.name != c.base.User {
		return bus.ErrPermissionDenied.With("this id is not that of the connection's token", nil)
	}
	who := *c.base
	who.Client = next.name
	c.self.Store(next) // from now on, bystanders' copies of what is written to it are left out
	if err := c.conn.Become(ctx, &who); err != nil {
		c.self.Store(old)
		return err
	}
	return nil
}

// ack acknowledges a message of one of the connection's own addresses. An id that is unknown, such as that of a bystander's
// copy, is ignored.
func (c *conversation) ack(cmd command) error {
	text, err := cmd.text()
	if err != nil {
		return err
	}
	id, ok := messageID(text)
	if !ok {
		return nil
	}
	own := c.conn.Identity().Own()
	for _, f := range c.self.Load().former {
		if a := addressOf(f.name); !slices.Contains(own, a) {
			own = append(own, a)
		}
	}
	for _, a := range own {
		if a.HasInbox() {
			c.publisher.Ack(a, id)
		}
	}
	return nil
}

// send publishes a message: to its addressee, who is to acknowledge it, and to everybody else if it is for them too.
func (c *conversation) send(ctx context.Context, op dialect.Opcode, cmd command) error {
	to, err := cmd.addressee()
	if err != nil {
		return err
	}
	if n := len(cmd.Data); int64(n) > c.cfg.MaxMessage {
		return bus.ErrMessageTooLarge.With(fmt.Sprintf("the data has %d bytes, the limit is %d", n, c.cfg.MaxMessage),
			map[string]string{"setting": "legacy.rooms.max_message"})
	}
	attributes := map[string]string{attrCommand: cmd.Name}
	if op == dialect.Binary {
		attributes[attrType] = "2"
	}
	if me := c.self.Load(); dialect.IdentityText(me.name) != me.text {
		attributes[attrSender] = me.text
	}
	pool := &publishv1.PublishRequest{To: c.pool.String(), Data: cmd.Data, Attributes: attributes}
	if to == "" {
		_, err := c.publisher.Publish(ctx, pool)
		return err
	}
	name := dialect.Identity(to)
	ack := &publishv1.AckPolicy{}
	if c.cfg.AckTimeout > 0 {
		ack.Timeout = durationpb.New(c.cfg.AckTimeout)
	}
	if c.cfg.Keep > 0 {
		ack.Keep = durationpb.New(c.cfg.Keep)
	}
	_, kept := c.publisher.Publish(ctx, &publishv1.PublishRequest{
		To: string(bus.KindClients) + "/" + name, Data: cmd.Data, Attributes: attributes, Ack: ack,
	})
	full := errors.Is(kept, bus.ErrInboxFull)
	if c.cfg.Addressed || kept != nil && !full {
		return kept
	}
	if !full { // otherwise the addressee has a copy as everybody has
		pool.Attributes = maps.Clone(attributes)
		pool.Attributes[attrTo] = name
	}
	_, err = c.publisher.Publish(ctx, pool)
	return cmp.Or(kept, err)
}

// Message appends the frame of a message. The addressee of a message has a copy of its own, and no bystander's.
func (c *conversation) Message(dst []byte, m *bus.Message) (dialect.Opcode, []byte) {
	data := dataOf(m)
	if text := ""; m.Attributes[attrEvent] == sayClientID && json.Unmarshal(data, &text) == nil {
		return dialect.Text, frame(dst, "", dialect.Text, sayClientID, data, text)
	}
	id := wireID(m.ID)
	if m.To == c.pool {
		if to, ok := m.Attributes[attrTo]; ok && c.self.Load().hasOwn(to, m.Published) {
			return dialect.Text, nil
		}
		id = copyID(m.ID, c.connection)
	}
	name := m.Attributes[attrCommand]
	if name == "" || ofServer(name) { // from whatever door it came
		name = cmdAuthor
	}
	return dialect.Text, frame(dst, id, opcodeOf(m), name, data, senderOf(m))
}

// Event appends the frame that tells of presence, or of a refusal. Everything else the protocol has no words for.
func (c *conversation) Event(dst []byte, f *edgev1.ServerFrame) []byte {
	switch e := f.GetEvent().(type) {
	case *edgev1.ServerFrame_PresenceEvent:
		say := sayNewUser
		if changes := e.PresenceEvent.GetChanges(); len(changes) > 0 && changes[0].GetKind() == publishv1.PresenceChange_KIND_LEFT {
			say = sayDisconnected
		}
		return frame(dst, "", dialect.Text, say, []byte("null"), "")
	case *edgev1.ServerFrame_Error:
		return refusal(dst, e.Error.GetReason(), e.Error.GetMessage())
	}
	return nil
}

// Tick says nothing.
func (*conversation) Tick(time.Time) []byte { return nil }
