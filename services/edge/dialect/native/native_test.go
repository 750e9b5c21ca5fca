package native_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

func messages(t *testing.T) map[string]bus.Message {
	t.Helper()
	to, err := bus.ParseAddress("users/42/topics/alerts")
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_123)
	return map[string]bus.Message{
		"least": {ID: "a", To: bus.Broadcast, Data: []byte(`{"a":[1,null,"x"]}`), ContentType: bus.JSON, Published: at},
		"most": {
			ID: `k"\`, To: to, From: bus.Sender{Client: "c", User: "u"}, Data: []byte("tab\tquote\"ü…"), ContentType: bus.Text,
			Attributes: map[string]string{"b": "2", "a": "<1>", "": ""}, Published: at, Expires: at.Add(time.Hour),
			Position: bus.Position{Epoch: "e", Offset: 1 << 60}, Redelivered: true, Ack: bus.EachDevice,
		},
		"binary":  {ID: "b", To: to, From: bus.Sender{User: "u"}, Data: []byte{0, 255, 10}, ContentType: bus.Binary, Published: at},
		"empty":   {ID: "c", To: to, ContentType: bus.JSON, Published: at},
		"no text": {ID: "d", To: to, ContentType: bus.Text, Published: at},
		"long":    {ID: "e", To: to, Data: []byte(strings.Repeat("x", 70_000)), ContentType: bus.Text, Published: at},
	}
}

func reference(m bus.Message) *edgev1.ServerFrame {
	p := &publishv1.Message{
		Id: m.ID, To: m.To.String(), Data: m.Data, Attributes: m.Attributes, PublishTime: timestamppb.New(m.Published), Redelivered: m.Redelivered, AckRequired: m.Ack != 0,
	}
	if m.From != (bus.Sender{}) {
		p.Sender = &publishv1.Sender{Client: m.From.Client, User: m.From.User}
	}
	if m.ContentType != bus.JSON {
		p.ContentType = publishv1.ContentType(m.ContentType)
	}
	if !m.Expires.IsZero() {
		p.ExpireTime = timestamppb.New(m.Expires)
	}
	if !m.Position.IsZero() {
		p.Position = &publishv1.Position{Epoch: m.Position.Epoch, Offset: m.Position.Offset}
	}
	return &edgev1.ServerFrame{Event: &edgev1.ServerFrame_Message{Message: p}}
}

// The encoders written by hand say the same as the generated types.
func TestMessage_agreesWithTheContract(t *testing.T) {
	for name, m := range messages(t) {
		t.Run(name, func(t *testing.T) {
			want := reference(m)
			got := new(edgev1.ServerFrame)
			if err := proto.Unmarshal(native.Proto{}.Message(nil, &m), got); err != nil || !proto.Equal(got, want) {
				t.Errorf("protobuf: got %v (%v)\nwant %v", got, err, want)
			}
			b, err := payload.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var a, e any
			text := native.JSON{}.Message(nil, &m)
			if err := json.Unmarshal(text, &a); err != nil {
				t.Fatalf("not JSON: %s: %v", text, err)
			}
			if err := json.Unmarshal(b, &e); err != nil {
				t.Fatal(err)
			}
			if len(m.Data) == 0 && m.ContentType != bus.JSON { // the codec leaves an empty string out
				delete(a.(map[string]any)["message"].(map[string]any), "data")
			}
			if !reflect.DeepEqual(a, e) {
				t.Errorf("JSON: got %s\nwant %s", text, b)
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	to, err := bus.ParseAddress("channels/orders:eu")
	if err != nil {
		b.Fatal(err)
	}
	m := bus.Message{
		ID: "018f4e6e-7b7a-7c3e-9d2a-000000000000", To: to, Data: []byte(`{"text":"` + strings.Repeat("x", 110) + `"}`), ContentType: bus.JSON,
		Published: time.Now(), Position: bus.Position{Epoch: "abcdefghijklm", Offset: 12345},
	}
	buf := make([]byte, 0, 1024)
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = native.JSON{}.Message(buf[:0], &m)
		}
	})
	b.Run("proto", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = native.Proto{}.Message(buf[:0], &m)
		}
	})
}
