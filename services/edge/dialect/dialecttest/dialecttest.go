// Package dialecttest replays transcripts of older protocols against a running server. A transcript is a text of lines:
//
//	# a comment
//	open a /ws?token=$t     opens the connection a; a@1 does so at the second address
//
//	# what the client sends
//	a > {"frame":"$x"}      sends a text frame; $x is a value that was given or seen before
//	a >> {"frame":1}        sends it as a binary frame
//
//	# what the server sends
//	a < {"id":"$id"}        receives a text frame: JSON is compared by value, $id matches any text and remembers it
//
//	# the same, in any order
//	a <? {"frame":1}        receives one of the frames of the <? lines that follow each other
//
//	# how a connection ends
//	a closed 1005           the server closes with this code
//	close a                 sends a close frame and waits for the server's
//
//	# without a close frame
//	cut a                   cuts the TCP connection
//
//	# before a request
//	body {"a":1}            what the next request sends
//	header Name: value      what the next handshake or request sends besides
//
//	# a request
//	GET /path 200 {"a":1}   a request, its status and its body
//
// "$_" matches anything. "$hex:x" matches 32 hex digits, "$uuid:x" a UUID and "$token:x" a push server's token, and they
// are remembered as x. Where the transcript ends, connections that are open must have been sent nothing more.
package dialecttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// wait bounds every wait for a frame.
const wait = 15 * time.Second

// Config is where and how a transcript is replayed.
type Config struct {
	// Addresses are host:port of the listeners.
	Addresses []string
	// HTTP is host:port of where requests go; the first of Addresses when empty.
	HTTP string
	// Values are placeholders that are known from the start.
	Values map[string]string
	// Header goes with every handshake and request.
	Header http.Header
}

// Replay replays every transcript that matches the pattern, one after the other, each as a test of its own.
func Replay(t *testing.T, pattern string, cfg Config) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcript matches %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			Play(t, string(text), cfg)
		})
	}
}

// Play replays one transcript.
func Play(t *testing.T, transcript string, cfg Config) {
	t.Helper()
	p := &player{t: t, cfg: cfg, values: make(map[string]string), conns: make(map[string]*conn)}
	maps.Copy(p.values, cfg.Values)
	lines := strings.Split(transcript, "\n")
	for p.line = 0; p.line < len(lines); p.line++ {
		p.text = strings.TrimSpace(lines[p.line])
		if p.text != "" && !strings.HasPrefix(p.text, "#") {
			p.step(lines[p.line+1:])
		}
	}
	p.text = "the end"
	for _, c := range p.conns {
		p.quiet(c)
	}
}

type player struct {
	t      *testing.T
	cfg    Config
	line   int
	text   string
	body   string // of the next request
	header http.Header
	values map[string]string
	conns  map[string]*conn
}

func (p *player) fatalf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("line %d: %s\n%s", p.line+1, p.text, fmt.Sprintf(format, args...))
}

// step carries out the present line; rest are those after it.
func (p *player) step(rest []string) {
	p.t.Helper()
	first, after, _ := strings.Cut(p.text, " ")
	second, payload, _ := strings.Cut(after, " ")
	switch {
	case first == "open":
		p.open(second, p.fill(payload))
	case first == "close" || first == "cut":
		p.end(first, second)
	case first == "body":
		p.body = p.fill(after)
	case first == "header":
		name, value, _ := strings.Cut(p.fill(after), ": ")
		p.header = p.headers()
		p.header.Set(name, value)
	case first == strings.ToUpper(first):
		p.request(first, p.fill(second), payload)
	case second == ">":
		p.send(p.conn(first), websocket.TextMessage, payload)
	case second == ">>":
		p.send(p.conn(first), websocket.BinaryMessage, payload)
	case second == "<":
		p.expect(p.conn(first), []string{payload})
	case second == "<?":
		wanted := []string{payload}
		for _, line := range rest {
			more, ok := strings.CutPrefix(strings.TrimSpace(line), first+" <? ")
			if !ok {
				break
			}
			wanted = append(wanted, more)
			p.line++
		}
		p.expect(p.conn(first), wanted)
	case second == "closed":
		p.closed(first, payload)
	default:
		p.fatalf("this is no line of a transcript")
	}
}

// conn is a connection, and what came on it.
type conn struct {
	ws     *websocket.Conn
	events chan event
}

