package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// verdict is what a door says of a token.
type verdict struct {
	reason, message string
	retry           bool // with a delay
	brief           bool // the door has no words for a message or a delay
	status          int  // of an older protocol, which may have no words for the reason
}

// ownStatuses are what older protocols answer in place of the status of the catalogue.
var ownStatuses = map[string]map[string]int{
	"facility":   {"TOKEN_INVALID": http.StatusForbidden, "TOKEN_NOT_YET_VALID": http.StatusForbidden},
	"pushserver": {"TOKEN_NOT_YET_VALID": http.StatusServiceUnavailable},
}

// says returns whether a door refuses for the reason, or lets in when that is empty.
func (v verdict) says(door, reason, message string, retry bool) bool {
	switch {
	case reason == "":
		return v == verdict{}
	case v.status != 0 && v.status != cmp.Or(ownStatuses[door][reason], refusal.Of(reason).HTTP):
		return false
	case v.reason != reason && (v.status == 0 || v.reason != ""):
		return false
	}
	return v.brief || strings.Contains(v.message, message) && v.retry == retry
}

// older lets a deployment speak the older protocols whose sockets take tokens.
var older = apptest.With(func(c *config.Config) { c.Legacy.Dialects = []string{"rooms", "pushserver", "facility"} })

// tokenDoors are all ways in of a deployment that speaks the older protocols too. The tokens
// are of the user with the address own, and the known one is taken.
func tokenDoors(t *testing.T, h *apptest.Deployment, own, known string) map[string]func(token string) verdict {
	t.Helper()
	ws := "ws" + strings.TrimPrefix(h.Edges[0], "http") + "/v1/ws"
	stream := "/v1/" + own + "/stream"
	return map[string]func(token string) verdict{
		"connect": func(token string) verdict {
			return dialed(t, ws, nil, fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
		},
		"query": func(token string) verdict { return dialed(t, ws+"?token="+token, nil, "") },
		"upgrade": func(token string) verdict {
			return dialed(t, ws, http.Header{"Authorization": {"Bearer " + token}}, "")
		},
		"refresh": func(token string) verdict {
			return dialed(t, ws+"?token="+known, nil, fmt.Sprintf(`{"id":1,"refresh":{"token":%q}}`, token))
		},
		"REST":   func(token string) verdict { return asked(t, http.MethodGet, h.HTTP+"/v1/"+own+"/inbox", token, nil) },
		"events": func(token string) verdict { return asked(t, http.MethodGet, h.HTTP+stream, token, nil) },
		"ticket": func(token string) verdict {
			var made struct{ Ticket string }
			if v := asked(t, http.MethodPost, h.HTTP+stream+":ticket", token, &made); v.reason != "" {
				return v
			}
			return asked(t, http.MethodGet, h.HTTP+stream+"?ticket="+made.Ticket, "", nil)
		},
		"gRPC": func(token string) verdict {
			inbox := publishv1.NewInboxServiceClient(apptest.Dial(t, h.GRPC, token))
			_, err := inbox.ListInbox(t.Context(), &publishv1.ListInboxRequest{Address: own})
			return refusedAs(err)
		},
		"gRPC stream": func(token string) verdict {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := publishv1.NewPublishServiceClient(apptest.Dial(t, h.GRPC, token)).Consume(ctx, &publishv1.ConsumeRequest{Address: own})
			testkit.Check(t, err)
			_, err = stream.Recv() // the first answer, or the refusal
			return refusedAs(err)
		},
		"command line": func(token string) verdict { return commanded(t, h, own, token) },
		"rooms":        func(token string) verdict { return opened(t, h.Legacy["rooms.listen"]+"/ws/1?token="+token) },
		"pushserver":   func(token string) verdict { return opened(t, h.Legacy["pushserver.websocket"]+"/?token="+token) },
		"facility": func(token string) verdict {
			return opened(t, h.Legacy["facility.listen"]+"/ws/chat?subscribe-user&token="+token)
		},
	}
}

// asked makes a request with a token, and reads the answer into a value if there is one.
func asked(t *testing.T, method, url, token string, into any) verdict {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	testkit.Check(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if strings.Contains(url, "/stream") {
		req.Header.Set("Accept", "text/event-stream")
	}
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // answered does
	testkit.Check(t, err)
	if into != nil && resp.StatusCode == http.StatusOK {
		testkit.Check(t, json.NewDecoder(resp.Body).Decode(into))
	}
	return answered(t, resp)
}

// reasons finds the reason in the answer of a protocol that has a form of its own.
var reasons = regexp.MustCompile(`\b(?:TOKEN|AUTH|MESSAGE)_[A-Z_]+`)

// errAlive ends the reading of a socket that answers a ping.
var errAlive = errors.New("the socket is open")

// opened opens a socket of an older protocol, and says whether it stays.
func opened(t *testing.T, at string) verdict {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+at, nil) //nolint:bodyclose // gorilla has read it
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		testkit.Check(t, err)
		return verdict{
			reason: reasons.FindString(string(text)), message: string(text), retry: resp.Header.Get("Retry-After") != "", status: resp.StatusCode,
		}
	}
	defer func() { _ = ws.Close() }()
	ws.SetPongHandler(func(string) error { return errAlive })
	testkit.Check(t, ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second)))
	for {
		_, _, err := ws.ReadMessage()
		if errors.Is(err, errAlive) {
			return verdict{}
		}
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			return verdict{reason: closed.Text, brief: true}
		}
		testkit.Check(t, err)
	}
}

