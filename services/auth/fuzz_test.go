package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// claimed validates a token of ours with these claims, which are signed as they are written.
func (f fixture) claimed(t *testing.T, private ed25519.PrivateKey, claims string) (*bus.Identity, error) {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}`)) + "." + b64([]byte(claims))
	text += "." + b64(ed25519.Sign(private, []byte(text)))
	resp, err := f.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: text})
	return convert.Identity(resp.GetIdentity()), err
}

// vague fails for a refusal of a token that a client may not be told.
func vague(t *testing.T, err error) {
	t.Helper()
	if reason := rpc.FromError(err).Reason; !strings.HasPrefix(reason, "TOKEN_") {
		t.Fatalf("the refusal is %v", err)
	}
}

// FuzzClaims says that a token gives what its claims say and no more, and that nobody gains a right by leaving a claim out.
func FuzzClaims(f *testing.F) {
	fix := start(f)
	key, err := jwt.ParseEdPrivateKeyFromPEM(fix.key.PEM)
	testkit.Check(f, err)
	private, _ := key.(ed25519.PrivateKey)
	now := fix.clock.Now().Unix()
	base := fmt.Sprintf(`"iss":"trunkline","aud":"trunkline","jti":"t1","iat":%d,"exp":%d`, now, now+3600)
	f.Fuzz(func(t *testing.T, members string) {
		claims := "{" + base + "," + members + "}"
		id, err := fix.claimed(t, private, claims)
		if err != nil {
			vague(t, err)
			return
		}
		var all map[string]json.RawMessage
		testkit.Check(t, json.Unmarshal([]byte(claims), &all))
		var said struct {
			User   string   `json:"sub"`
			Groups []string `json:"grp"`
			Grants []struct {
				Address string   `json:"a"`
				Can     []string `json:"can"`
			} `json:"grants"`
		}
		testkit.Check(t, json.Unmarshal([]byte(claims), &said))
		if bus.RawName(id.User) != said.User || len(id.Groups) > len(said.Groups) || len(id.Grants) != len(said.Grants) {
			t.Fatalf("%s is %+v", claims, id)
		}
		for name := range all {
			less := maps.Clone(all)
			delete(less, name)
			text, err := json.Marshal(less)
			testkit.Check(t, err)
			lesser, err := fix.claimed(t, private, string(text))
			if err != nil {
				vague(t, err)
				continue
			}
			noMore(t, name, id, lesser)
		}
	})
}

// noMore fails when the second identity has a right that the first has not.
func noMore(t *testing.T, without string, id, lesser *bus.Identity) {
	t.Helper()
	for _, g := range lesser.Grants {
		if !slices.ContainsFunc(id.Grants, func(old bus.Grant) bool { return old.Pattern == g.Pattern && old.Actions&g.Actions == g.Actions }) {
			t.Errorf("without %s it has the grant %+v", without, g)
		}
	}
	for _, a := range lesser.Own() {
		if !id.Owns(a) && (without != "cid" || a.Kind() != bus.KindClients || a.ID() != lesser.TokenID) {
			t.Errorf("without %s it owns %v", without, a)
		}
	}
	if lesser.Expires.After(id.Expires) {
		t.Errorf("without %s it lives until %v, and with it until %v", without, lesser.Expires, id.Expires)
	}
}

// FuzzToken shows the service any text as a token. Nothing is let in, and the text is not told back.
func FuzzToken(f *testing.F) {
	fix := start(f)
	f.Fuzz(func(t *testing.T, text string) {
		_, err := fix.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: text})
		if err == nil {
			t.Fatalf("%q is let in", text)
		}
		vague(t, err)
		if len(text) > 12 && strings.Contains(err.Error(), text) {
			t.Errorf("the refusal tells the token: %v", err)
		}
		if _, err := fix.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: text}}); err != nil {
			if e := rpc.FromError(err); e.Reason == "INTERNAL" {
				t.Errorf("to revoke %q is answered with %v", text, err)
			}
		}
	})
}

// FuzzRefreshToken changes one byte of a refresh token. What comes of it is refused, and is no alarm: the real one works on.
func FuzzRefreshToken(f *testing.F) {
	fix := start(f)
	newest := fix.issue(f, &authv1.IssueTokenRequest{User: "ada", Refreshable: true}).GetRefreshToken()
	f.Fuzz(func(t *testing.T, at uint, to byte, text string) {
		b := []byte(newest)
		b[at%uint(len(b))] = to
		for _, made := range []string{string(b), text, newest + text, newest[:at%uint(len(newest))] + text} {
			if made == newest {
				continue
			}
			if _, err := fix.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: made}); err == nil {
				t.Fatalf("%q is taken, and %q is the token", made, newest)
			} else {
				vague(t, err)
			}
		}
		resp, err := fix.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: newest})
		if err != nil {
			t.Fatalf("the real token is refused: %v", err)
		}
		newest = resp.GetRefreshToken()
	})
}

// FuzzUnseal says that a remembered answer is read by the holder of its token, and by nobody else, whatever the store has.
func FuzzUnseal(f *testing.F) {
	f.Fuzz(func(t *testing.T, token, other string, garbage []byte) {
		want := &authv1.RefreshTokenResponse{Token: "new", Client: "c"}
		sealed, err := auth.Seal(token, want)
		testkit.Check(t, err)
		if got, err := auth.Unseal(token, sealed); err != nil || !proto.Equal(got, want) {
			t.Fatalf("it is opened as %v, %v", got, err)
		}
		if got, err := auth.Unseal(other, sealed); err == nil && other != token {
			t.Fatalf("%q opens it too: %v", other, got)
		}
		if got, err := auth.Unseal(token, garbage); err == nil {
			t.Fatalf("%q is opened as %v", garbage, got)
		}
		if at := len(garbage); at > 0 && at < len(sealed) {
			sealed[at] ^= garbage[0] | 1
			if got, err := auth.Unseal(token, sealed); err == nil {
				t.Fatalf("a changed one is opened as %v", got)
			}
		}
	})
}

// FuzzOpaqueToken puts any value where the store keeps a token of an older system. Its holder is refused, or is somebody whose names
// are in their one form.
func FuzzOpaqueToken(f *testing.F) {
	fix := start(f)
	f.Fuzz(func(t *testing.T, value []byte) {
		token := uuid.NewString()
		testkit.Check(t, fix.store.SaveToken(t.Context(), bus.TokenDigest(token), value, time.Second))
		defer fix.clock.advance(time.Second)
		resp, err := fix.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
		if err != nil {
			vague(t, err)
			return
		}
		id := convert.Identity(resp.GetIdentity())
		for _, name := range append([]string{id.Client, id.User, id.Session}, id.Groups...) {
			if again, err := bus.ParseName("name", name); name != "" && (err != nil || again != name) {
				t.Errorf("%q is a name of %q, which is %q, %v", name, value, again, err)
			}
		}
		if id.Client == "" || !fix.clock.Now().Before(id.Expires) || !bus.InTime(id.Expires) {
			t.Errorf("%q is %+v", value, id)
		}
	})
}
