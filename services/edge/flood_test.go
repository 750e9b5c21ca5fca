package edge_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/edge"
	"github.com/trunkline/trunkline/services/edge/dialect/native"
)

// onEach runs a test on every transport of one edge.
func onEach(t *testing.T, cfg edge.Config, test func(t *testing.T, h *fixture, dial func() *raw)) {
	t.Helper()
	h := start(t, cfg)
	for name, server := range h.transports() {
		t.Run(name, func(t *testing.T) {
			token := h.token(name, everything) // the transport is the user
			test(t, h, func() *raw {
				w, err := dialRaw(server, token)
				testkit.Check(t, err)
				w.user = name
				t.Cleanup(func() { _ = w.Close() })
				return w
			})
		})
	}
}

// sideBySide lets clients of every transport live at once. Each life is given to the group, which is waited for.
func (h *fixture) sideBySide(t *testing.T, live func(transport string, dial func() *raw, lives *sync.WaitGroup)) {
	t.Helper()
	var lives sync.WaitGroup
	defer lives.Wait()
	for name, server := range h.transports() {
		token := h.token(name, everything)
		live(name, func() *raw {
			w, err := dialRaw(server, token)
			testkit.Check(t, err)
			t.Cleanup(func() { _ = w.Close() })
			return w
		}, &lives)
	}
}

// What ends no message counts: a client that sends nothing else is told so within seconds, however small its frames are.
func TestFlood_ends(t *testing.T) {
	const bound = 5 * time.Second
	onEach(t, edge.Config{CommandsPerSecond: 1e6, CommandBurst: 1e6, FrameSize: 512 << 10}, func(t *testing.T, _ *fixture, dial func() *raw) {
		for name, flood := range map[string][]byte{
			"empty fragments":       testkit.ClientFrame(more, ""),
			"fragments of one byte": testkit.ClientFrame(more, "x"),
			"small fragments":       testkit.ClientFrame(more, strings.Repeat("x", 255)),
			"pongs":                 testkit.ClientFrame(finPong, ""),
			"pings":                 testkit.ClientFrame(finPing, "x"),
		} {
			w := dial()
			frames := [][]byte{bytes.Repeat(flood, 1000)}
			if strings.Contains(name, "fragments") {
				frames = slices.Insert(frames, 0, testkit.ClientFrame(text, ""))
			}
			frames = append(frames, slices.Repeat(frames[len(frames)-1:], 5000)...)
			began := time.Now()
			got := w.talk(frames)
			if name == "pings" {
				got = got[strings.LastIndex(got, `pong "x", `)+len(`pong "x", `):]
			}
			if got != "error RATE_LIMITED, close 4429, end" {
				t.Errorf("%s: got %.200s", name, got)
			}
			if took := time.Since(began); took > bound {
				t.Errorf("%s took %s", name, took)
			}
		}
	})
}

// A fragment that carries something is no flood, whatever the writer's buffer is: libraries cut what they send by their buffers.
func TestFlood_isNotALargeMessageInFragments(t *testing.T) {
	const size, messages = 3 << 20, 3
	h := start(t, edge.Config{CommandsPerSecond: 1e6, CommandBurst: 1e6, FrameSize: size})
	token := h.token("ada", everything)
	body := `{"id":9,"ping":{}}`
	body += strings.Repeat(" ", size-len(body))
	for transport, server := range h.transports() {
		for _, buffer := range []int{4 << 10 /* gorilla's own */, 1 << 10, 256} {
			d := websocket.Dialer{
				Subprotocols: []string{native.SubprotocolJSON}, WriteBufferSize: buffer, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			}
			ws, _, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"?token="+token, nil) //nolint:bodyclose // it is the connection
			testkit.Check(t, err)
			c := &client{tb: t, ws: ws}
			c.read() // it is connected
			from := time.Now()
			for range messages {
				c.send(body)
				if f := c.read(); f["pong"] == nil {
					t.Fatalf("%s, fragments of %d bytes: got %v", transport, buffer, f)
				}
			}
			t.Logf("%s, fragments of %d bytes: %d a second", transport, buffer, int(size*messages/float64(buffer)/time.Since(from).Seconds()))
			testkit.Check(t, ws.Close())
		}
	}
}

// Somebody who sends few frames beside messages is no flood, for however long.
func TestFlood_isCountedASecond(t *testing.T) {
	h := start(t, edge.Config{FramesPerSecond: 10})
	h.sideBySide(t, func(transport string, dial func() *raw, lives *sync.WaitGroup) {
		w := dial()
		lives.Go(func() {
			tick := time.NewTicker(300 * time.Millisecond)
			defer tick.Stop()
			for i := range 12 {
				_, err := w.Write(bytes.Repeat(testkit.ClientFrame(finPong, ""), 2))
				if err == nil {
					_, err = w.Write(pingCommand)
				}
				if said := w.said(); err != nil || said != "pong" {
					t.Errorf("%s, round %d: %s, %v", transport, i, said, err)
					return
				}
				<-tick.C
			}
		})
	})
}

