package badinput_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// caller writes frames of HTTP/2 to the gRPC listener, right or wrong.
type caller struct {
	s       *suite
	t       *testing.T
	conn    net.Conn
	framer  *http2.Framer
	pending bytes.Buffer // a block of headers
	encoder *hpack.Encoder
	streams uint32 // how many the server lets one connection have
}

// http2 opens a connection and reads the settings of the server.
func (s *suite) http2(t *testing.T, settings ...http2.Setting) *caller {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.GRPC)
	testkit.Check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	testkit.Check(t, conn.SetDeadline(time.Now().Add(15*time.Second)))
	c := &caller{s: s, t: t, conn: conn, framer: http2.NewFramer(conn, conn)}
	c.framer.AllowIllegalWrites, c.framer.ReadMetaHeaders = true, hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.pending)
	_, err = io.WriteString(conn, http2.ClientPreface)
	testkit.Check(t, err)
	testkit.Check(t, c.framer.WriteSettings(settings...))
	for {
		f, err := c.framer.ReadFrame()
		testkit.Check(t, err)
		if f, ok := f.(*http2.SettingsFrame); ok && !f.IsAck() {
			c.streams, _ = f.Value(http2.SettingMaxConcurrentStreams)
			testkit.Check(t, c.framer.WriteSettingsAck())
			return c
		}
	}
}

// block encodes headers in pairs.
func (c *caller) block(pairs ...string) []byte {
	c.pending.Reset()
	for i := 0; i < len(pairs); i += 2 {
		testkit.Check(c.t, c.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return c.pending.Bytes()
}

// call begins a call of Publish. Pairs replace its headers, or come behind them; an empty value takes one away.
func (c *caller) call(stream uint32, end bool, pairs ...string) {
	all := []string{
		":method", "POST", ":scheme", "http", ":path", publishService + "Publish", ":authority", "localhost",
		"content-type", "application/grpc", "te", "trailers", "authorization", "Bearer " + c.s.AdminKey,
	}
	for i := 0; i < len(pairs); i += 2 {
		at := 0
		for at < len(all) && all[at] != pairs[i] {
			at += 2
		}
		if at == len(all) {
			all = append(all, pairs[i], "")
		}
		if all[at+1] = pairs[i+1]; pairs[i+1] == "" {
			all = append(all[:at], all[at+2:]...)
		}
	}
	c.open(stream, end, c.block(all...))
}

// frameSize is the largest frame that a server takes unless it says more.
const frameSize = 16 << 10

// open writes headers, in as many frames as it takes.
func (c *caller) open(stream uint32, end bool, block []byte) {
	first, rest := block[:min(frameSize, len(block))], block[min(frameSize, len(block)):]
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(rest) == 0, EndStream: end})
	for err == nil && len(rest) > 0 { // the answer says how it went
		first, rest = rest[:min(frameSize, len(rest))], rest[min(frameSize, len(rest)):]
		err = c.framer.WriteContinuation(stream, len(rest) == 0, first)
	}
}

// send writes the body of a call.
func (c *caller) send(stream uint32, end bool, body string) {
	for len(body) > frameSize {
		_ = c.framer.WriteData(stream, false, []byte(body[:frameSize]))
		body = body[frameSize:]
	}
	_ = c.framer.WriteData(stream, end, []byte(body)) // as above
}

// prefixed is a message as gRPC puts it on a stream.
func prefixed(body string) string {
	return "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}

// answer reads until the end of a stream or of the connection.
func (c *caller) answer(stream uint32) string {
	http, code, details := "", "", ""
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			if e := (http2.StreamError{}); errors.As(err, &e) {
				return "unreadable " + e.Code.String()
			}
			return "closed"
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			c.s.told(c.t, string(f.DebugData()))
			return "goaway " + f.ErrCode.String()
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				return strings.TrimSpace(c.status(http, code, details) + " reset " + f.ErrCode.String())
			}
		case *http2.DataFrame:
			c.s.told(c.t, string(f.Data()))
			if f.StreamID == stream && f.StreamEnded() {
				return c.status(http, code, details)
			}
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				switch h.Name {
				case ":status":
					http = h.Value
				case "grpc-status":
					code = h.Value
				case "grpc-status-details-bin":
					details = h.Value
				}
				c.s.told(c.t, h.Name+": "+h.Value)
			}
			if f.StreamID == stream && f.StreamEnded() {
				return c.status(http, code, details)
			}
		}
	}
}

