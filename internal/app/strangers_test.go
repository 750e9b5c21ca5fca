package app_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// strangers is a system whose older protocols are open, and where a stranger may do a thing three times.
type strangers struct {
	*apptest.Deployment

	t *testing.T
	n int
}

// request sends a request from a network address, and returns why it was refused; empty when it was not.
func (s *strangers) request(method, url, from, body string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+url, strings.NewReader(body))
	testkit.Check(s.t, err)
	req.Header.Set("X-Forwarded-For", from)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	testkit.Check(s.t, err)
	text, err := io.ReadAll(resp.Body)
	testkit.Check(s.t, err)
	testkit.Check(s.t, resp.Body.Close())
	switch {
	case resp.StatusCode == http.StatusOK:
		return ""
	case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
		return "QUOTA_EXCEEDED"
	}
	return fmt.Sprint(resp.Status, " ", string(text))
}

// facilityAway is how the facility protocol refuses what is right later: its clients come back after a while.
const facilityAway = "websocket: close 1001 (going away): Websocket Closed"

// socket sends a frame on a socket of its own, from a network address, and waits for an answer. Empty is one that has what is wanted.
func (s *strangers) socket(url, from, frame, want string) string {
	s.t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(s.t.Context(), "ws://"+url, http.Header{"X-Forwarded-For": {from}})
	if resp != nil && resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "" {
		return "QUOTA_EXCEEDED"
	}
	testkit.Check(s.t, err)
	testkit.Check(s.t, resp.Body.Close())
	defer func() { _ = ws.Close() }()
	testkit.Check(s.t, ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	testkit.Check(s.t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
	for {
		_, b, err := ws.ReadMessage()
		text := string(b)
		if err != nil {
			text = err.Error()
		}
		switch {
		case strings.Contains(text, "QUOTA_EXCEEDED"), strings.Contains(text, "come back after the delay"), text == facilityAway:
			return "QUOTA_EXCEEDED"
		case strings.Contains(text, want):
			return ""
		case err != nil:
			return text
		}
	}
}

// direct calls the publish service itself, as a proxy of gRPC would for the address.
func (s *strangers) direct(from string, more ...string) string {
	md := metadata.Pairs(append([]string{"x-forwarded-for", from}, more...)...)
	_, err := legacyv1.NewRelayServiceClient(apptest.Dial(s.t, s.GRPC, "")).CreateRelayToken(
		metadata.NewOutgoingContext(s.t.Context(), md), &legacyv1.CreateRelayTokenRequest{})
	if err == nil {
		return ""
	}
	for _, d := range status.Convert(err).Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok && retry.GetRetryDelay().AsDuration() > 0 {
			return reason(err)
		}
	}
	return err.Error()
}

// doors are those by which a stranger makes the store keep something.
func (s *strangers) doors() map[string]func(from string) string {
	article := `{"uuid_local":"a","uuid_remote":"b","message":1}`
	channel := func(from, name string) string {
		return s.request(http.MethodPost, s.Legacy["pushserver.http"]+"/channel/create", from,
			`{"messageType":"SERVER_ACTION","action":"CREATE_CHANNEL","data":{"channel":"`+name+`"}}`)
	}
	if got := channel("192.0.2.77", "open"); got != "" {
		s.t.Fatal(got)
	}
	return map[string]func(from string) string{
		"relay, tokens": func(from string) string { return s.request(http.MethodGet, s.Legacy["relay.http"]+"/token", from, "") },
		"relay, records": func(from string) string {
			return s.request(http.MethodPost, s.Legacy["relay.http"]+"/publish", from, article)
		},
		"pushserver, channels": func(from string) string {
			s.n++
			return channel(from, fmt.Sprint("c", s.n))
		},
		"pushserver, subscriptions": func(from string) string {
			return s.socket(s.Legacy["pushserver.websocket"]+"/", from, `{"messageType":"CLIENT_ACTION","action":"SUBSCRIBE","data":{"channel":"open"}}`, "Subscribed")
		},
		"rooms": func(from string) string {
			s.n++
			mark := fmt.Sprint("mark-", s.n)
			return s.socket(s.Legacy["rooms.listen"]+"/ws/1", from, `{"command":"say","data":{"text":"`+mark+`"}}`, mark)
		},
		"facility, messages": func(from string) string {
			s.n++
			frame := fmt.Sprint("message ", s.n)
			return s.socket(s.Legacy["facility.listen"]+"/ws/f?publish-broadcast&subscribe-broadcast&echo", from, frame, frame)
		},
		"facility, commands": func(from string) string {
			return s.socket(s.Legacy["facility.listen"]+"/ws/f?subscribe-broadcast", from, `{"command":"SET a b"}`, `"OK"`)
		},
		"gRPC": func(from string) string { return s.direct(from) },
	}
}

func startStrangers(t *testing.T, more ...apptest.Option) *strangers {
	t.Helper()
	few := config.Allowance{Messages: 3, Subscriptions: 3, Tokens: 3, Channels: 3}
	open := apptest.With(func(c *config.Config) {
		c.Legacy.Dialects, c.Legacy.Open, c.Quotas.Stranger = []string{"all"}, true, few
	})
	all := append([]apptest.Option{open, apptest.Setting(t, "http.trusted_proxies", "127.0.0.0/8"), apptest.Setting(t, "legacy.commands.allow", "SET")}, more...)
	return &strangers{Deployment: apptest.Start(t, all...), t: t}
}

// A stranger who floods is refused, and told when to come back. No other address notices: each has an account of its own, whatever
// door it comes by and however often it connects anew. An IPv6 network is one.
func TestStrangers_payByAddress(t *testing.T) {
	for name, opts := range map[string][]apptest.Option{
		"one process": nil,
		"split":       {apptest.Redis(redistest.Start(t).URL()), apptest.Split(1)},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStrangers(t, opts...)
			i := 0
			for door, do := range s.doors() {
				i++
				from := func(host int) string { return fmt.Sprintf("2001:db8:%x::%x", i, host) }
				for try := range 5 {
					want := ""
					if try >= 3 {
						want = "QUOTA_EXCEEDED"
					}
					if got := do(from(try)); got != want {
						t.Errorf("%s: %d is answered with %q, want %q", door, try, got, want)
					}
				}
				if got := do(fmt.Sprintf("198.51.100.%d", i)); got != "" {
					t.Errorf("%s: another address is answered with %q", door, got)
				}
			}
		})
	}
}

