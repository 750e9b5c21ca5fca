package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	rest "github.com/trunkline/trunkline/internal/payload"
)

// FuzzParsePosition says that a position is what is written, and that everything else is refused in a sentence.
func FuzzParsePosition(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePosition(text)
		if err != nil {
			if p != nil || !strings.HasPrefix(err.Error(), "position ") || strings.Contains(err.Error(), "strconv") {
				t.Errorf("%q: %v, %v", text, p, err)
			}
			return
		}
		if (p == nil) != (text == "") {
			t.Fatalf("%q is %v", text, p)
		}
		if p == nil {
			return
		}
		again, err := parsePosition(fmt.Sprintf("%s:%d", p.GetEpoch(), p.GetOffset()))
		if err != nil || !proto.Equal(p, again) || p.GetEpoch() == "" {
			t.Errorf("%q is %v, which is %v, %v", text, p, again, err)
		}
	})
}

// FuzzDecodeToken says that both parts of a token are JSON, or neither is shown.
func FuzzDecodeToken(f *testing.F) {
	f.Fuzz(func(t *testing.T, token string) {
		header, claims := decodeToken(token)
		if (header == nil) != (claims == nil) || header != nil && (!json.Valid(header) || !json.Valid(claims) || strings.Count(token, ".") != 2) {
			t.Errorf("%q is %s, %s", token, header, claims)
		}
	})
}

// FuzzReadable says that a message on a terminal is the message of REST, and that nothing in it moves the cursor.
func FuzzReadable(f *testing.F) {
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(publishv1.Message)
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(wire, m); err != nil {
			return
		}
		if shown := payload(m); !utf8.ValidString(shown) || strings.ContainsAny(shown, "\x00\x07\x1b\r\n\u0085\u009b") {
			t.Errorf("a terminal is shown %q", shown)
		}
		var line bytes.Buffer
		if _, known := publishv1.ContentType_name[int32(m.GetContentType())]; !known {
			return // no service lets it in, as what follows
		}
		if text := m.GetContentType() == publishv1.ContentType_CONTENT_TYPE_TEXT; text && !utf8.Valid(m.GetData()) ||
			!text && m.GetContentType() != publishv1.ContentType_CONTENT_TYPE_BINARY && json.Compact(&line, m.GetData()) != nil {
			return
		}
		want, err := rest.Marshal(m)
		if err != nil {
			return // a time out of range
		}
		v, err := readable(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := canonical(t, got), canonical(t, want); a != b {
			t.Errorf("read as %s, over REST %s", a, b)
		}
	})
}

// canonical is a JSON value with its members in order and its numbers as they are.
func canonical(t *testing.T, text []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q is not JSON: %v", text, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// FuzzServer says that the name of a server is one server, over HTTP, WebSocket and gRPC, and that a refusal shows no password.
func FuzzServer(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		hides := func(err error) {
			if _, query, _ := strings.Cut(text, "?"); len(query) > 8 && strings.Contains(err.Error(), query) {
				t.Errorf("the refusal shows a query: %v", err)
			}
			if i := strings.LastIndexByte(text, '@'); i > 8 && strings.Contains(err.Error(), text[:i]) {
				t.Errorf("the refusal shows a password: %v", err)
			}
		}
		n := named{text: text, source: "--server"}
		if u, err := serverURL(n); err != nil {
			hides(err)
		} else {
			ws, err := url.Parse(wsURL(u.String()))
			if err != nil || !strings.HasPrefix(ws.Scheme, "ws") || ws.Host != u.Host || u.User != nil || u.Hostname() == "" {
				t.Errorf("%q is %v, and %v, %v over WebSocket", text, u, ws, err)
			}
		}
		if e, err := grpcEndpoint(n); err != nil {
			hides(err)
		} else if host, port, err := net.SplitHostPort(e.target); err != nil || host == "" || !isPort(port, false) {
			t.Errorf("%q is %+v, %v", text, e, err)
		}
		if addr := local(text); addr != text && !strings.HasPrefix(addr, "localhost:") {
			t.Errorf("%q is at %q", text, addr)
		}
	})
}
