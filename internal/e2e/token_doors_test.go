package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// idp is another issuer, which a test takes away.
type idp struct {
	*apptest.Issuer
	kid string // of the tokens that it signs
}

func startIDP(t *testing.T) *idp {
	t.Helper()
	return &idp{apptest.NewIssuer(t, "EdDSA", "k"), "k"}
}

// trusted lets a deployment trust the issuer.
func (i *idp) trusted() apptest.Option {
	return apptest.With(func(c *config.Config) {
		c.Auth.Trust = []config.TrustIssuer{{
			Issuer: i.URL, JWKSURL: i.JWKS, Audience: "us", Algorithms: []string{"EdDSA"},
			Claims: config.Claims{Groups: "groups", Grants: "grants"},
		}}
	})
}

// granted are the grants of every token, which the doors of the older protocols need.
var granted = []any{
	map[string]any{"a": "channels/*", "can": []string{"subscribe", "publish", "presence"}},
	map[string]any{"a": "clients/*", "can": []string{"publish"}},
}

// sign returns a token of exactly so many bytes, or of as many as it takes when that is 0. It is filled with a name.
func (i *idp) sign(t *testing.T, bytes int, edit func(jwt.MapClaims)) string {
	t.Helper()
	now := time.Now()
	c := jwt.MapClaims{"iss": i.URL, "aud": "us", "sub": "auth0|ada", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "grants": granted}
	if edit != nil {
		edit(c)
	}
	for fill := 0; ; fill++ {
		text := i.Sign(t, map[string]any{"kid": i.kid, "typ": "JWT"}, c)
		missing := bytes - len(text)
		if missing <= 0 || fill == 40 {
			return text
		}
		pad, _ := c["name"].(string)
		c["name"] = pad + strings.Repeat("x", max(1, missing*3/4-4))
	}
}

// verdict is what a door says of a token.
type verdict struct {
	reason, message string
	retry           bool // with a delay
}

// tokenDoors are all ways in.
func tokenDoors(t *testing.T, h *apptest.Deployment) map[string]func(token string) verdict {
	t.Helper()
	ws := "ws" + strings.TrimPrefix(h.Edges[0], "http") + "/v1/ws"
	rest := func(path, accept, token string) verdict {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.HTTP+path, nil)
		testkit.Check(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // answered does
		testkit.Check(t, err)
		return answered(t, resp)
	}
	const own = "users/auth0%7Cada"
	return map[string]func(token string) verdict{
		"connect": func(token string) verdict {
			return dialed(t, ws, nil, fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token))
		},
		"query": func(token string) verdict { return dialed(t, ws+"?token="+token, nil, "") },
		"upgrade": func(token string) verdict {
			return dialed(t, ws, http.Header{"Authorization": {"Bearer " + token}}, "")
		},
		"REST":   func(token string) verdict { return rest("/v1/"+own+"/inbox", "application/json", token) },
		"events": func(token string) verdict { return rest("/v1/"+own+"/stream", "text/event-stream", token) },
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
	}
}

func refusedAs(err error) verdict {
	if err == nil {
		return verdict{}
	}
	e := rpc.FromError(err)
	return verdict{e.Reason, e.Message, e.RetryAfter > 0}
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
	v := verdict{body.Error.Details[0].Reason, body.Error.Message, resp.Header.Get("Retry-After") != ""}
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
			v.reason = closed.Text
			return v
		}
		testkit.Check(t, err)
		var f struct {
			Connected *struct{}
			Error     *struct{ Reason, Message, RetryDelay string }
		}
		testkit.Check(t, json.Unmarshal(text, &f))
		if f.Connected != nil {
			return verdict{}
		}
		if f.Error != nil {
			v = verdict{f.Error.Reason, f.Error.Message, f.Error.RetryDelay != ""}
		}
	}
}

