package verify_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// between stands in front of a deployment, as a load balancer does: WebSockets go to its edges, and everything else to its
// gateway. It may lie about what the deployment says.
type between struct {
	edges []string
	next  atomic.Int64

	// frame is given each frame to a client, with the number of its session, and returns what is sent in its place.
	frame func(session int64, text string) []string
	// answer is given each answer of REST, and returns what is answered in its place. Streams do not come here.
	answer func(req *http.Request, status int, body string) (int, string)
	// event is given each server-sent event, and returns what is sent in its place.
	event func(text string) string
	// keep leaves sockets open that the deployment has closed, until the run has ended.
	keep bool
	// leak gives those what others get.
	leak bool

	mu     sync.Mutex
	others map[int64]chan string
	over   context.Context // of the test
}

// front starts it over HTTP, or over TLS.
func front(tb testing.TB, d *apptest.Deployment, b *between, secured bool) *httptest.Server {
	tb.Helper()
	target, err := url.Parse(d.HTTP)
	testkit.Check(tb, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.FlushInterval = -1
	forward.ErrorLog = log.New(io.Discard, "", 0)
	forward.ModifyResponse = b.change
	b.edges, b.others = d.Edges, map[int64]chan string{}
	ctx, cancel := context.WithCancel(context.Background())
	b.over = ctx
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/v1/ws" {
			b.socket(tb, w, req)
			return
		}
		defer func() { _ = recover() }() // of a stream that its reader has left
		forward.ServeHTTP(w, req)
	}))
	if secured {
		s.StartTLS()
	} else {
		s.Start()
	}
	tb.Cleanup(func() {
		cancel()
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (b *between) change(resp *http.Response) error {
	if strings.HasSuffix(resp.Request.URL.Path, "/stream") {
		if b.event != nil {
			resp.Body = &events{ReadCloser: resp.Body, lines: bufio.NewReader(resp.Body), lie: b.event}
		}
		return nil
	}
	if b.answer == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	status, text := b.answer(resp.Request, resp.StatusCode, string(body))
	resp.StatusCode, resp.Body = status, io.NopCloser(bytes.NewReader([]byte(text)))
	resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
	resp.ContentLength = int64(len(text))
	return nil
}

// events is a stream of server-sent events that lies.
type events struct {
	io.ReadCloser
	lines *bufio.Reader
	lie   func(string) string
	rest  []byte
}

func (e *events) Read(p []byte) (int, error) {
	for len(e.rest) == 0 {
		var one strings.Builder
		for {
			line, err := e.lines.ReadString('\n')
			if err != nil {
				return 0, err
			}
			if one.WriteString(line); line == "\n" {
				break
			}
		}
		e.rest = []byte(e.lie(one.String()))
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// overGRPC is a connection whose streams lie.
type overGRPC struct {
	grpc.ClientConnInterface
	lie func(*publishv1.ConsumeResponse) bool // whether it is left out
}

func (g overGRPC) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := g.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	return lyingStream{s, g.lie}, err
}

type lyingStream struct {
	grpc.ClientStream
	lie func(*publishv1.ConsumeResponse) bool
}

func (s lyingStream) RecvMsg(m any) error {
	for {
		if err := s.ClientStream.RecvMsg(m); err != nil {
			return err
		}
		if r, ok := m.(*publishv1.ConsumeResponse); !ok || !s.lie(r) {
			return nil
		}
	}
}

var upgrader = websocket.Upgrader{Subprotocols: []string{"trunkline.v1.json"}, CheckOrigin: func(*http.Request) bool { return true }}

// socket carries frames both ways.
func (b *between) socket(tb testing.TB, w http.ResponseWriter, req *http.Request) {
	n := b.next.Add(1)
	edge := "ws" + strings.TrimPrefix(b.edges[int(n)%len(b.edges)], "http") + "/v1/ws"
	up, resp, err := (&websocket.Dialer{Subprotocols: []string{"trunkline.v1.json"}}).DialContext(req.Context(), edge, nil)
	if err != nil {
		http.Error(w, "no edge", http.StatusBadGateway)
		return
	}
	_ = resp.Body.Close()
	down, err := upgrader.Upgrade(w, req, nil)
	if err != nil {
		tb.Error(err)
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		b.carryDown(n, up, down)
		_ = down.Close()
	})
	both.Go(func() {
		for {
			kind, text, err := down.ReadMessage()
			if err != nil {
				if code := (*websocket.CloseError)(nil); asClose(err, &code) && code.Code == websocket.CloseNormalClosure {
					_ = up.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code.Code, ""), time.Now().Add(time.Second))
				}
				_ = up.Close()
				b.forget(n)
				return
			}
			_ = up.WriteMessage(kind, text)
		}
	})
	both.Wait()
}

func asClose(err error, code **websocket.CloseError) bool {
	c, ok := err.(*websocket.CloseError) //nolint:errorlint // gorilla does not wrap it
	*code = c
	return ok
}

func (b *between) carryDown(n int64, up, down *websocket.Conn) {
	for {
		kind, text, err := up.ReadMessage()
		if err != nil {
			break
		}
		all := []string{string(text)}
		if b.frame != nil {
			all = b.frame(n, string(text))
		}
		for _, one := range all {
			b.tell(one)
			if down.WriteMessage(kind, []byte(one)) != nil {
				return
			}
		}
	}
	if !b.keep {
		return
	}
	mine := make(chan string, 64)
	b.mu.Lock()
	b.others[n] = mine
	b.mu.Unlock()
	for {
		select {
		case text, ok := <-mine:
			if !ok {
				return
			}
			_ = down.WriteMessage(websocket.TextMessage, []byte(text))
		case <-b.over.Done():
			return
		}
	}
}

// tell gives a message to sockets that should have been closed.
func (b *between) tell(text string) {
	if !b.leak || !strings.HasPrefix(text, `{"message"`) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.others {
		select {
		case c <- text:
		default:
		}
	}
}

// forget ends what is kept for a client that has left.
func (b *between) forget(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.others[n]; c != nil {
		close(c)
		delete(b.others, n)
	}
}
