package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/gateway"
	"github.com/trunkline/trunkline/internal/testkit"
)

// tickets is a gateway with a client that may follow two channels.
type tickets struct {
	t     *testing.T
	web   *httptest.Server
	key   string
	token string // as a header
	raw   string
}

func newTickets(t *testing.T, actions string) *tickets {
	t.Helper()
	h := &tickets{t: t}
	h.web, h.key = serveServices(t)
	got := testkit.Send(t, h.web, "POST", "/v1/tokens:issue",
		`{"user":"ada","grants":[{"address":"channels/a","actions":[`+actions+`]},{"address":"channels/b","actions":[`+actions+`]}]}`, h.key)
	var issued struct{ Token string }
	testkit.Check(t, json.Unmarshal([]byte(got.Body), &issued))
	h.raw, h.token = issued.Token, "Authorization: Bearer "+issued.Token
	return h
}

const mayReplay = `"ACTION_SUBSCRIBE","ACTION_HISTORY"`

// mint returns a ticket.
func (h *tickets) mint(address string) string {
	h.t.Helper()
	got := testkit.Send(h.t, h.web, "POST", "/v1/"+address+"/stream:ticket", `{}`, h.token)
	var made struct {
		Ticket     string
		ExpireTime time.Time
	}
	testkit.Check(h.t, json.Unmarshal([]byte(got.Body), &made))
	if left := time.Until(made.ExpireTime); got.Status != http.StatusOK || made.Ticket == "" || left > time.Minute || left < 40*time.Second {
		h.t.Fatalf("got %d %s", got.Status, got.Body)
	}
	return made.Ticket
}

// stream is an open event stream as a browser has one.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
	end   context.CancelFunc
}

// open opens a stream, or returns the refusal.
func (h *tickets) open(path string, header ...string) (*stream, int, string) {
	h.t.Helper()
	ctx, end := context.WithCancel(h.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.web.URL+path, nil)
	testkit.Check(h.t, err)
	req.Header.Set("Accept", "text/event-stream")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := h.web.Client().Do(req)
	testkit.Check(h.t, err)
	h.t.Cleanup(func() { end(); _ = resp.Body.Close() })
	s := &stream{t: h.t, lines: bufio.NewScanner(resp.Body), end: end}
	if resp.StatusCode != http.StatusOK {
		s.lines.Scan()
		return nil, resp.StatusCode, s.lines.Text()
	}
	return s, resp.StatusCode, ""
}

// next returns the id and the data of the next event of a name.
func (s *stream) next(name string) (id, data string) {
	s.t.Helper()
	event := ""
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if event == name {
				return id, data
			}
			id, event, data = "", "", ""
		}
	}
	s.t.Fatalf("the stream ended before %q", name)
	return "", ""
}

func (h *tickets) publish(channel, data string) {
	h.t.Helper()
	if got := testkit.Send(h.t, h.web, "POST", "/v1/channels/"+channel+":publish", `{"data":`+data+`}`, h.key); got.Status != http.StatusOK {
		h.t.Fatalf("got %d %s", got.Status, got.Body)
	}
}

func (h *tickets) refused(what, path, reason string, header ...string) {
	h.t.Helper()
	if _, status, body := h.open(path, header...); status == http.StatusOK || !strings.Contains(body, reason) {
		h.t.Errorf("%s: %d %s, want %s", what, status, body, reason)
	}
}

