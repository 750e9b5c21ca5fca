package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type fixture struct {
	*auth.Server
	store *memory.Store
	clock *clock
	key   auth.KeyConfig
}

func start(tb testing.TB, edit ...func(*auth.Config)) fixture {
	tb.Helper()
	key, err := auth.NewKey("k1")
	testkit.Check(tb, err)
	c := &clock{now: time.Now()}
	store := memory.New(memory.Config{Now: c.Now})
	cfg := auth.Config{Keys: []auth.KeyConfig{key}, Now: c.Now}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := auth.New(store, cfg)
	testkit.Check(tb, err)
	run(tb, s)
	return fixture{s, store, c, key}
}

// run lets a server read the keys of other issuers until the test ends.
func run(tb testing.TB, s *auth.Server) {
	tb.Helper()
	ended, ctx := make(chan error), tb.Context()
	go func() { ended <- s.Run(ctx) }()
	tb.Cleanup(func() { testkit.Check(tb, <-ended) })
}

func (f fixture) issue(tb testing.TB, req *authv1.IssueTokenRequest) *authv1.IssueTokenResponse {
	tb.Helper()
	resp, err := f.IssueToken(tb.Context(), req)
	testkit.Check(tb, err)
	return resp
}

func (f fixture) validate(ctx context.Context, token string) error {
	_, err := f.ValidateToken(ctx, &authv1.ValidateTokenRequest{Token: token})
	return err
}

func TestIssue_validatesToTheSameIdentity(t *testing.T) {
	f := start(t)
	req := &authv1.IssueTokenRequest{
		Client: "c1", User: "ada", Session: "s1", Groups: []string{"g1", "g2"}, Ttl: durationpb.New(time.Hour),
		Grants: []*authv1.Grant{{Address: "channels/orders:*", Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_HISTORY}}},
	}
	token := f.issue(t, req)
	resp, err := f.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token.GetToken()})
	testkit.Check(t, err)
	id := convert.Identity(resp.GetIdentity())
	if id.Client != "c1" || id.User != "ada" || id.Session != "s1" || fmt.Sprint(id.Groups) != "[g1 g2]" || id.TokenID != token.GetTokenId() {
		t.Errorf("identity is %+v", id)
	}
	eu, err := bus.ParseAddress("channels/orders:eu")
	testkit.Check(t, err)
	other, err := bus.ParseAddress("channels/ordersx")
	testkit.Check(t, err)
	if !id.Allows(bus.Subscribe, eu) || !id.Allows(bus.History, eu) || id.Allows(bus.Publish, eu) || id.Allows(bus.Subscribe, other) {
		t.Errorf("grants are %+v", id.Grants)
	}
}

func TestIssue_reportsAllBadFields(t *testing.T) {
	f := start(t)
	_, err := f.IssueToken(t.Context(), &authv1.IssueTokenRequest{
		Client: "a\nb", User: "100%", Session: "\x7f", Groups: []string{"ok", ""}, Ttl: durationpb.New(48 * time.Hour),
		Grants: []*authv1.Grant{{Address: "channels/a*"}, {Address: "channels/b", Actions: []authv1.Action{99}}},
	})
	var e *bus.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var fields []string
	for _, v := range e.Fields {
		fields = append(fields, v.Field)
	}
	want := "[client user session groups[1] ttl grants[0].address grants[0].actions grants[1].actions[0]]"
	if fmt.Sprint(fields) != want {
		t.Errorf("fields are %v, want %s", fields, want)
	}
}

// forge signs claims and a header with a key.
func forge(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	testkit.Check(t, err)
	return text
}

