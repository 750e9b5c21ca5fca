package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// signed signs a header and a payload exactly as they are written.
func signed(t *testing.T, f fixture, header, payload string) string {
	t.Helper()
	private, err := jwt.ParseEdPrivateKeyFromPEM(f.key.PEM)
	testkit.Check(t, err)
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := jwt.SigningMethodEdDSA.Sign(text, private)
	testkit.Check(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const ourHeader = `{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}`

// payload is a good one with the edits in place of %s.
func payload(f fixture, more string) string {
	now := f.clock.Now()
	return fmt.Sprintf(`{"iss":"trunkline","aud":"trunkline","sub":"ada","cid":"c","jti":"j","iat":%d,%s}`, now.Unix(),
		strings.ReplaceAll(more, "EXP", fmt.Sprint(now.Add(time.Hour).Unix())))
}

// A signature says what was written; what can be read in two ways is refused.
func TestValidate_readsAClaimInOneWay(t *testing.T) {
	f := start(t)
	testkit.Check(t, f.validate(t.Context(), signed(t, f, ourHeader, payload(f, `"exp":EXP,"theirs":{"sub":1,"Sub":2}`))))
	for name, token := range map[string]string{
		"sub twice":          signed(t, f, ourHeader, payload(f, `"exp":EXP,"sub":"bob"`)),
		"sub in other case":  signed(t, f, ourHeader, payload(f, `"exp":EXP,"Sub":"bob"`)),
		"exp in other case":  signed(t, f, ourHeader, payload(f, `"EXP":EXP`)),
		"anything twice":     signed(t, f, ourHeader, payload(f, `"exp":EXP,"x":1,"x":1`)),
		"exp in quotes":      signed(t, f, ourHeader, payload(f, `"exp":"EXP"`)),
		"exp beyond time":    signed(t, f, ourHeader, payload(f, `"exp":1e30`)),
		"exp before time":    signed(t, f, ourHeader, payload(f, `"exp":-5`)),
		"nbf in quotes":      signed(t, f, ourHeader, payload(f, `"exp":EXP,"nbf":"1"`)),
		"exp null":           signed(t, f, ourHeader, payload(f, `"exp":null`)),
		"a nested token":     signed(t, f, `{"alg":"EdDSA","kid":"k1","typ":"at+jwt","cty":"JWT"}`, payload(f, `"exp":EXP`)),
		"no alg":             signed(t, f, `{"kid":"k1","typ":"at+jwt"}`, payload(f, `"exp":EXP`)),
		"alg nOnE":           signed(t, f, `{"alg":"nOnE","kid":"k1","typ":"at+jwt"}`, payload(f, `"exp":EXP`)),
		"alg a number":       signed(t, f, `{"alg":7,"kid":"k1","typ":"at+jwt"}`, payload(f, `"exp":EXP`)),
		"more in a grant":    signed(t, f, ourHeader, payload(f, `"exp":EXP,"grants":[{"a":"channels/x","can":["publish"],"A":"channels/y"}]`)),
		"a limit unheard of": signed(t, f, ourHeader, payload(f, `"exp":EXP,"grants":[{"a":"channels/x","can":["publish"],"only":"mondays"}]`)),
		"can twice":          signed(t, f, ourHeader, payload(f, `"exp":EXP,"grants":[{"a":"channels/x","can":["history"],"can":["publish"]}]`)),
		"no object":          signed(t, f, ourHeader, `[]`),
		"a line break":       strings.Replace(signed(t, f, ourHeader, payload(f, `"exp":EXP`)), ".", ".\n", 2),
	} {
		if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenInvalid) || err.Error() != bus.ErrTokenInvalid.Message {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Only a token that was right until its end is told that it has expired.
func TestValidate_expiryIsToldOfGoodTokensOnly(t *testing.T) {
	f := start(t)
	past := fmt.Sprint(f.clock.Now().Add(-time.Minute).Unix())
	for name, tc := range map[string]struct {
		header, more string
		want         *bus.Error
	}{
		"right":          {ourHeader, `"exp":` + past, bus.ErrTokenExpired},
		"another use":    {`{"alg":"EdDSA","kid":"k1","typ":"JWT"}`, `"exp":` + past, bus.ErrTokenInvalid},
		"not yet":        {ourHeader, `"nbf":EXP,"exp":` + past, bus.ErrTokenNotYetValid},
		"no client name": {ourHeader, `"sid":"a\u0007b","exp":` + past, bus.ErrTokenInvalid},
	} {
		if err := f.validate(t.Context(), signed(t, f, tc.header, payload(f, tc.more))); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := strings.Replace(payload(f, `"exp":`+past), `"aud":"trunkline"`, `"aud":"x"`, 1)
	if err := f.validate(t.Context(), signed(t, f, ourHeader, wrong)); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("another audience: %v", err)
	}
}

// Clocks of several auth services differ a little; the end of a token does not.
func TestValidate_toleratesAClockAheadButNoEnd(t *testing.T) {
	f := start(t)
	token := func(iat, exp time.Duration) string {
		now := f.clock.Now()
		return signed(t, f, ourHeader, fmt.Sprintf(`{"iss":"trunkline","aud":"trunkline","cid":"c","jti":"j","iat":%d,"exp":%d}`,
			now.Add(iat).Unix(), now.Add(exp).Unix()))
	}
	testkit.Check(t, f.validate(t.Context(), token(59*time.Second, 2*time.Minute)))
	ahead := token(90*time.Second, 5*time.Minute)
	var e *bus.Error
	if err := f.validate(t.Context(), ahead); !errors.As(err, &e) || !errors.Is(e, bus.ErrTokenNotYetValid) || e.RetryAfter < 25*time.Second || e.RetryAfter > 31*time.Second {
		t.Errorf("90 s ahead: %v", err)
	}
	f.clock.advance(e.RetryAfter)
	testkit.Check(t, f.validate(t.Context(), ahead))
	if err := f.validate(t.Context(), token(-time.Minute, -time.Second)); !errors.Is(err, bus.ErrTokenExpired) {
		t.Errorf("ended 1 s ago: %v", err)
	}
}

// A remembered signature ends with the key that made it.
func TestRotation_endsRememberedTokens(t *testing.T) {
	old, err := auth.NewKey("old")
	testkit.Check(t, err)
	issuer := start(t, func(c *auth.Config) { c.Keys = []auth.KeyConfig{old} })
	token := issuer.issue(t, &authv1.IssueTokenRequest{Ttl: durationpb.New(3 * time.Hour)}).GetToken()
	old.Until = issuer.clock.Now().Add(time.Minute)
	f := start(t, func(c *auth.Config) { c.Keys, c.LostRevocations = append(c.Keys, old), auth.LostAllow }) // a store of its own
	testkit.Check(t, f.validate(t.Context(), token))
	testkit.Check(t, f.validate(t.Context(), token))
	f.clock.advance(time.Minute + time.Second)
	if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("after its key's end: %v", err)
	}
}

// between is a memory store that lets a test act when revocations have been read.
type between struct {
	*memory.Store
	once sync.Once
	act  func()
}

func (b *between) RevokedBefore(ctx context.Context, subjects []bus.Subject) ([]time.Time, error) {
	times, err := b.Store.RevokedBefore(ctx, subjects)
	b.once.Do(b.act)
	return times, err
}

// The pair that one user of a refresh token is just being given ends with the family when another used the same one.
func TestRefresh_reuseEndsThePairBeingMade(t *testing.T) {
	f := start(t)
	token := f.issue(t, &authv1.IssueTokenRequest{Refreshable: true}).GetRefreshToken()
	req := &authv1.RefreshTokenRequest{RefreshToken: token}
	store := &between{Store: f.store}
	var first *authv1.RefreshTokenResponse
	store.act = func() {
		var err error
		first, err = f.RefreshToken(t.Context(), req)
		testkit.Check(t, err)
		f.clock.advance(31 * time.Second)
	}
	s, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{f.key}, Now: f.clock.Now})
	testkit.Check(t, err)
	if _, err := s.RefreshToken(t.Context(), req); !errors.Is(err, bus.ErrRefreshTokenReused) {
		t.Errorf("the second: %v", err)
	}
	if err := f.validate(t.Context(), first.GetToken()); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("the pair lives on: %v", err)
	}
	if _, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: first.GetRefreshToken()}); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("the pair can be refreshed: %v", err)
	}
}