// A message has to be finished in time, whatever comes in between. A client that is slow for longer, message after message, is not
// late.
func TestUnfinished_hasADeadline(t *testing.T) {
	h := start(t, edge.Config{MessageTimeout: time.Second, CloseWait: time.Second})
	h.sideBySide(t, func(transport string, dial func() *raw, lives *sync.WaitGroup) {
		for name, begun := range map[string][]byte{
			"a fragment": testkit.ClientFrame(text, `{"id":9,`), "a byte of a header": {finText}, "a header": {finText, 0x80 | 100},
			"half of a frame": testkit.ClientFrame(finText, strings.Repeat(" ", 90))[:50], "a long header, cut": {finText, 0x80 | 127, 0, 0},
		} {
			w := dial()
			_, err := w.Write(begun)
			testkit.Check(t, err)
			beside := []byte{}
			if name == "a fragment" {
				beside = testkit.ClientFrame(finPong, "")
			}
			lives.Go(func() {
				if got := w.talkBeside(beside); got != "error IDLE_TIMEOUT, close 4504, end" {
					t.Errorf("%s, %s: got %s", transport, name, got)
				}
			})
		}
		w := dial()
		lives.Go(func() {
			if err := w.oneAfterTheOther(14); err != nil {
				t.Errorf("%s, one after the other: %v", transport, err)
			}
		})
	})
}

// talkBeside is talk of a client that writes the same again and again.
func (w *raw) talkBeside(same []byte) string {
	done := make(chan string, 1)
	go func() { done <- w.talk(nil) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = w.Write(same) // it may have ended
		case got := <-done:
			return got
		}
	}
}

// oneAfterTheOther sends commands slowly. The end of one and the beginning of the next come together, so something is always on its
// way.
func (w *raw) oneAfterTheOther(n int) error {
	half := len(pingCommand) / 2
	_, err := w.Write(pingCommand[:half])
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < n && err == nil; i++ {
		<-tick.C
		_, err = w.Write(append(bytes.Clone(pingCommand[half:]), pingCommand[:half]...))
		if said := w.said(); said != "pong" {
			return fmt.Errorf("message %d was answered with %s", i, said)
		}
	}
	return err
}

// The last frames are written behind a backlog on every transport, and no frame is cut.
func TestFarewell_behindABacklog(t *testing.T) {
	for name, end := range map[string]struct {
		cfg  edge.Config
		end  func(h *fixture, w *raw)
		want string
	}{
		"overload": {edge.Config{QueueBytes: 256 << 10}, func(*fixture, *raw) {}, "error SLOW_CONSUMER, close 4508, end"},
		"revoked": {edge.Config{QueueBytes: 64 << 20}, func(h *fixture, w *raw) {
			_, err := h.auth.RevokeToken(h.tb.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: w.user}})
			testkit.Check(h.tb, err)
		}, "error TOKEN_REVOKED, close 4401, end"},
		"a broken frame": {edge.Config{QueueBytes: 64 << 20}, func(h *fixture, w *raw) {
			_, err := w.Write(unmasked(finText, "{}"))
			testkit.Check(h.tb, err)
		}, "close 1002, end"},
		"a goodbye": {edge.Config{QueueBytes: 64 << 20}, func(h *fixture, w *raw) {
			_, err := w.Write(goodbye)
			testkit.Check(h.tb, err)
		}, "close 1000, end"},
	} {
		t.Run(name, func(t *testing.T) {
			end.cfg.CloseWait = 10 * time.Second
			onEach(t, end.cfg, func(t *testing.T, h *fixture, dial func() *raw) {
				w, before := dial(), h.edge.Refused()
				stuffed(t, h, w, func() bool {
					return name == "overload" && h.edge.Refused() > before || name != "overload" && h.edge.Backlogs() > 0
				})
				end.end(h, w)
				ends(t, w, end.want)
			})
		})
	}
}

// stuffed fills the backlog of a client.
func stuffed(t *testing.T, h *fixture, w *raw, until func() bool) {
	t.Helper()
	_, err := w.Write(testkit.ClientFrame(finText, fmt.Sprintf(`{"id":2,"subscribe":{"address":%q}}`, "channels/disconnect:x")))
	testkit.Check(t, err)
	if said := w.said(); said != "subscribed" {
		t.Fatalf("subscribe was answered with %s", said)
	}
	h.stuff("channels/disconnect:x", until)
}

// ends reads messages up to the end, and checks what comes last.
func ends(t *testing.T, w *raw, want string) {
	t.Helper()
	w.answers = true
	got := w.talk(nil)
	got = strings.TrimPrefix(got[strings.LastIndex(got, "message, ")+1:], "essage, ")
	if got != want {
		t.Errorf("the end is %s, want %s", got, want)
	}
}