// A page opens a stream with a ticket in the URL, and its browser comes back to where it was with what the events said.
func TestTicket_comesBack(t *testing.T) {
	h := newTickets(t, mayReplay)
	path := "/v1/channels/a/stream?ticket=" + h.mint("channels/a") + "&_=1700000000000"
	s, status, body := h.open(path)
	if s == nil {
		t.Fatalf("got %d %s", status, body)
	}
	first, _ := s.next("subscribed")
	h.publish("a", "1")
	id, data := s.next("message")
	if !strings.Contains(data, `"data":1`) || !strings.Contains(id, ":1~") || !strings.Contains(first, "~") {
		t.Errorf("ids %q and %q, data %s", first, id, data)
	}
	s.end()
	h.publish("a", "2")
	for range 2 { // a browser comes back as often as its network fails
		if s, status, body = h.open(path, "Last-Event-ID: "+id); s == nil {
			t.Fatalf("got %d %s", status, body)
		}
		if _, data = s.next("message"); !strings.Contains(data, `"data":2`) {
			t.Errorf("came back to %s", data)
		}
		s.end()
	}
	if s, status, body = h.open(path + "&lastEventId=" + id); s == nil { // of a library without the header
		t.Fatalf("got %d %s", status, body)
	}
	position, _, _ := strings.Cut(id, "~")
	h.refused("the ticket again", path, "TICKET_INVALID")
	h.refused("a position without a proof", path, "TICKET_INVALID", "Last-Event-ID: "+position)
	h.refused("a wrong proof", path, "TICKET_INVALID", "Last-Event-ID: "+position+"~"+strings.Repeat("A", 22))
	if s, status, body = h.open("/v1/channels/a/stream", h.token, "Last-Event-ID: "+id); s == nil { // the id of a ticket, with the token
		t.Errorf("got %d %s", status, body)
	}
}

// A token without history follows from now on, each time: its browser sends no position.
func TestTicket_withoutHistory(t *testing.T) {
	h := newTickets(t, `"ACTION_SUBSCRIBE"`)
	path := "/v1/channels/a/stream?ticket=" + h.mint("channels/a")
	s, status, body := h.open(path)
	if s == nil {
		t.Fatalf("got %d %s", status, body)
	}
	id, _ := s.next("subscribed")
	h.publish("a", "1")
	if more, _ := s.next("message"); more != "" || !strings.HasPrefix(id, "~") {
		t.Errorf("ids %q and %q", id, more)
	}
	s.end()
	if s, status, body = h.open(path, "Last-Event-ID: "+id); s == nil {
		t.Fatalf("got %d %s", status, body)
	}
	s.next("subscribed")
}

func TestTicket_opensNothingElse(t *testing.T) {
	h := newTickets(t, mayReplay)
	h.refused("another address", "/v1/channels/b/stream?ticket="+h.mint("channels/a"), "CHANNEL_SUBSCRIBE_DENIED")
	h.refused("a topic of it", "/v1/channels/a/topics/x/stream?ticket="+h.mint("channels/a"), "CHANNEL_SUBSCRIBE_DENIED")
	h.refused("presence", "/v1/channels/a/stream?presence=true&ticket="+h.mint("channels/a"), "CHANNEL_PRESENCE_DENIED")
	h.refused("two credentials", "/v1/channels/a/stream?ticket="+h.mint("channels/a"), "send one of them", h.token)
	h.refused("two tickets", "/v1/channels/a/stream?ticket="+h.mint("channels/a")+"&ticket=x", "ticket")
	h.refused("none", "/v1/channels/a/stream?ticket=", "TICKET_INVALID")
	h.refused("garbage", "/v1/channels/a/stream?ticket=%00%ff", "TICKET_INVALID")
	h.refused("a token", "/v1/channels/a/stream?ticket="+h.raw, "TICKET_INVALID")
	h.refused("a token by its own name", "/v1/channels/a/stream?token="+h.raw, "UNKNOWN_FIELD")
	h.refused("another route", "/v1/channels/a/messages?ticket="+h.mint("channels/a"), "UNKNOWN_FIELD")
	h.refused("receipts", "/v1/users/ada/receipts/x/stream?ticket="+h.mint("channels/a"), "UNKNOWN_FIELD")
	for _, call := range [][3]string{
		{"GET", "/v1/channels/a/messages", ""}, {"POST", "/v1/channels/a:publish", `{"data":1}`}, {"POST", "/v1/channels/a/stream:ticket", `{}`},
	} {
		got := testkit.Send(t, h.web, call[0], call[1], call[2], "Authorization: Ticket "+h.mint("channels/a"))
		if got.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", call[1], got.Status, got.Body)
		}
	}
	got := testkit.Send(t, h.web, "GET", "/v1/channels/a/messages", "", "Authorization: Bearer "+h.mint("channels/a"))
	if got.Status != http.StatusUnauthorized {
		t.Errorf("as a token: %d %s", got.Status, got.Body)
	}
}