// status is what headers and trailers say.
func (c *caller) status(http, code, details string) string {
	if http == "" {
		return ""
	}
	if http != "200" {
		return "HTTP " + http
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(details, "="))
	testkit.Check(c.t, err)
	var st spb.Status
	testkit.Check(c.t, proto.Unmarshal(b, &st))
	if details != "" {
		return c.s.answered(c.t, status.ErrorProto(&st))
	}
	n := codes.OK
	if code != "" {
		testkit.Check(c.t, n.UnmarshalJSON([]byte(code)))
	}
	return n.String()
}

// good is a request that is right.
func good(t *testing.T) string {
	t.Helper()
	b, err := proto.Marshal(&publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1")})
	testkit.Check(t, err)
	return string(b)
}

// headersOf are calls whose headers are wrong, with a right body.
var headersOf = []struct {
	name, want string
	pairs      []string
}{
	{"as it should be", "OK", nil},
	{"JSON as a content type", "HTTP 415", []string{"content-type", "application/json"}},
	{"no content type", "HTTP 415", []string{"content-type", ""}},
	{"GET", "HTTP 405", []string{":method", "GET"}},
	{"no method", "HTTP 405", []string{":method", ""}},
	{"no path", "Unimplemented", []string{":path", ""}},
	{"a path without a slash", "Unimplemented", []string{":path", "trunkline.publish.v1.PublishService"}},
	{"a path of one part", "Unimplemented", []string{":path", "/Publish"}},
	{"metadata of 16 KiB", "OK", []string{"x-a", strings.Repeat("x", 16<<10+1)}},
	{"metadata of 128 KiB", "closed", []string{"x-a", strings.Repeat("x", 128<<10)}},
	{"metadata in capitals", "reset PROTOCOL_ERROR", []string{"X-A", "b"}},
	{"metadata with a space in the name", "reset PROTOCOL_ERROR", []string{"x a", "b"}},
	{"metadata that gRPC keeps for itself", "OK", []string{"grpc-trunkline", "b"}},
	{"metadata with an empty name", "reset PROTOCOL_ERROR", []string{"", "b"}},
	{"metadata that is not ASCII", "OK", []string{"x-a", "\xff\xfe"}},
	{"metadata with a newline", "reset PROTOCOL_ERROR", []string{"x-a", "a\nb"}},
	{"metadata in base64 that is none", "HTTP 400", []string{"x-a-bin", "***"}},
	{"a header of one connection", "reset PROTOCOL_ERROR", []string{"connection", "close"}},
	{"a deadline that is none", "HTTP 400", []string{"grpc-timeout", "x"}},
	{"a negative deadline", "HTTP 400", []string{"grpc-timeout", "-1S"}},
	{"a deadline of no time", "DeadlineExceeded", []string{"grpc-timeout", "0n"}},
	{"a deadline of 99,999,999 hours", "OK", []string{"grpc-timeout", "99999999H"}},
	{"an encoding that is not spoken", "Unimplemented", []string{"grpc-encoding", "br"}},
}

// bodies are streams of Publish whose bytes are wrong. The library refuses them in front of everything of ours, and gives no reason.
var bodies = []struct{ name, want, body string }{
	{"no message", "Internal", ""},
	{"a length of 2^32 - 1 without a body", "ResourceExhausted", "\x00\xff\xff\xff\xff"},
	{"a length of 2^32 - 1, cut short", "ResourceExhausted", "\x00\xff\xff\xff\xffabc"},
	{"a length cut short", "Internal", "\x00\x00\x00"},
	{"a message cut short", "Internal", "\x00\x00\x00\x00\x05ab"},
	{"compressed without an encoding", "Internal", "\x01\x00\x00\x00\x01a"},
	{"an unknown flag", "Internal", "\x07\x00\x00\x00\x01a"},
}

func TestHTTP2(t *testing.T) {
	s := start(t, "gRPC, HTTP/2", apptest.With(func(c *config.Config) {
		c.Channels.Defaults.HistoryLength, c.Channels.Defaults.HistoryAge = 100, time.Hour
	}))
	for _, h := range headersOf {
		s.row(h.name, h.want, func(t *testing.T) string {
			c := s.http2(t)
			c.call(1, false, h.pairs...)
			c.send(1, true, prefixed(good(t)))
			return c.answer(1)
		})
	}
	s.row("1,000 pairs of metadata", "OK", func(t *testing.T) string {
		pairs := []string{}
		for i := range 1000 {
			pairs = append(pairs, fmt.Sprint("x-", i), "b")
		}
		c := s.http2(t)
		c.call(1, false, pairs...)
		c.send(1, true, prefixed(good(t)))
		return c.answer(1)
	})
	for _, b := range bodies {
		s.row(b.name, b.want, func(t *testing.T) string {
			c := s.http2(t)
			c.call(1, false)
			c.send(1, true, b.body)
			return c.answer(1)
		})
	}
	s.row("two messages for one", "Internal", func(t *testing.T) string {
		c := s.http2(t)
		c.call(1, false)
		c.send(1, true, prefixed(good(t))+prefixed(good(t)))
		return c.answer(1)
	})
	s.row("1 MiB of unknown fields", "OK", func(t *testing.T) string {
		var reply []byte
		body := []byte(good(t) + field(99, strings.Repeat("x", 1<<20)))
		return s.answered(t, s.dial(t, s.AdminKey).Invoke(t.Context(), publishService+"Publish", &body, &reply, grpc.ForceCodec(raw{})))
	})
	s.row("more streams than one connection may have", "reset REFUSED_STREAM", func(t *testing.T) string {
		c := s.http2(t)
		for i := range c.streams + 1 {
			c.call(2*i+1, false)
		}
		return c.answer(2*c.streams + 1)
	})
	s.floods()
	s.cancelled()
}

// floods gives frames that cost a server more than a client.
func (s *suite) floods() {
	for _, f := range []struct {
		name, want string
		flood      func(c *caller)
	}{
		{"10,000 streams that are reset at once", "OK", func(c *caller) {
			for i := range uint32(10_000) {
				c.call(2*i+1, false)
				_ = c.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
			}
			c.call(20_001, false)
			c.send(20_001, true, prefixed(good(c.t)))
		}},
		{"headers that never end", "closed", func(c *caller) {
			_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 20_001, BlockFragment: c.block(":method", "POST")})
			for range 10_000 {
				if c.framer.WriteContinuation(20_001, false, c.block("x-a", strings.Repeat("x", 1000))) != nil {
					return
				}
			}
		}},
		{"10,000 settings", "OK", func(c *caller) {
			for range 10_000 {
				if c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65_535}) != nil {
					return
				}
			}
			c.call(20_001, false)
			c.send(20_001, true, prefixed(good(c.t)))
		}},
		{"10,000 pings", "goaway ENHANCE_YOUR_CALM", func(c *caller) {
			for range 10_000 {
				if c.framer.WritePing(false, [8]byte{}) != nil {
					return
				}
			}
		}},
		{"five pings without a pause", "goaway ENHANCE_YOUR_CALM", func(c *caller) {
			for range 5 {
				_ = c.framer.WritePing(false, [8]byte{})
			}
		}},
		{"a header that is small and means much", "reset FRAME_SIZE_ERROR", func(c *caller) {
			pairs := []string{"x-bomb", strings.Repeat("x", 4000)}
			c.block(pairs...) // it is in the table now
			block := bytes.Clone(c.pending.Bytes())
			for range 1000 {
				block = append(block, c.block(pairs...)...)
			}
			c.open(20_001, true, block)
		}},
		{"a frame of 17 MiB", "closed", func(c *caller) {
			_, _ = c.conn.Write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1})
		}},
		{"HTTP/1.1 in place of frames", "closed", func(c *caller) { _, _ = io.WriteString(c.conn, "GET / HTTP/1.1\r\n\r\n") }},
	} {
		s.row(f.name, f.want, func(t *testing.T) string {
			c := s.http2(t)
			writing := make(chan struct{})
			go func() {
				defer close(writing)
				f.flood(c)
			}()
			got := c.answer(20_001)
			_ = c.conn.Close()
			<-writing
			return got
		})
	}
	s.row("a window that never opens", "closed by the client", func(t *testing.T) string {
		c := s.http2(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		body, err := proto.Marshal(&publishv1.ConsumeRequest{Address: "channels/bystander"})
		testkit.Check(t, err)
		for i := range uint32(20) {
			c.call(2*i+1, false, ":path", publishService+"Consume")
			c.send(2*i+1, true, prefixed(string(body)))
		}
		for range 20 {
			s.serve(t)
		}
		return "closed by the client"
	})
}
