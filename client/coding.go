package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
)

// coding is one of the two spellings of a frame.
type coding interface {
	subprotocol() string
	opcode() int
	encode(f *edgev1.ClientFrame) ([]byte, error)
	decode(data []byte) (*edgev1.ServerFrame, error)
}

type binaryCoding struct{}

func (binaryCoding) subprotocol() string { return "trunkline.v1.proto" }
func (binaryCoding) opcode() int         { return websocket.BinaryMessage }

func (binaryCoding) encode(f *edgev1.ClientFrame) ([]byte, error) { return proto.Marshal(f) }

func (binaryCoding) decode(data []byte) (*edgev1.ServerFrame, error) {
	f := new(edgev1.ServerFrame)
	if err := proto.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("the server's frame is not a ServerFrame: %w", err)
	}
	return f, nil
}

// jsonCoding is protobuf's JSON mapping, but for data, which is the value itself: any JSON, a string for
// CONTENT_TYPE_TEXT, base64 for CONTENT_TYPE_BINARY.
type jsonCoding struct{}

func (jsonCoding) subprotocol() string { return "trunkline.v1.json" }
func (jsonCoding) opcode() int         { return websocket.TextMessage }

func (jsonCoding) encode(f *edgev1.ClientFrame) ([]byte, error) {
	data, err := protojson.Marshal(f)
	if err != nil || f.GetPublish() == nil {
		return data, err
	}
	return edit(data, func(frame map[string]json.RawMessage) error {
		return nested(frame, "publish", plain)
	})
}

func (jsonCoding) decode(data []byte) (*edgev1.ServerFrame, error) {
	data, err := edit(data, func(frame map[string]json.RawMessage) error {
		if err := nested(frame, "message", wrapped); err != nil {
			return err
		}
		return nested(frame, "history", func(history map[string]json.RawMessage) error {
			var messages []json.RawMessage
			if raw, ok := history["messages"]; !ok || json.Unmarshal(raw, &messages) != nil {
				return nil //nolint:nilerr // the whole frame is decoded next, and names the fault
			}
			for i := range messages {
				m, err := edit(messages[i], wrapped)
				if err != nil {
					return err
				}
				messages[i] = m
			}
			raw, err := json.Marshal(messages)
			history["messages"] = raw
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("the server's frame is not JSON: %w", err)
	}
	f := new(edgev1.ServerFrame)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("the server's frame is not a ServerFrame: %w", err)
	}
	return f, nil
}

func edit(data []byte, change func(map[string]json.RawMessage) error) ([]byte, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	if err := change(object); err != nil {
		return nil, err
	}
	return json.Marshal(object)
}

func nested(object map[string]json.RawMessage, name string, change func(map[string]json.RawMessage) error) error {
	raw, ok := object[name]
	if !ok {
		return nil
	}
	raw, err := edit(raw, change)
	object[name] = raw
	return err
}

const (
	typeText   = `"CONTENT_TYPE_TEXT"`
	typeBinary = `"CONTENT_TYPE_BINARY"`
)

// plain turns base64 into the value itself.
func plain(m map[string]json.RawMessage) error {
	raw, ok := m["data"]
	if !ok || string(m["contentType"]) == typeBinary {
		return nil
	}
	var data []byte
	if err := json.Unmarshal(raw, &data); err != nil {
		return err
	}
	if string(m["contentType"]) == typeText {
		text, err := json.Marshal(string(data))
		m["data"] = text
		return err
	}
	if !json.Valid(data) {
		return fmt.Errorf("data is not JSON, and content_type says it is")
	}
	m["data"] = data
	return nil
}

// wrapped turns the value itself into base64.
func wrapped(m map[string]json.RawMessage) error {
	raw, ok := m["data"]
	if !ok || string(m["contentType"]) == typeBinary {
		return nil
	}
	data := []byte(raw)
	if string(m["contentType"]) == typeText {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
		data = []byte(text)
	}
	m["data"] = json.RawMessage(`"` + base64.StdEncoding.EncodeToString(data) + `"`)
	return nil
}