// Whom a call is made for is said by our own processes, and by proxies that are trusted. Nobody else is believed.
func TestStrangers_cannotSayWhoTheyAre(t *testing.T) {
	few := config.Allowance{Messages: 3, Subscriptions: 3, Tokens: 3, Channels: 3}
	h := apptest.Start(t, apptest.With(func(c *config.Config) {
		c.Legacy.Dialects, c.Legacy.Open, c.Quotas.Stranger = []string{"all"}, true, few
	}))
	s := &strangers{Deployment: h, t: t}
	for i := range 5 {
		want := ""
		if i >= 3 {
			want = "QUOTA_EXCEEDED"
		}
		from := fmt.Sprintf("198.51.100.%d", i)
		if got := s.direct(from, "x-trunkline-peer", from, "x-trunkline-gateway", "tk_internal_guess"); got != want {
			t.Errorf("gRPC, call %d: %q, want %q", i, got, want)
		}
	}
	// By now this machine's address has used up its tokens, by whichever door.
	for _, header := range []string{"X-Trunkline-Peer", "Grpc-Metadata-X-Trunkline-Peer", "X-Forwarded-For", "Forwarded"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Legacy["relay.http"]+"/token", nil)
		testkit.Check(t, err)
		req.Header.Set(header, "198.51.100.99")
		if status, body := do(t, req); status != http.StatusTooManyRequests {
			t.Errorf("%s: %d %s", header, status, body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Legacy["relay.http"]+"/token", nil)
	testkit.Check(t, err)
	_, body := do(t, req)
	if !strings.Contains(body, "quotas.stranger.tokens_per_hour") || !strings.Contains(body, `"account":"address"`) {
		t.Errorf("it says %s", body)
	}
}
