package native_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/payload"
	"github.com/trunkline/trunkline/services/edge/dialect"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// FuzzCommandJSON says that what is read as JSON can be written as protobuf, and is the same command then. A refusal has a reason.
func FuzzCommandJSON(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		if _, err := (native.JSON{}).Decode(dialect.Binary, frame); !errors.Is(err, dialect.ErrWrongOpcode) {
			t.Fatalf("a binary frame of JSON: %v", err)
		}
		got, err := native.JSON{}.Decode(dialect.Text, frame)
		if err != nil {
			refused(t, err)
			return
		}
		wire, err := proto.Marshal(got)
		if err != nil {
			t.Fatalf("%q is %v, which has no binary form: %v", frame, got, err)
		}
		same, err := native.Proto{}.Decode(dialect.Binary, wire)
		if err != nil || !proto.Equal(got, same) {
			t.Fatalf("%q is %v, in protobuf %v, %v", frame, got, same, err)
		}
	})
}

// FuzzCommandProto says that what is read as protobuf is the same command when it is written as JSON. What JSON cannot say, such as
// a payload that is no JSON and says that it is, is what the publish service refuses.
func FuzzCommandProto(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		got, err := native.Proto{}.Decode(dialect.Binary, frame)
		if err != nil {
			refused(t, err)
			return
		}
		if !sayable(got.GetPublish()) {
			return
		}
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(frame, got); err != nil {
			t.Fatalf("%q is no protobuf: %v", frame, err)
		}
		text, err := payload.Marshal(got)
		if err != nil {
			return // a time out of range
		}
		same, err := native.JSON{}.Decode(dialect.Text, text)
		if err != nil || !proto.Equal(got, same) {
			t.Fatalf("%q is %v, as JSON %s, which is %v, %v", frame, got, text, same, err)
		}
	})
}

// sayable says whether a payload is what it says that it is, in the one form in which JSON gives it back.
func sayable(p *publishv1.PublishRequest) bool {
	switch p.GetContentType() {
	case publishv1.ContentType_CONTENT_TYPE_BINARY:
		return true
	case publishv1.ContentType_CONTENT_TYPE_TEXT:
		return utf8.Valid(p.GetData())
	}
	var line bytes.Buffer
	return len(p.GetData()) == 0 || utf8.Valid(p.GetData()) && json.Compact(&line, p.GetData()) == nil && bytes.Equal(line.Bytes(), p.GetData())
}

func refused(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*bus.Error](err)
	if !ok || e.Reason == "" || e.Reason == "INTERNAL" || e.Message == "" || len(e.Message) > 1024 {
		t.Fatalf("the refusal is %#v", err)
	}
}