// Every door takes a token of up to 16 KiB, and says of a longer one how long it is. What is right in a while is answered so.
func TestTokens_areJudgedAlikeAtEveryDoor(t *testing.T) {
	i := startIDP(t)
	h := apptest.Start(t, i.trusted())
	in := func(d time.Duration) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) {
			c["iat"], c["exp"] = time.Now().Add(d).Unix(), time.Now().Add(d+time.Hour).Unix()
		}
	}
	groups := make([]string, 200)
	for n := range groups {
		groups[n] = uuid.NewString()
	}
	for name, tc := range map[string]struct {
		token, reason, message string
		retry                  bool
	}{
		"one of 200 groups":   {token: i.sign(t, 0, func(c jwt.MapClaims) { c["groups"] = groups })},
		"as long as may be":   {token: i.sign(t, bus.MaxToken-8, nil)},
		"longer":              {token: i.sign(t, bus.MaxToken+8, nil), reason: "MESSAGE_TOO_LARGE", message: "the limit is 16384"},
		"much longer":         {token: i.sign(t, 40<<10, nil), reason: "MESSAGE_TOO_LARGE", message: "the limit is 16384"},
		"of a clock ahead":    {token: i.sign(t, 0, in(30*time.Second))},
		"of a clock further":  {token: i.sign(t, 0, in(2*time.Minute)), reason: "TOKEN_NOT_YET_VALID", retry: true},
		"of another audience": {token: i.sign(t, 0, func(c jwt.MapClaims) { c["aud"] = "them" }), reason: "TOKEN_INVALID", message: "token is not valid"},
	} {
		for door, ask := range tokenDoors(t, h) {
			v := ask(tc.token)
			viaClose := v.message == "" && v.reason != "" // a close frame holds the reason alone
			if v.reason != tc.reason || !viaClose && (!strings.Contains(v.message, tc.message) || v.retry != tc.retry) {
				t.Errorf("%s at %s: %+v, want %s %q, retry %v", name, door, v, tc.reason, tc.message, tc.retry)
			}
			if strings.Contains(v.message, "them") {
				t.Errorf("%s at %s tells %q to everybody", name, door, v.message)
			}
		}
	}
	if log := h.Processes[0].Log(); strings.Count(log, `"check":"aud"`) != 1 || !strings.Contains(log, "them") {
		t.Errorf("the log does not say once what was wrong with the audience:\n%s", log)
	}
	if log := h.Processes[0].Log(); strings.Contains(log, "eyJ") {
		t.Error("the log holds a token")
	}
}

// An issuer that is away is named by readiness, and every door tells its clients to come back.
func TestTokens_ofAnIssuerThatIsAway(t *testing.T) {
	i := startIDP(t)
	h := apptest.Start(t, i.trusted())
	known := i.sign(t, 0, nil)
	i.Away.Store(true)
	i.kid = "next"
	token := i.sign(t, 0, nil)
	for door, ask := range tokenDoors(t, h) {
		if v := ask(token); v.reason != "AUTH_UNAVAILABLE" || v.message != "" && !v.retry {
			t.Errorf("%s: %+v", door, v)
		}
	}
	get := func(path string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Internal+path, nil)
		testkit.Check(t, err)
		resp, err := http.DefaultClient.Do(req)
		testkit.Check(t, err)
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		testkit.Check(t, err)
		return resp.Status + " " + string(text)
	}
	if text := get("/readyz?verbose"); !strings.HasPrefix(text, "200") || !strings.Contains(text, "issuer "+i.URL) || !strings.Contains(text, "502") {
		t.Errorf("readiness: %s", text)
	}
	if text := get("/metrics"); !strings.Contains(text, `trunkline_auth_issuer_keys_ready{issuer="`+i.URL+`"} 0`) ||
		!strings.Contains(text, "trunkline_auth_signing_keys_end_seconds 0") {
		t.Error("the metrics do not say so")
	}
	if n := strings.Count(h.Processes[0].Log(), "cannot read the keys of an issuer"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	for door, ask := range tokenDoors(t, h) {
		if v := ask(known); v.reason != "" {
			t.Errorf("a token of a known key at %s: %+v", door, v)
		}
	}
	i.Rename("next")
	i.Away.Store(false)
	for door, ask := range tokenDoors(t, h) {
		testkit.Eventually(t, door+" takes its tokens", func() bool { return ask(token).reason == "" })
	}
	if text := get("/readyz?verbose"); !strings.Contains(text, "issuer "+i.URL+": ok") {
		t.Errorf("readiness: %s", text)
	}
}

// A connection takes the next token of its user, and stays the client it was. Each of these tokens stands for a client of its own.
func TestTokens_ofAnIssuerAreRefreshedInPlace(t *testing.T) {
	i := startIDP(t)
	h := apptest.Start(t, i.trusted())
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.Edges[0], "http")+"/v1/ws?token="+i.sign(t, 0, nil), nil)
	testkit.Check(t, err)
	_ = resp.Body.Close()
	defer func() { _ = ws.Close() }()
	read := func() string {
		_, text, err := ws.ReadMessage()
		testkit.Check(t, err)
		return string(text)
	}
	first := read()
	_, rest, _ := strings.Cut(first, `"client":"`)
	client, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("got %s", first)
	}
	next := i.sign(t, 0, func(c jwt.MapClaims) { c["jti"] = "next" })
	testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"refresh":{"token":%q}}`, next)))
	if f := read(); !strings.Contains(f, `"refreshed"`) {
		t.Fatalf("the next token: %s", f)
	}
	_, err = h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "clients/" + client, Data: []byte(`"still"`)})
	testkit.Check(t, err)
	if f := read(); !strings.Contains(f, `"still"`) {
		t.Errorf("got %s", f)
	}
	other := i.sign(t, 0, func(c jwt.MapClaims) { c["sub"] = "auth0|bob" })
	testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":2,"refresh":{"token":%q}}`, other)))
	for err == nil {
		_, _, err = ws.ReadMessage()
	}
	if !websocket.IsCloseError(err, 4401) {
		t.Errorf("another user's token: %v", err)
	}
}
