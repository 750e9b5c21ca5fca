package app_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// What a method, a frame or a field is, as far as writing goes.
const (
	writes = "writes what a caller chose to an address of its choice: there is a way in the table"
	reads  = "writes nothing of a caller's"
	ours   = "writes what its scope is for; or for its caller alone"
	older  = "has a test of its own: TestWrites_olderRoutes"
	target = "names an address that is written to: there is a way in the table"
	text   = "names no address that is written to"
)

// methods says what every RPC is. One that is not here fails the test: say what it is, and give it a way in the table when it
// writes.
var methods = map[string]string{
	"PublishService.Publish": writes, "PublishService.BatchPublish": writes, "PublishService.PublishStream": writes,
	"StateService.UpdateState": writes, "StateService.DeleteState": writes,
	"PublishService.CreateStreamTicket": ours,
	"PublishService.Consume":            reads, "PublishService.Subscribe": reads, "PublishService.GetReceipt": reads, "PublishService.WatchReceipts": reads,
	"StateService.GetState": reads, "InboxService.ListInbox": reads, "InboxService.GetInboxStats": reads, "InboxService.AckMessages": ours,
	"ChannelService.CreateChannel": ours, "ChannelService.DeleteChannel": ours, "ChannelService.GetChannel": reads,
	"ChannelService.ListChannels": reads, "ChannelService.ListMessages": reads, "ChannelService.ListMembers": reads,
	"AuthService.IssueToken": ours, "AuthService.ValidateToken": reads, "AuthService.BatchValidateTokens": reads,
	"AuthService.RefreshToken": ours, "AuthService.RevokeToken": ours, "AuthService.GetKeySet": reads, "AuthService.RefreshKeySets": ours,
	"AdminService.ListNodes": reads, "AdminService.ExplainDelivery": reads,
	"EventService.WatchEvents": reads,
	// These are services of the user, which Trunkline calls.
	"AuthorizerService.AuthorizeConnect": reads, "AuthorizerService.AuthorizeSubscribe": reads, "AuthorizerService.AuthorizePublish": reads,
	"AuthorizerService.AuthorizeDeliver": reads,
	"RelayService.PublishArticle":        older, "PushServerService.PushMessage": older, "CommandService.RunCommand": older,
	"RelayService.CreateRelayToken": ours, "RelayService.CheckRelayToken": reads,
	"PushServerService.CreatePushChannel": ours, "PushServerService.CheckPushChannel": reads, "PushServerService.DeletePushChannel": ours,
	"PushServerService.GetPushStatistics": reads,
	"FacilityService.RegisterSession":     ours, "FacilityService.UnregisterSession": ours, "RoomsService.NextRoomID": ours,
}

// frames says what every command of a socket is.
var frames = map[string]string{
	"connect": reads, "subscribe": reads, "unsubscribe": reads, "publish": writes, "history": reads, "presence": reads, "refresh": reads,
	"ping": reads, "ack": ours,
}

// fields says what every text in a request is that writes.
var fields = map[string]string{
	"PublishRequest.to": target, "AckPolicy.dead_letter": target, "UpdateStateRequest.address": target, "DeleteStateRequest.address": target,
	"PublishRequest.recipients": text, "PublishRequest.attributes": text, "PublishRequest.idempotency_key": text, "PublishRequest.exclude_connection": text,
	"AckPolicy.collapse_key": text, "Sender.client": text, "Sender.user": text, "UpdateStateRequest.idempotency_key": text,
}

// conversations says what a dialect of the older kind can do.
var conversations = map[string]string{
	"Publish": writes, "UpdateState": writes, "State": reads, "Subscribe": reads, "Unsubscribe": reads, "Subscribed": reads, "Created": reads,
	"Listed": reads, "Ack": ours, "Become": reads, "Refuse": reads, "Write": reads, "ID": reads, "Identity": reads,
}

// Nothing that can write is left out of the table of TestWrites_areRefused, and nothing becomes able to write unnoticed.
func TestWrites_areAllKnown(t *testing.T) {
	covered := make(map[string]bool)
	for _, w := range ways() {
		covered[w.of] = true
	}
	known := func(what, name string, list map[string]string) {
		t.Helper()
		switch kind := list[name]; {
		case kind == "":
			t.Errorf("%s %s is not known: say whether it writes, and add a way to the table if it does", what, name)
		case (kind == writes || kind == target) && !covered[name]:
			t.Errorf("%s %s writes, and no way of the table goes by it", what, name)
		}
	}
	seen := make(map[protoreflect.FullName]bool)
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			if !strings.HasPrefix(string(s.FullName()), "trunkline.") {
				continue
			}
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				name := string(s.Name()) + "." + string(m.Name())
				known("the method", name, methods)
				if methods[name] == writes {
					eachText(m.Input(), seen, func(field string) { known("the field", field, fields) })
				}
			}
		}
		return true
	})
	commands := (&edgev1.ClientFrame{}).ProtoReflect().Descriptor().Oneofs().ByName("command").Fields()
	for i := range commands.Len() {
		known("the frame", string(commands.Get(i).Name()), frames)
	}
	for part := range reflect.TypeFor[dialect.Capabilities]().Fields() {
		for method := range part.Type.Methods() {
			known("a conversation's", method.Name, conversations)
		}
	}
}