// commanded reads an inbox by the command line.
func commanded(t *testing.T, h *apptest.Deployment, own, token string) verdict {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "inbox", own)
	cmd.Env = append(os.Environ(), "TRUNKLINE_SERVER="+h.HTTP, "TRUNKLINE_GRPC="+h.GRPC, "TRUNKLINE_TOKEN="+token)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), token) {
		t.Error("the command line shows the token")
	}
	if err == nil {
		return verdict{}
	}
	reason := reasons.FindString(string(out))
	_, message, _ := strings.Cut(string(out), reason)
	want := map[bool]int{true: 4, false: 1}[refusal.Of(reason).Code == refusal.Unauthenticated]
	if refusal.Of(reason).Code == refusal.Unavailable {
		want = 5
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Errorf("%s is exit code %d, want %d", reason, code, want)
	}
	return verdict{reason: reason, message: message, brief: true}
}

func refusedAs(err error) verdict {
	if err == nil {
		return verdict{}
	}
	e := rpc.FromError(err)
	return verdict{reason: e.Reason, message: e.Message, retry: e.RetryAfter > 0}
}

// answered reads the answer of an HTTP door.
func answered(t *testing.T, resp *http.Response) verdict {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return verdict{}
	}
	text, err := io.ReadAll(resp.Body)
	testkit.Check(t, err)
	var body struct {
		Error struct {
			Message string
			Details []struct{ Reason string }
		}
	}
	if err := json.Unmarshal(text, &body); err != nil || len(body.Error.Details) == 0 {
		return verdict{reason: resp.Status, message: string(text)}
	}
	v := verdict{reason: body.Error.Details[0].Reason, message: body.Error.Message, retry: resp.Header.Get("Retry-After") != ""}
	if want := refusal.Of(v.reason).HTTP; resp.StatusCode != want {
		t.Errorf("%s has the status %d, want %d", v.reason, resp.StatusCode, want)
	}
	return v
}

// dialed opens a WebSocket, sends a frame if there is one, and reads what becomes of it.
func dialed(t *testing.T, url string, header http.Header, frame string) verdict {
	t.Helper()
	ws, resp, err := (&websocket.Dialer{WriteBufferSize: 64 << 10}).DialContext(t.Context(), url, header) //nolint:bodyclose // answered does, and of a connection it is the connection
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return answered(t, resp)
	}
	defer func() { _ = ws.Close() }()
	refreshes := strings.Contains(frame, `"refresh"`)
	if frame != "" {
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
	}
	var v verdict
	for {
		_, text, err := ws.ReadMessage()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			if want := refusal.Of(closed.Text).Close; closed.Code != want {
				t.Errorf("closed with %d %s, want %d", closed.Code, closed.Text, want)
			}
			v.reason, v.brief = closed.Text, v.message == "" // a close frame holds the reason alone
			return v
		}
		testkit.Check(t, err)
		var f struct {
			Connected, Refreshed *struct{}
			Error                *struct{ Reason, Message, RetryDelay string }
		}
		testkit.Check(t, json.Unmarshal(text, &f))
		if f.Refreshed != nil || f.Connected != nil && !refreshes {
			return verdict{}
		}
		if f.Error != nil {
			v = verdict{reason: f.Error.Reason, message: f.Error.Message, retry: f.Error.RetryDelay != ""}
			if refreshes {
				return v // whether it stays connected is told elsewhere
			}
		}
	}
}
