package client //nolint:testpackage // the decoders of frames are the client's own

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/payload"
)

// FuzzServerFrame reads a frame of protobuf, and the same frame in the JSON that the server writes: both are the same.
func FuzzServerFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, wire []byte) {
		frame, err := binaryCoding{}.decode(wire)
		if err != nil {
			return
		}
		for _, m := range append(frame.GetHistory().GetMessages(), frame.GetMessage()) {
			if !sayable(m) {
				return
			}
		}
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(wire, frame); err != nil {
			t.Fatal(err)
		}
		text, err := payload.Marshal(frame)
		if err != nil {
			return // a time out of range, which no server tells
		}
		if same, err := (jsonCoding{}).decode(text); err != nil || !proto.Equal(frame, same) {
			t.Fatalf("%v\nas JSON %s\nis %v, %v", frame, text, same, err)
		}
	})
}

// sayable says whether the data of a message is what its content type says, in the form in which JSON gives it back.
func sayable(m *publishv1.Message) bool {
	var line bytes.Buffer
	switch m.GetContentType() {
	case publishv1.ContentType_CONTENT_TYPE_BINARY:
		return true
	case publishv1.ContentType_CONTENT_TYPE_TEXT:
		return utf8.Valid(m.GetData())
	}
	return len(m.GetData()) == 0 || utf8.Valid(m.GetData()) && json.Compact(&line, m.GetData()) == nil && bytes.Equal(line.Bytes(), m.GetData())
}

// FuzzServerJSON reads any text as a frame. What is taken can be written as protobuf and read again.
func FuzzServerJSON(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		frame, err := jsonCoding{}.decode(text)
		if err != nil {
			return
		}
		wire, err := proto.Marshal(frame)
		if err != nil {
			t.Fatalf("%q is %v, which cannot be written: %v", text, frame, err)
		}
		if same, err := (binaryCoding{}).decode(wire); err != nil || !proto.Equal(frame, same) {
			t.Fatalf("%v is %v, %v", frame, same, err)
		}
	})
}

// FuzzClientFrame writes a frame as JSON does, and the server's decoder reads the same.
func FuzzClientFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, wire []byte) {
		frame := new(edgev1.ClientFrame)
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(wire, frame); err != nil {
			return
		}
		p := frame.GetPublish()
		if !sayable(&publishv1.Message{Data: p.GetData(), ContentType: p.GetContentType()}) {
			return
		}
		text, err := jsonCoding{}.encode(frame)
		if err != nil {
			return // a time out of range
		}
		same := new(edgev1.ClientFrame)
		if err := payload.Unmarshal(text, same); err != nil || !proto.Equal(frame, same) {
			t.Fatalf("%v\nas JSON %s\nis %v, %v", frame, text, same, err)
		}
	})
}

// FuzzDialError reads what refused a handshake: a server, or a proxy on the way.
func FuzzDialError(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, retry string) {
		resp := &http.Response{StatusCode: http.StatusForbidden, Status: "403 Forbidden", Header: http.Header{"Retry-After": {retry}}, Body: io.NopCloser(bytes.NewReader(body))}
		e, ok := errors.AsType[*Error](dialError(resp, errors.New("bad handshake")))
		if !ok || e.Reason == "" || e.Message == "" || e.HTTP != http.StatusForbidden || e.RetryAfter < 0 || e.RetryAfter.Hours() >= 1 {
			t.Fatalf("%q is %#v", body, e)
		}
		if e.Reason != "UNAVAILABLE" && !json.Valid(body) {
			t.Fatalf("%q has the reason %s", body, e.Reason)
		}
	})
}

// FuzzEndpoint says that the URL of a server leads to a WebSocket, and that a refusal does not show what may be a password.
func FuzzEndpoint(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		url, err := endpoint(text)
		if err == nil {
			if again, err := endpoint(url); err != nil || again != url || !strings.HasPrefix(url, "ws") {
				t.Fatalf("%q is %s, which is %s, %v", text, url, again, err)
			}
			return
		}
		if _, query, _ := strings.Cut(text, "?"); len(query) > 8 && strings.Contains(err.Error(), query) {
			t.Fatalf("the refusal shows a query: %v", err)
		}
		if i := strings.LastIndexByte(text, '@'); i > 8 && strings.Contains(err.Error(), text[:i]) {
			t.Fatalf("the refusal shows a password: %v", err)
		}
	})
}

// FuzzMessageTime reads the time in an id. An id with a time has a rest, and equal ids are of one publication.
func FuzzMessageTime(f *testing.F) {
	f.Fuzz(func(t *testing.T, id string) {
		h := had{id: id}
		at, ok := h.time()
		if ok && (len(id) != 36 || at.UnixMilli() < 0 || at.UnixMilli() >= 1<<48) {
			t.Errorf("%q is of %v", id, at)
		}
		if !h.near(h) || !strings.HasSuffix(id, h.rest()) {
			t.Errorf("%q is not near itself, or its rest is %q", id, h.rest())
		}
	})
}