// eachText calls f with each field of a message, and of those in it, that is text.
func eachText(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, f func(field string)) {
	if seen[m.FullName()] || !strings.HasPrefix(string(m.FullName()), "trunkline.") {
		return
	}
	seen[m.FullName()] = true
	for i := range m.Fields().Len() {
		switch field := m.Fields().Get(i); {
		case field.IsMap() || field.Kind() == protoreflect.StringKind:
			f(string(m.Name()) + "." + string(field.Name()))
		case field.Message() != nil:
			eachText(field.Message(), seen, f)
		}
	}
}

// way is one way for a client to write to an address.
type way struct {
	name string
	of   string // the method, frame, field or conversation that it covers
	// kind is of the addresses that it can name; channels unless set.
	kind bus.Kind
	// write tries it with a token, and returns the reason of the refusal; empty for OK.
	write func(h *writing, token, to string) string
	// state is set when it changes a state that is there, and silent when its protocol has no words for a refusal.
	state, silent bool
}

func ways() []way {
	publish := func(_ *writing, to string) *publishv1.PublishRequest {
		return &publishv1.PublishRequest{To: to, Data: []byte(`"forged"`)}
	}
	dead := func(h *writing, to string) *publishv1.PublishRequest {
		return &publishv1.PublishRequest{To: "users/" + h.me, Data: []byte(`"forged"`), Ack: &publishv1.AckPolicy{MaxDeliveries: 1, DeadLetter: to}}
	}
	list := []way{
		{name: "UpdateState", of: "StateService.UpdateState", state: true, write: (*writing).updateState},
		{name: "the address of UpdateState", of: "UpdateStateRequest.address", state: true, write: (*writing).updateState},
		{name: "DeleteState", of: "StateService.DeleteState", state: true, write: (*writing).deleteState},
		{name: "the address of DeleteState", of: "DeleteStateRequest.address", state: true, write: (*writing).deleteState},
		{name: "REST, a state", of: "StateService.UpdateState", state: true, write: func(h *writing, token, to string) string {
			return h.rest(token, to+"/state:merge", `{"data":{"forged":1}}`)
		}},
		{name: "REST, a message", of: "PublishService.Publish", write: func(h *writing, token, to string) string {
			return h.rest(token, to+":publish", `{"data":"forged"}`)
		}},
		{name: "an older socket, a message", of: "Publish", kind: bus.KindBroadcast, silent: true, write: func(h *writing, token, to string) string {
			return h.facility(token, to, `"forged"`)
		}},
		{name: "an older socket, a state", of: "UpdateState", kind: bus.KindBroadcast, write: func(h *writing, token, to string) string {
			return h.facility(token, to, `{"trunkline-state":{"merge":{"forged":1}}}`)
		}},
	}
	for name, req := range map[string]func(*writing, string) *publishv1.PublishRequest{"": publish, ", dead letters": dead} {
		field := "PublishRequest.to"
		if name != "" {
			field = "AckPolicy.dead_letter"
		}
		list = append(list,
			way{name: "Publish" + name, of: "PublishService.Publish", write: func(h *writing, token, to string) string { return h.publish(token, req(h, to)) }},
			way{name: "Publish, the field" + name, of: field, write: func(h *writing, token, to string) string { return h.publish(token, req(h, to)) }},
			way{name: "BatchPublish" + name, of: "PublishService.BatchPublish", write: func(h *writing, token, to string) string { return h.batch(token, req(h, to)) }},
			way{name: "PublishStream" + name, of: "PublishService.PublishStream", write: func(h *writing, token, to string) string { return h.stream(token, req(h, to)) }},
			way{name: "a frame" + name, of: "publish", write: func(h *writing, token, to string) string { return h.frame(token, req(h, to)) }},
		)
	}
	return list
}

// Whatever a client writes, and however, is refused without the grant, by the authorizer, and without a channel that has to be
// created. Then nothing is written.
func TestWrites_areRefused(t *testing.T) {
	h := startWrites(t)
	n := 0
	for _, w := range ways() {
		for what, reason := range map[string]string{
			"granted": "", "missing": "CHANNEL_PUBLISH_DENIED", "refused": "CHANNEL_PUBLISH_DENIED", "made": "CHANNEL_NOT_FOUND",
		} {
			if w.kind != "" && what == "made" {
				continue // only channels are created
			}
			t.Run(w.name+"/"+what, func(t *testing.T) {
				n++
				h := h.in(t, fmt.Sprint("me-", n))
				to := fmt.Sprintf("channels/%s:%d", what, n)
				if w.kind != "" {
					to = fmt.Sprintf("%s/topics/%s-%d", w.kind, what, n)
				}
				grants := []string{"users/" + h.me, to}
				if what == "missing" {
					grants[1] = "channels/other"
				}
				token := h.Token(t, &authv1.IssueTokenRequest{Client: h.me, User: h.me}, grants...)
				if w.state && what != "made" {
					_, err := h.states.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: to, Data: []byte(`{"before":1}`)})
					testkit.Check(t, err)
				}
				before := h.kept(t, to)
				got := w.write(h, token, to)
				if got != reason && !w.silent {
					t.Errorf("it was answered with %q, want %q", got, reason)
				}
				if after := h.kept(t, to); (after == before) != (reason != "") {
					t.Errorf("kept is %s, before it was %s", after, before)
				}
			})
		}
	}
}