func TestTicket_isMintedForTheStream(t *testing.T) {
	h := newTickets(t, mayReplay)
	for what, tt := range map[string]struct {
		path, credential string
		status           int
		reason           string
	}{
		"a channel that is not granted": {"/v1/channels/c/stream:ticket", h.token, 403, "CHANNEL_SUBSCRIBE_DENIED"},
		"nobody":                        {"/v1/channels/a/stream:ticket", "X-Nobody: 1", 401, "TOKEN_MISSING"},
		"a back end":                    {"/v1/channels/a/stream:ticket", h.key, 403, "issue a token"},
		"its own user":                  {"/v1/users/ada/stream:ticket", h.token, 200, "tls_"},
		"another user":                  {"/v1/users/bob/stream:ticket", h.token, 403, "DENIED"},
	} {
		if got := testkit.Send(t, h.web, "POST", tt.path, `{}`, tt.credential); got.Status != tt.status || !strings.Contains(got.Body, tt.reason) {
			t.Errorf("%s: %d %s", what, got.Status, got.Body)
		}
	}
}

// Whatever ends the token ends its tickets, those that were used too.
func TestTicket_endsWithItsToken(t *testing.T) {
	h := newTickets(t, mayReplay)
	path, unused := "/v1/channels/a/stream?ticket="+h.mint("channels/a"), h.mint("channels/a")
	s, _, _ := h.open(path)
	id, _ := s.next("subscribed")
	s.end()
	got := testkit.Send(t, h.web, "POST", "/v1/tokens:revoke", `{"token":"`+h.raw+`"}`, h.key)
	if got.Status != http.StatusOK {
		t.Fatalf("got %d %s", got.Status, got.Body)
	}
	testkit.Eventually(t, "the token is refused", func() bool {
		return testkit.Send(t, h.web, "GET", "/v1/channels/a/messages", "", h.token).Status == http.StatusUnauthorized
	})
	h.refused("the stream that comes back", path, "TOKEN_REVOKED", "Last-Event-ID: "+id)
	h.refused("a ticket that was not used", "/v1/channels/a/stream?ticket="+unused, "TOKEN_REVOKED")
}

// What libraries add to URLs so that no cache answers is not taken for a field; Last-Event-ID 0 is from now on.
func TestStream_takesWhatLibrariesSend(t *testing.T) {
	s := serveEcho(t.Context(), t, gateway.Config{})
	for _, query := range []string{"?_=1700000000000", "?t=17&cb=x", "?nocache=0.123&r=0.5", "?lastEventId=0", "?lastEventId="} {
		for _, last := range []string{"", "0"} {
			got := testkit.Send(t, s, "GET", "/v1/channels/a/stream"+query, "", "Last-Event-ID: "+last)
			if got.Status != http.StatusOK || strings.Contains(got.Body, `"recovered":true`) {
				t.Errorf("%s, last event %q: %d %s", query, last, got.Status, got.Body)
			}
		}
	}
	if got := testkit.Send(t, s, "GET", "/v1/channels/a/messages?_=17", ""); got.Status != http.StatusOK {
		t.Errorf("messages: %d %s", got.Status, got.Body)
	}
	for _, query := range []string{"?_=1&_=2", "?_=" + strings.Repeat("1", 65), "?tt=1"} {
		if got := testkit.Send(t, s, "GET", "/v1/channels/a/stream"+query, ""); got.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, got.Status, got.Body)
		}
	}
}
