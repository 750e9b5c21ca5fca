package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// writeJSON writes one value on one line.
func (p *program) writeJSON(v any) error {
	if m, ok := v.(proto.Message); ok {
		plain, err := readable(m)
		if err != nil {
			return err
		}
		v = plain
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := p.out.Write(b.Bytes())
	return err
}

// readable returns a message in the JSON of REST: data is the value itself.
func readable(m proto.Message) (any, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return unwrap(v), nil
}

func unwrap(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = unwrap(v[i])
		}
	case map[string]any:
		for name, child := range v {
			if name != "attributes" && name != "labels" {
				v[name] = unwrap(child)
			}
		}
		text, ok := v["data"].(string)
		if !ok || v["contentType"] == "CONTENT_TYPE_BINARY" {
			return v
		}
		data, err := base64.StdEncoding.DecodeString(text)
		switch {
		case err != nil:
		case v["contentType"] == "CONTENT_TYPE_TEXT":
			v["data"] = string(data)
		case json.Valid(data):
			v["data"] = json.RawMessage(data)
		}
	}
	return v
}

// table writes rows in columns.
func (p *program) table(rows ...[]string) error {
	w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// payload is what a message says, for a terminal: without control characters.
func payload(m *publishv1.Message) string {
	data := m.GetData()
	if m.GetContentType() == publishv1.ContentType_CONTENT_TYPE_BINARY || !utf8.Valid(data) {
		return "base64:" + base64.StdEncoding.EncodeToString(data)
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, string(data))
}

// line is one message on a terminal.
func line(m *publishv1.Message) string {
	offset := "-"
	if m.GetPosition() != nil {
		offset = fmt.Sprintf("#%d", m.GetPosition().GetOffset())
	}
	replay := ""
	if m.GetRedelivered() {
		replay = "replay  "
	}
	return fmt.Sprintf("%s  %s  %s  %s%s", m.GetPublishTime().AsTime().Local().Format("15:04:05.000"), m.GetTo(), offset, replay, payload(m))
}
