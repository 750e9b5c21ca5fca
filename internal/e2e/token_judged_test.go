package e2e_test

import (
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
			Claims: config.Claims{Client: "device", Groups: "groups", Grants: "grants"},
		}}
	})
}

// ada is the address of the user of its tokens.
const ada = "users/auth0%7Cada"

// granted are the grants of every token, which the doors of the older protocols need.
var granted = []any{
	map[string]any{"a": "channels/*", "can": []string{"subscribe", "publish", "presence"}},
	map[string]any{"a": "clients/*", "can": []string{"publish"}},
}

// sign returns a token of exactly so many bytes, or of as many as it takes when that is 0. It is filled with a name.
func (i *idp) sign(t *testing.T, bytes int, edit func(jwt.MapClaims)) string {
	t.Helper()
	now := time.Now()
	c := jwt.MapClaims{
		"iss": i.URL, "aud": "us", "sub": "auth0|ada", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"device": "0190b1c6-5f0e-4d7a-9b11-3a2f4c5d6e7f", "grants": granted,
	}
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

// Every door takes a token of up to 16 KiB, and says of a longer one how long it is. What is right in a while is answered so.
func TestTokens_areJudgedAlikeAtEveryDoor(t *testing.T) {
	i := startIDP(t)
	h := apptest.Start(t, i.trusted(), older)
	in := func(d time.Duration) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) {
			c["iat"], c["exp"] = time.Now().Add(d).Unix(), time.Now().Add(d+time.Hour).Unix()
		}
	}
	groups := make([]string, 200)
	for n := range groups {
		groups[n] = uuid.NewString()
	}
	known := i.sign(t, 0, nil)
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
		for door, ask := range tokenDoors(t, h, ada, known) {
			v := ask(tc.token)
			if !v.says(door, tc.reason, tc.message, tc.retry) {
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
	h := apptest.Start(t, i.trusted(), older)
	known := i.sign(t, 0, nil)
	i.Away.Store(true)
	i.kid = "next"
	token := i.sign(t, 0, nil)
	for door, ask := range tokenDoors(t, h, ada, known) {
		if v := ask(token); !v.says(door, "AUTH_UNAVAILABLE", "", true) {
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
	for door, ask := range tokenDoors(t, h, ada, known) {
		if v := ask(known); v != (verdict{}) {
			t.Errorf("a token of a known key at %s: %+v", door, v)
		}
	}
	i.Rename("next")
	i.Away.Store(false)
	for door, ask := range tokenDoors(t, h, ada, known) {
		testkit.Eventually(t, door+" takes its tokens", func() bool { return ask(token) == verdict{} })
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