// The tokens of PROMISES' table that apply: everything that is not right has one text outside.
func TestValidate_refusesEverythingThatIsNotRight(t *testing.T) {
	f := start(t)
	good := f.issue(t, &authv1.IssueTokenRequest{User: "ada"}).GetToken()
	parts := strings.Split(good, ".")
	private, err := jwt.ParseEdPrivateKeyFromPEM(f.key.PEM)
	testkit.Check(t, err)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	testkit.Check(t, err)
	public := private.(ed25519.PrivateKey).Public().(ed25519.PublicKey)
	now := f.clock.Now()
	claims := func(edit func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{
			"iss": "trunkline", "aud": "trunkline", "sub": "ada", "cid": "c", "jti": uuid.NewString(),
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "ims": now.UnixMilli(),
		}
		if edit != nil {
			edit(c)
		}
		return c
	}
	header := map[string]any{"kid": "k1", "typ": "at+jwt"}
	set := func(k string, v any) string {
		return forge(t, jwt.SigningMethodEdDSA, private, header, claims(func(c jwt.MapClaims) { c[k] = v }))
	}
	drop := func(k string) string {
		return forge(t, jwt.SigningMethodEdDSA, private, header, claims(func(c jwt.MapClaims) { delete(c, k) }))
	}
	head := func(edit map[string]any) string {
		h := map[string]any{"kid": "k1", "typ": "at+jwt"}
		maps.Copy(h, edit)
		return forge(t, jwt.SigningMethodEdDSA, private, h, claims(nil))
	}
	if err := f.validate(t.Context(), set("sub", "ada")); err != nil {
		t.Fatalf("the forger's good token is refused: %v", err)
	}
	refresh := f.issue(t, &authv1.IssueTokenRequest{Refreshable: true}).GetRefreshToken()
	for name, token := range map[string]string{
		"one dot": "a.b", "two dots": "..", "four parts": good + ".x", "a space": parts[0] + " ." + parts[1] + "." + parts[2],
		"newline": good + "\n", "Bearer twice": "Bearer " + good, "header not base64": "!." + parts[1] + "." + parts[2],
		"header not JSON": base64.RawURLEncoding.EncodeToString([]byte("x")) + "." + parts[1] + "." + parts[2],
		"header array":    base64.RawURLEncoding.EncodeToString([]byte("[]")) + "." + parts[1] + "." + parts[2],
		"padding":         parts[0] + "." + parts[1] + "." + parts[2] + "==",
		"signature cut":   good[:len(good)-1], "no signature": parts[0] + "." + parts[1] + ".",
		"signature of another": parts[0] + "." + parts[1] + "." + strings.Split(set("sub", "bob"), ".")[2],
		"alg none":             forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, header, claims(nil)),
		"alg confusion":        forge(t, jwt.SigningMethodHS256, []byte(public), header, claims(nil)),
		"a stranger's key":     forge(t, jwt.SigningMethodEdDSA, stranger, header, claims(nil)),
		"kid unknown":          head(map[string]any{"kid": "k2"}), "kid a path": head(map[string]any{"kid": "../../dev/null"}),
		"kid a number": head(map[string]any{"kid": 7}), "crit": head(map[string]any{"crit": []string{"x"}}),
		"zip": head(map[string]any{"zip": "DEF"}), "typ of another use": head(map[string]any{"typ": "JWT"}),
		"jku without kid": head(map[string]any{"kid": "", "jku": "http://127.0.0.1:1/"}),
		"iss wrong":       set("iss", "x"), "iss array": set("iss", []string{"trunkline"}), "aud wrong": set("aud", "x"), "aud missing": drop("aud"),
		"aud list without us": set("aud", []string{"a", "b"}), "exp missing": drop("exp"), "exp text": set("exp", "x"), "exp negative": set("exp", -1),
		"nbf in the future": set("nbf", now.Add(time.Hour).Unix()), "iat in the future": set("iat", now.Add(time.Hour).Unix()),
		"sub tab": set("sub", "a\tb"), "sub NUL": set("sub", "a\x00b"), "sub C1": set("sub", "a\u0085b"), "sub number": set("sub", 7),
		"sub long": set("sub", strings.Repeat("x", 300)), "unknown right": set("grants", []any{map[string]any{"a": "channels/x", "can": []string{"dance"}}}),
		"bad pattern": set("grants", []any{map[string]any{"a": "chan*", "can": []string{"publish"}}}), "dots": strings.Repeat(".", 7000),
		"8 KiB and more": set("sub", strings.Repeat("x", 9000)), "five parts": strings.Repeat("a.", 4) + "a", "a refresh token": refresh,
		"an unknown uuid": uuid.NewString(), "rubbish": "x",
	} {
		t.Run(name, func(t *testing.T) {
			err := f.validate(t.Context(), token)
			var e *bus.Error
			if !errors.As(err, &e) {
				t.Fatalf("error is %v", err)
			}
			if name == "exp negative" && e.Reason == "TOKEN_EXPIRED" {
				return
			}
			if strings.HasSuffix(name, " in the future") && e.Reason == "TOKEN_NOT_YET_VALID" && e.RetryAfter > 0 && len(e.Metadata) == 0 {
				return
			}
			if e.Reason != "TOKEN_INVALID" || e.Message != "token is not valid" || len(e.Metadata) > 0 {
				t.Errorf("refused with %s %q %v", e.Reason, e.Message, e.Metadata)
			}
		})
	}
	if err := f.validate(t.Context(), ""); !errors.Is(err, bus.ErrTokenMissing) {
		t.Errorf("no token: %v", err)
	}
}

func TestValidate_expiryIsTold(t *testing.T) {
	f := start(t)
	token := f.issue(t, &authv1.IssueTokenRequest{Ttl: durationpb.New(time.Minute)}).GetToken()
	testkit.Check(t, f.validate(t.Context(), token))
	f.clock.advance(time.Minute)
	for range 2 { // remembered or not
		if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenExpired) {
			t.Errorf("error is %v", err)
		}
	}
}

func TestBatch_answersEachToken(t *testing.T) {
	f := start(t)
	tokens := []string{"x"}
	for range 30 {
		tokens = append(tokens, f.issue(t, &authv1.IssueTokenRequest{}).GetToken())
	}
	resp, err := f.BatchValidateTokens(t.Context(), &authv1.BatchValidateTokensRequest{Tokens: tokens})
	testkit.Check(t, err)
	for i, r := range resp.GetResults() {
		if (r.GetIdentity() == nil) != (i == 0) {
			t.Errorf("result %d is %v", i, r)
		}
	}
	for _, bad := range [][]string{nil, make([]string, 1001)} {
		if _, err := f.BatchValidateTokens(t.Context(), &authv1.BatchValidateTokensRequest{Tokens: bad}); !errors.Is(err, bus.ErrFieldInvalid) {
			t.Errorf("%d tokens: %v", len(bad), err)
		}
	}
}