// The older routes write for the holder of the channel's token, for keys with the scope, and for each its own.
func TestWrites_olderRoutes(t *testing.T) {
	h := startWrites(t)
	push := legacyPush(h, t)
	if got := push("wrong"); got != "PERMISSION_DENIED" {
		t.Errorf("PushMessage with another token: %q", got)
	}
	if got := h.article(""); got != "TOKEN_MISSING" {
		t.Errorf("PublishArticle by nobody: %q", got)
	}
	if got := h.command(h.Token(t, &authv1.IssueTokenRequest{Client: "me"}), "clients/other"); got != "FIELD_INVALID" {
		t.Errorf("RunCommand on another's values: %q", got)
	}
}

// An idempotency key is one client's, by whichever door it comes. What it repeats at another door is not sent twice, and nobody
// else's message meets it.
func TestWrites_keysAreThoseOfTheClient(t *testing.T) {
	system := startWrites(t)
	const to = "channels/keys"
	count := func() int {
		history, err := system.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: to})
		testkit.Check(t, err)
		return len(history.GetMessages())
	}
	req := func() *publishv1.PublishRequest {
		return &publishv1.PublishRequest{To: to, Data: []byte(`"paid"`), IdempotencyKey: "order-77"}
	}
	for n, who := range []string{"ada", "bob"} {
		h := system.in(t, who)
		token := h.Token(t, &authv1.IssueTokenRequest{Client: who, User: who}, to)
		for door, publish := range map[string]func() string{
			"Publish":       func() string { return h.publish(token, req()) },
			"BatchPublish":  func() string { return h.batch(token, req()) },
			"PublishStream": func() string { return h.stream(token, req()) },
			"a frame":       func() string { return h.frame(token, req()) },
			"REST":          func() string { return h.rest(token, to+":publish", `{"data":"paid","idempotencyKey":"order-77"}`) },
		} {
			if got := publish(); got != "" || count() != n+1 {
				t.Errorf("%s of %s: %q, and %d messages", door, who, got, count())
			}
		}
	}
}

// The keys of states are the client's too, by whichever door it comes: what it repeats changes nothing more, and nobody else's
// change meets it.
func TestWrites_stateKeysAreThoseOfTheClient(t *testing.T) {
	system := startWrites(t)
	const to = "broadcast/topics/keys"
	revision := func() uint64 {
		state, err := system.states.GetState(t.Context(), &publishv1.GetStateRequest{Address: to})
		testkit.Check(t, err)
		return state.GetState().GetRevision()
	}
	const key = "order-77"
	for n, who := range []string{"ada", "bob"} {
		h := system.in(t, who)
		token := h.Token(t, &authv1.IssueTokenRequest{Client: who, User: who}, to)
		for _, door := range []struct {
			name   string
			change func() string
		}{
			{"an older socket", func() string {
				return h.facility(token, to, `{"trunkline-state":{"merge":{"forged":1},"idempotencyKey":"`+key+`"}}`)
			}},
			{"UpdateState", func() string {
				s := publishv1.NewStateServiceClient(apptest.Dial(t, h.GRPC, token))
				_, err := s.UpdateState(t.Context(), &publishv1.UpdateStateRequest{Address: to, Data: []byte(`{"forged":1}`), IdempotencyKey: key})
				return reason(err)
			}},
			{"REST", func() string {
				return h.rest(token, to+"/state:merge", `{"data":{"forged":1},"idempotencyKey":"`+key+`"}`)
			}},
		} {
			if got := door.change(); got != "" || revision() != uint64(n+1) {
				t.Errorf("%s of %s: %q, and the revision is %d", door.name, who, got, revision())
			}
		}
	}
}

// A back end that speaks for several senders has keys for each of them: what one sends never swallows or blocks another's.
func TestWrites_keysOfABackEndAreThoseOfTheSenderItNames(t *testing.T) {
	h := startWrites(t)
	const to = "channels/spoken"
	send := func(client, body string) (bool, string) {
		resp, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{
			To: to, Data: []byte(body), IdempotencyKey: "order-77", Sender: &publishv1.Sender{Client: client},
		})
		return resp.GetDuplicate(), reason(err)
	}
	for _, step := range []struct {
		client, body string
		again        bool
		reason       string
	}{
		{"ada", `"a"`, false, ""},
		{"bob", `"a"`, false, ""},
		{"eve", `"e"`, false, ""},
		{"", `"n"`, false, ""},
		{"ada", `"a"`, true, ""},
		{"bob", `"b"`, false, "IDEMPOTENCY_MISMATCH"},
	} {
		if again, reason := send(step.client, step.body); again != step.again || reason != step.reason {
			t.Errorf("%+v: duplicate %v, %q", step, again, reason)
		}
	}
}