// event is a frame, a pong or the end.
type event struct {
	frame string
	pong  bool
	err   error
}

func (c *conn) read() {
	c.ws.SetPongHandler(func(string) error {
		c.events <- event{pong: true}
		return nil
	})
	for {
		_, data, err := c.ws.ReadMessage()
		c.events <- event{frame: string(data), err: err}
		if err != nil {
			return
		}
	}
}

func (p *player) open(name, path string) {
	p.t.Helper()
	name, place, _ := strings.Cut(name, "@")
	i, _ := strconv.Atoi(place)
	i %= len(p.cfg.Addresses)
	ctx, cancel := context.WithTimeout(p.t.Context(), wait)
	defer cancel()
	ws, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+p.cfg.Addresses[i]+path, p.headers())
	p.header = nil
	if err != nil {
		p.fatalf("%v", err)
	}
	_ = resp.Body.Close()
	c := &conn{ws: ws, events: make(chan event, 1024)}
	p.conns[name] = c
	done := make(chan struct{})
	go func() { defer close(done); c.read() }()
	p.t.Cleanup(func() { _ = ws.Close(); <-done })
}

// headers are for the next handshake or request.
func (p *player) headers() http.Header {
	switch {
	case p.header != nil:
		return p.header
	case p.cfg.Header != nil:
		return p.cfg.Header.Clone()
	}
	return make(http.Header)
}

func (p *player) conn(name string) *conn {
	p.t.Helper()
	c := p.conns[name]
	if c == nil {
		p.fatalf("%s is not open", name)
	}
	return c
}

func (p *player) send(c *conn, kind int, payload string) {
	p.t.Helper()
	if err := c.ws.WriteMessage(kind, []byte(p.fill(payload))); err != nil {
		p.fatalf("%v", err)
	}
}

func (p *player) next(c *conn) event {
	p.t.Helper()
	select {
	case e := <-c.events:
		return e
	case <-time.After(wait):
		p.fatalf("nothing came")
		return event{}
	}
}

// expect receives as many frames as are wanted, in any order.
func (p *player) expect(c *conn, wanted []string) {
	p.t.Helper()
	for len(wanted) > 0 {
		e := p.next(c)
		if e.err != nil {
			p.fatalf("the connection ended: %v", e.err)
		}
		found := -1
		for i, w := range wanted {
			if p.matches(w, e.frame) {
				found = i
				break
			}
		}
		if found < 0 {
			p.fatalf("got  %s\nwant %s\nknown %v", e.frame, strings.Join(wanted, "\n  or "), p.values)
		}
		wanted = append(wanted[:found:found], wanted[found+1:]...)
	}
}

func (p *player) end(how, name string) {
	p.t.Helper()
	c := p.conn(name)
	delete(p.conns, name)
	if how == "cut" {
		if tcp, ok := c.ws.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.ws.Close()
		return
	}
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(wait))
	for p.next(c).err == nil {
		continue
	}
}

func (p *player) closed(name, code string) {
	p.t.Helper()
	e := p.next(p.conn(name))
	delete(p.conns, name)
	var bye *websocket.CloseError
	if !errors.As(e.err, &bye) || strconv.Itoa(bye.Code) != code {
		p.fatalf("got %q, %v", e.frame, e.err)
	}
}

// quiet makes sure that nothing is on its way to a connection that was not expected.
func (p *player) quiet(c *conn) {
	p.t.Helper()
	if err := c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait)); err != nil {
		p.fatalf("%v", err)
	}
	if e := p.next(c); !e.pong {
		p.fatalf("it was sent %s %v", e.frame, e.err)
	}
}

func (p *player) request(method, path, want string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), wait)
	defer cancel()
	at := p.cfg.HTTP
	if at == "" {
		at = p.cfg.Addresses[0]
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+at+path, strings.NewReader(p.body))
	p.body = ""
	if err != nil {
		p.fatalf("%v", err)
	}
	req.Header = p.headers()
	p.header = nil
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.fatalf("%v", err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	status, text, _ := strings.Cut(want, " ")
	if err != nil || strconv.Itoa(resp.StatusCode) != status || !p.matches(text, strings.TrimSpace(string(body))) {
		p.fatalf("got %d %s %v", resp.StatusCode, body, err)
	}
}
