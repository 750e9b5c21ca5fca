package facility

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// heartbeatEvery is how often a heartbeat is due. Ticks come about every second, so one is sent at least every four.
const heartbeatEvery = 3*time.Second - 100*time.Millisecond

// talk is one socket.
type talk struct {
	socket    *Socket
	conn      dialect.Conn
	follower  dialect.Follower
	publisher dialect.Publisher
	states    dialect.States
	wishes    wishes
	to        []bus.Address // of what the client sends; set by Start
	from      []bus.Address // of what it hears; set by Start
	beat      time.Time     // of the last heartbeat; Tick's own

	mu   sync.Mutex
	said sent // the last frame of the client
}

// sent remembers one frame.
type sent struct {
	any    bool
	length int
	sum    [sha256.Size]byte
}

// Start notes the audiences of what the client sends, and those of what it hears: what it asked for and does not hear comes last.
func (t *talk) Start(context.Context) {
	t.to = t.wishes.addresses(t.conn.Identity(), t.wishes.publish)
	t.from = t.wishes.addresses(t.conn.Identity(), t.wishes.subscribe)
	slices.SortStableFunc(t.from, func(a, b bus.Address) int {
		switch heard := t.follower.Subscribed(a); {
		case heard == t.follower.Subscribed(b):
			return 0
		case heard:
			return -1
		}
		return 1
	})
}

// Receive publishes a frame to every audience that the client has, in their order. When it returns, everything is stored:
// frames, and the close frame too, are read one after the other.
func (t *talk) Receive(ctx context.Context, _ dialect.Opcode, data []byte) {
	if beat := t.socket.cfg.Heartbeat; beat != "" && string(data) == beat {
		t.remember(sent{})
		return
	}
	if t.command(ctx, data) {
		return
	}
	if t.wishes.state && isStateFrame(data) {
		t.conn.Write(dialect.Text, t.stateFrame(ctx, data))
		return
	}
	if !t.wishes.echo {
		t.remember(sent{any: true, length: len(data), sum: sha256.Sum256(data)})
	}
	kind := publishv1.ContentType_CONTENT_TYPE_TEXT
	if !utf8.Valid(data) {
		kind = publishv1.ContentType_CONTENT_TYPE_BINARY
	}
	for _, a := range t.to {
		_, err := t.publisher.Publish(ctx, &publishv1.PublishRequest{
			To: a.String(), Data: data, ContentType: kind, Retain: durationpb.New(t.socket.cfg.Expire),
		})
		switch {
		case err == nil:
		case refusedHere(err): // dropped silently, as it always was
		default:
			t.conn.Refuse(refusal(err)) // the client comes back, and knows that it has to send it again
			return
		}
	}
}

func (t *talk) remember(s sent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = s
}

// isEcho says whether the client has sent the same bytes last.
func (t *talk) isEcho(data []byte) bool {
	t.mu.Lock()
	said := t.said
	t.mu.Unlock()
	return said.any && said.length == len(data) && said.sum == sha256.Sum256(data)
}

// Message appends the data as it is: as text where it is, and in a binary frame otherwise.
func (t *talk) Message(dst []byte, m *bus.Message) (dialect.Opcode, []byte) {
	if revision, ok := m.Attributes[stateAttribute]; ok {
		return dialect.Text, t.stateChange(dst, revision, m.Data)
	}
	if t.isEcho(m.Data) {
		return 0, nil
	}
	op := dialect.Text
	if m.ContentType == bus.Binary && !utf8.Valid(m.Data) {
		op = dialect.Binary
	}
	return op, append(dst, m.Data...)
}

// Event says nothing: the protocol has no words for anything but messages.
func (t *talk) Event([]byte, *edgev1.ServerFrame) []byte { return nil }

// Tick returns a heartbeat when one is due.
func (t *talk) Tick(now time.Time) []byte {
	if t.socket.cfg.Heartbeat == "" || now.Sub(t.beat) < heartbeatEvery {
		return nil
	}
	t.beat = now
	return []byte(t.socket.cfg.Heartbeat)
}

// stateFrame carries a frame out and returns the answer.
func (t *talk) stateFrame(ctx context.Context, data []byte) []byte {
	s, err := t.askState(ctx, data)
	if err != nil {
		e := refusal(err)
		return stateAnswer{Error: e.Reason, Message: e.Message}.append(nil)
	}
	return stateAnswer{Revision: s.GetRevision(), Value: s.GetData()}.append(nil)
}

func (t *talk) askState(ctx context.Context, data []byte) (*publishv1.State, error) {
	var f stateFrame
	if err := json.Unmarshal(data, &f); err != nil || f.State == nil {
		return nil, bus.ErrInvalidJSON.With("the frame is not {\"trunkline-state\":{…}}", nil)
	}
	if f.State.Merge == nil {
		if len(t.from) == 0 {
			return nil, bus.ErrSubscribeDenied.With("the socket follows no audience", nil)
		}
		return t.states.State(ctx, t.from[0])
	}
	if len(t.to) == 0 {
		return nil, bus.ErrPublishDenied.With("the socket publishes to no audience", nil)
	}
	return t.states.UpdateState(ctx, &publishv1.UpdateStateRequest{
		Address: t.to[0].String(), Data: f.State.Merge, Revision: f.State.Revision, IdempotencyKey: f.State.Key,
	})
}

// stateChange appends what a change is to a socket that speaks of states; nil to others, which know of none.
func (t *talk) stateChange(dst []byte, revision string, patch []byte) []byte {
	n, err := strconv.ParseUint(revision, 10, 64)
	if err != nil || !t.wishes.state {
		return nil
	}
	return stateAnswer{Revision: n, Merge: patch}.append(dst)
}

// command carries out a command frame; false when it is none.
func (t *talk) command(ctx context.Context, data []byte) bool {
	if t.socket.cfg.Commands == nil || len(data) == 0 || data[0] != '{' {
		return false
	}
	var f commandFrame
	if json.Unmarshal(data, &f) != nil || f.Command == nil {
		return false
	}
	f.Result, f.Error = nil, nil
	var err error
	if f.Result, err = t.run(ctx, *f.Command); err != nil {
		e := bus.ErrInternal
		errors.As(t.socket.cfg.Refusal(err), &e)
		f.Error = &refused{Reason: e.Reason, Message: e.Message}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(f) == nil {
		t.conn.Write(dialect.Text, bytes.TrimSuffix(out.Bytes(), []byte("\n")))
	}
	return true
}

// run runs a store command on the values of the session, or of the connection that has none.
func (t *talk) run(ctx context.Context, command string) (any, error) {
	who := *t.conn.Identity()
	if who.Client == "" {
		who.Client = t.conn.ID()
	}
	r, err := t.socket.cfg.Commands.RunCommand(rpc.WithPeer(ctx, who.Peer), &legacyv1.RunCommandRequest{Command: command, Owner: who.ValueOwner()})
	if err != nil {
		return nil, err
	}
	switch v := r.GetResult().(type) {
	case *legacyv1.RunCommandResponse_Text:
		return v.Text, nil
	case *legacyv1.RunCommandResponse_Number:
		return v.Number, nil
	}
	return nothing, nil
}
