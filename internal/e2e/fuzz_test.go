package e2e_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// speaking is a process that speaks all older protocols, to everybody.
func speaking(f *testing.F) map[string]string {
	f.Helper()
	d := apptest.Start(f, apptest.With(func(c *config.Config) {
		c.Legacy.Dialects, c.Legacy.Open = []string{"all"}, true
	}), apptest.Setting(f, "legacy.commands.allow", "GET,SET,DEL,INCR,EXPIRE,TTL"))
	p := d.Processes[0]
	f.Cleanup(func() {
		if strings.Contains(p.Log(), "panic") {
			f.Error(p.Log())
		}
	})
	return d.Legacy
}

// errPong ends the reading of a socket whose ping was answered.
var errPong = errors.New("pong")

func dialOlder(tb testing.TB, address string) *websocket.Conn {
	tb.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial("ws://"+address, nil)
	testkit.Check(tb, err)
	_ = resp.Body.Close()
	ws.SetPongHandler(func(string) error { return errPong })
	return ws
}

// answersPing says how a socket is behind what was written: nil, or how it ended.
func answersPing(ws *websocket.Conn) error {
	_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second)) // what fails shows below
	for {
		if _, _, err := ws.ReadMessage(); errors.Is(err, errPong) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// FuzzOlderSockets writes any frame to a socket of each older protocol. The socket lives on, or is closed with a code that says why; no
// neighbour notices.
func FuzzOlderSockets(f *testing.F) {
	at := speaking(f)
	neighbour := at["facility.listen"] + "/ws/neighbour?subscribe-broadcast"
	f.Fuzz(func(t *testing.T, isBinary bool, frame []byte) {
		beside := dialOlder(t, neighbour)
		defer func() { _ = beside.Close() }()
		kind := websocket.TextMessage
		if isBinary {
			kind = websocket.BinaryMessage
		}
		for _, address := range []string{
			at["facility.listen"] + "/ws/chat?subscribe-broadcast&publish-broadcast&state&echo", at["pushserver.websocket"] + "/", at["rooms.listen"] + "/ws/1",
		} {
			ws := dialOlder(t, address)
			if err := ws.WriteMessage(kind, frame); err != nil {
				t.Fatal(err)
			}
			err := answersPing(ws)
			_ = ws.Close()
			if e, ok := errors.AsType[*websocket.CloseError](err); err != nil && (!ok || e.Code == websocket.CloseInternalServerErr || e.Code == websocket.CloseAbnormalClosure) {
				t.Errorf("%s ends %q with %v", address, frame, err)
			}
		}
		if err := answersPing(beside); err != nil {
			t.Errorf("the neighbour of %q ends: %v", frame, err)
		}
	})
}

// FuzzOlderHTTP sends any body to the routes of older protocols. Each is answered, and nothing is an error of ours.
func FuzzOlderHTTP(f *testing.F) {
	at := speaking(f)
	f.Fuzz(func(t *testing.T, kind string, body []byte, token string) {
		if strings.ContainsAny(kind, "\r\n\x00") {
			return
		}
		for _, url := range []string{
			at["relay.http"] + "/publish", at["pushserver.http"] + "/channel/create", at["pushserver.http"] + "/channel/ping",
			at["pushserver.http"] + "/channel/delete", at["pushserver.http"] + "/push",
		} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+url, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", kind)
			replied(t, r)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at["relay.http"]+"/auth/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.URL.RawPath = "/auth/"+token, ""
		replied(t, r)
	})
}

func replied(t *testing.T, r *http.Request) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		if strings.Contains(err.Error(), "invalid header field") {
			return // the client itself does not send it
		}
		t.Fatalf("%v is not answered: %v", r.URL, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable || len(body) > 1<<20 {
		t.Errorf("%v is answered with %d %s, %v", r.URL, resp.StatusCode, body, err)
	}
}