func TestRevoke_byRefreshTokenEndsItsFamily(t *testing.T) {
	f := start(t)
	pair := f.issue(t, &authv1.IssueTokenRequest{Client: "c1", Refreshable: true})
	other := f.issue(t, &authv1.IssueTokenRequest{Client: "c1"})
	_, err := f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: pair.GetRefreshToken()}})
	testkit.Check(t, err)
	if err := f.validate(t.Context(), pair.GetToken()); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("its token: %v", err)
	}
	if _, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: pair.GetRefreshToken()}); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("it refreshes: %v", err)
	}
	testkit.Check(t, f.validate(t.Context(), other.GetToken()))
	for _, target := range []*authv1.RevokeTokenRequest{
		{Target: &authv1.RevokeTokenRequest_Token{Token: "tlr_" + strings.Repeat("x", 43)}},
		{Target: &authv1.RevokeTokenRequest_Token{Token: "x.y.z"}},
		{Target: &authv1.RevokeTokenRequest_Token{}},
	} {
		if _, err := f.RevokeToken(t.Context(), target); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("%v: %v", target, err)
		}
	}
}

// A refresh token ends when its client, session or user is signed out.
func TestRefresh_afterLogout(t *testing.T) {
	for name, target := range map[string]*authv1.RevokeTokenRequest{
		"client": {Target: &authv1.RevokeTokenRequest_Client{Client: "c1"}}, "session": {Target: &authv1.RevokeTokenRequest_Session{Session: "s1"}},
		"user": {Target: &authv1.RevokeTokenRequest_User{User: "ada"}},
	} {
		f := start(t)
		pair := f.issue(t, &authv1.IssueTokenRequest{Client: "c1", User: "ada", Session: "s1", Refreshable: true})
		_, err := f.RevokeToken(t.Context(), target)
		testkit.Check(t, err)
		f.clock.advance(time.Second)
		if _, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: pair.GetRefreshToken()}); !errors.Is(err, bus.ErrTokenRevoked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidate_rubbishCostsLittle(t *testing.T) {
	f := start(t)
	dots := strings.Repeat(".", 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := f.validate(t.Context(), dots); !errors.Is(err, bus.ErrMessageTooLarge) {
		t.Errorf("error is %v", err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<10 {
		t.Errorf("1 MiB of dots allocated %d bytes", used)
	}
}

func TestValidate_concurrently(t *testing.T) {
	f := start(t)
	var tokens []string
	for range 16 {
		tokens = append(tokens, f.issue(t, &authv1.IssueTokenRequest{User: "ada"}).GetToken())
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				resp, err := f.BatchValidateTokens(t.Context(), &authv1.BatchValidateTokensRequest{Tokens: append([]string{"x"}, tokens...)})
				if err != nil || resp.GetResults()[0].GetError().GetReason() != "TOKEN_INVALID" || resp.GetResults()[16].GetIdentity().GetUser() != "ada" {
					t.Errorf("got %v, %v", resp, err)
				}
				if err := f.validate(t.Context(), tokens[3]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
