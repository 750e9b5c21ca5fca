package convert_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/convert"
)

// Whatever text of a message is not UTF-8: what Encodes says is what protobuf says.
func TestEncodes_isWhatProtobufSays(t *testing.T) {
	whole := func() *publishv1.Message {
		return &publishv1.Message{
			Id: "m", To: "channels/a", Attributes: map[string]string{"a": "ä"}, Data: []byte{0xff},
			Sender: &publishv1.Sender{Client: "c", User: "u"}, Position: &publishv1.Position{Epoch: "e", Offset: 1},
		}
	}
	tried := 0
	check := func(field protoreflect.FullName, m *publishv1.Message) {
		tried++
		if _, err := proto.Marshal(m); err == nil || convert.Encodes(m) {
			t.Errorf("%s is not UTF-8: protobuf says %v, Encodes %v", field, err, convert.Encodes(m))
		}
	}
	if !convert.Encodes(whole()) || !convert.Encodes(&publishv1.Message{}) {
		t.Error("a message that is well does not encode")
	}
	for _, part := range []func(*publishv1.Message) protoreflect.Message{
		func(m *publishv1.Message) protoreflect.Message { return m.ProtoReflect() },
		func(m *publishv1.Message) protoreflect.Message { return m.GetSender().ProtoReflect() },
		func(m *publishv1.Message) protoreflect.Message { return m.GetPosition().ProtoReflect() },
	} {
		fields := part(whole()).Descriptor().Fields()
		for i := range fields.Len() {
			if f := fields.Get(i); f.Kind() == protoreflect.StringKind && !f.IsMap() && !f.IsList() {
				m := whole()
				part(m).Set(f, protoreflect.ValueOfString("\xff"))
				check(f.FullName(), m)
			}
		}
	}
	for _, attributes := range []map[string]string{{"\xff": ""}, {"a": "\xff"}} {
		m := whole()
		m.Attributes = attributes
		check("attributes", m)
	}
	if tried != 7 {
		t.Errorf("%d texts were tried; a new one belongs into Encodes", tried)
	}
}
