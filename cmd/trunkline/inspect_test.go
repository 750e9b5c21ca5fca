package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A token is judged alike by a server and by the settings alone: which check failed, what the token has and what was wanted. Neither
// shows the token.
func TestTokenInspect_saysWhichCheckFailed(t *testing.T) {
	issuer, stranger := apptest.NewIssuer(t, "RS256", "k"), apptest.NewIssuer(t, "RS256", "k")
	s := newShell(t, apptest.With(func(c *config.Config) {
		c.Auth.Trust = []config.TrustIssuer{{Issuer: "https://id.example", JWKSURL: issuer.JWKS, Audience: "us", Algorithms: []string{"RS256"}, UserPrefix: "id:", Claims: config.Claims{User: "sub"}}}
	}))
	file := filepath.Join(t.TempDir(), "trunkline.yaml")
	testkit.Check(t, os.WriteFile(file, fmt.Appendf(nil, `dev: true
auth:
  trust:
    - {issuer: "https://id.example", jwks_url: %q, audience: us, algorithms: [RS256], user_prefix: "id:", claims: {user: sub}}
`, issuer.JWKS), 0o600))
	ways := map[string][]string{"server": nil, "settings": {"--config", file}}
	sign := func(i *apptest.Issuer, edit func(header, claims map[string]any)) string {
		now := time.Now()
		header := map[string]any{"kid": "k", "typ": "JWT"}
		claims := map[string]any{"iss": "https://id.example", "aud": "us", "sub": "ada", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		if edit != nil {
			edit(header, claims)
		}
		return i.Sign(t, header, claims)
	}
	claim := func(name string, value any) string {
		return sign(issuer, func(_, claims map[string]any) { claims[name] = value })
	}
	ago := time.Now().Add(-time.Hour)
	cut := sign(issuer, nil)
	cut = cut[:len(cut)-4]
	for name, tc := range map[string]struct {
		token, reason, check, value, wanted string
	}{
		"right":              {token: sign(issuer, nil)},
		"another audience":   {claim("aud", "them"), "TOKEN_INVALID", "aud", "them", "us"},
		"no audience":        {claim("aud", nil), "TOKEN_INVALID", "aud", "missing", "us"},
		"another issuer":     {claim("iss", "https://other.example"), "TOKEN_INVALID", "iss", "other.example", "issuer"},
		"over":               {claim("exp", ago.Unix()), "TOKEN_EXPIRED", "exp", ago.UTC().Format("2006-01-02T15:04"), "to come"},
		"early":              {claim("iat", time.Now().Add(time.Hour).Unix()), "TOKEN_NOT_YET_VALID", "iat", "", "auth.leeway"},
		"no user":            {claim("sub", nil), "TOKEN_INVALID", "sub", "missing", "the user"},
		"another key":        {sign(stranger, nil), "TOKEN_INVALID", "signature", "", "key"},
		"a cut signature":    {cut, "TOKEN_INVALID", "", "", ""},
		"no JWT":             {"0190b1c65f0e4d7a9b113a2f4c5d6e7f", "TOKEN_INVALID", "", "", ""},
		"longer than may be": {claim("name", strings.Repeat("x", 16<<10)), "MESSAGE_TOO_LARGE", "", "", ""},
	} {
		for way, flags := range ways {
			for _, output := range []string{"json", "table"} {
				r := s.run(t.Context(), tc.token+"\n", append([]string{"token", "inspect", "-", "-o", output}, flags...)...)
				want := exitDenied
				if tc.reason == "" {
					want = exitDone
				}
				if r.code != want {
					t.Errorf("%s, by %s: exit code %d, want %d\n%s%s", name, way, r.code, want, r.out, r.err)
				}
				if strings.Contains(r.out+r.err, tc.token) || strings.Contains(r.out+r.err, tc.token[strings.LastIndex(tc.token, ".")+1:]) {
					t.Errorf("%s, by %s: the token is in the output", name, way)
				}
				if output == "table" {
					if !strings.Contains(r.out, tc.reason) || !strings.Contains(r.out, tc.check) {
						t.Errorf("%s, by %s: the table is\n%s", name, way, r.out)
					}
					continue
				}
				var got inspection
				if err := json.Unmarshal([]byte(r.out), &got); err != nil {
					t.Errorf("%s, by %s: %v\n%s%s", name, way, err, r.out, r.err)
				}
				if got.Valid != (tc.reason == "") || got.Reason != tc.reason || tc.check != "" && got.Check != tc.check ||
					!strings.Contains(got.Value, tc.value) || !strings.Contains(got.Wanted, tc.wanted) {
					t.Errorf("%s, by %s: %v %q, check %q has %q, wanted %q", name, way, got.Valid, got.Reason, got.Check, got.Value, got.Wanted)
				}
			}
		}
	}
	issuer.Away.Store(true)
	r := s.run(t.Context(), sign(issuer, nil), append([]string{"token", "inspect", "-", "-o", "json"}, ways["settings"]...)...)
	if r.code != exitDenied || !strings.Contains(r.out, "AUTH_UNAVAILABLE") {
		t.Errorf("without the issuer: exit code %d\n%s%s", r.code, r.out, r.err)
	}
	for way, tc := range map[string]struct {
		args []string
		code int
	}{
		"no server":  {[]string{"--server", "http://127.0.0.1:1", "--grpc", "127.0.0.1:1"}, exitUnreachable},
		"no file":    {[]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, exitConfig},
		"may not":    {[]string{"--token", "tlk_nobody_0123456789abcdef0123456789abcdef"}, exitDenied},
		"no setting": {[]string{"--config", os.DevNull}, exitConfig},
	} {
		token := sign(issuer, nil)
		r := s.run(t.Context(), token, append([]string{"token", "inspect", "-"}, tc.args...)...)
		if r.code != tc.code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", way, r.code, tc.code, r.out, r.err)
		}
		if strings.Contains(r.out+r.err, token) {
			t.Errorf("%s: the token is in the output", way)
		}
	}
}
