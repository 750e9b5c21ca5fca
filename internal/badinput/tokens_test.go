package badinput_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc/metadata"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// forge makes tokens with the key of the deployment, and without.
type forge struct {
	key ed25519.PrivateKey
	kid string
	// elsewhere is a URL that nobody may read keys from.
	elsewhere string
}

type object = map[string]any

func encode(v any) string {
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // a test gives what encodes
		}
		text = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func (f forge) signed(header, body any) string {
	text := encode(header) + "." + encode(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(f.key, []byte(text)))
}

func (f forge) header(change object) object {
	return with(object{"alg": "EdDSA", "kid": f.kid, "typ": "at+jwt"}, change)
}

// claims returns the claims of a token of ours, as changed. The value nil takes one away.
func claims(change object) object {
	now := time.Now().Unix()
	return with(object{"iss": "trunkline", "aud": []string{"trunkline"}, "sub": "mallory", "cid": "m", "jti": "x", "iat": now, "exp": now + 600}, change)
}

func with(base, change object) object {
	maps.Copy(base, change)
	maps.DeleteFunc(base, func(_ string, v any) bool { return v == nil })
	return base
}

// text is claims as text with something put in at the beginning.
func text(put string) string {
	b, err := json.Marshal(claims(nil))
	if err != nil {
		panic(err) // it encodes
	}
	return "{" + put + string(b[1:])
}

// hmacOf signs with a secret.
func hmacOf(header, body any, secret []byte) string {
	text := encode(header) + "." + encode(body)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// forged are tokens that nobody may accept.
func (f forge) forged() map[string]string {
	good := f.signed(f.header(nil), claims(nil))
	part := strings.Split(good, ".")
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	stranger := forge{other, f.kid, f.elsewhere}
	public, _ := x509.MarshalPKIXPublicKey(f.key.Public())
	armored := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	now := time.Now().Unix()
	list := map[string]string{
		"one part": part[1], "two parts": part[0] + "." + part[1], "four parts": good + "." + part[2], "five parts": good + ".a.b",
		"60,000 dots": strings.Repeat(".", 10_000), "a space inside": part[0] + ". " + part[1] + "." + part[2],
		"padding": part[0] + "==." + part[1] + "." + part[2], "a header that is no base64": "*." + part[1] + "." + part[2],
		"a header that is no JSON": encode("x") + "." + part[1] + "." + part[2], "a header that is a list": encode("[]") + "." + part[1] + "." + part[2],
		"a body that is no JSON": f.signed(f.header(nil), "x"), "a body that is a list": f.signed(f.header(nil), "[]"), "a body that is null": f.signed(f.header(nil), "null"),
		"no signature": part[0] + "." + part[1] + ".", "a signature cut short": good[:len(good)-2], "the signature of another": part[0] + "." + encode(claims(object{"sub": "root"})) + "." + part[2],
		"a signature with stray bits": strayBit(good), "a signature of zeros": part[0] + "." + part[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"another's key under our kid":     stranger.signed(f.header(nil), claims(nil)),
		"a secret that is our public key": hmacOf(f.header(object{"alg": "HS256"}), claims(nil), public), "a secret that is our public key in PEM": hmacOf(f.header(object{"alg": "HS256"}), claims(nil), armored),
		"an empty secret": hmacOf(f.header(object{"alg": "HS256"}), claims(nil), nil),
	}
	for _, alg := range []any{nil, "none", "None", "nOnE", "NONE", "", "HS512", "RS256", "ES256", "PS256", "eddsa", "EdDSA ", 5, object{}} {
		list[fmt.Sprintf("alg %v", alg)] = f.signed(f.header(object{"alg": alg}), claims(nil))
		list[fmt.Sprintf("alg %v without a signature", alg)] = encode(f.header(object{"alg": alg})) + "." + part[1] + "."
	}
	delete(list, "alg EdDSA without a signature")
	for _, kid := range []any{"", "nobody", "../../dev/null", "' OR 1=1", "a\x00", 5, object{}, strings.Repeat("k", 5_000)} {
		list[fmt.Sprintf("kid %.20v", kid)] = f.signed(f.header(object{"kid": kid}), claims(nil))
	}
	for name, value := range map[string]any{"jku": f.elsewhere, "x5u": f.elsewhere, "x5c": []string{encode("x")}, "jwk": object{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(stranger.key.Public().(ed25519.PublicKey))}} {
		list["another's key under our kid, "+name] = stranger.signed(f.header(object{name: value}), claims(nil))
		list["another's key, "+name] = stranger.signed(f.header(object{name: value, "kid": "elsewhere"}), claims(nil))
	}
	for _, typ := range []any{nil, "JWT", "rt+jwt", "JOSE", 5} {
		list[fmt.Sprintf("typ %v", typ)] = f.signed(f.header(object{"typ": typ}), claims(nil))
	}
	odd := object{"crit": []string{"x"}, "zip": "DEF", "cty": "JWT"}
	for name, value := range odd {
		list["header "+name] = f.signed(f.header(object{name: value}), claims(nil))
	}
	for name, change := range map[string]object{
		"another issuer": {"iss": "evil"}, "an issuer that is a list": {"iss": []string{"trunkline"}}, "no issuer": {"iss": nil}, "an issuer in capitals": {"iss": "Trunkline"},
		"another audience": {"aud": "evil"}, "no audience": {"aud": nil}, "audiences without us": {"aud": []string{"a", "b"}}, "an audience that is a number": {"aud": 5},
		"no end": {"exp": nil}, "an end a minute ago": {"exp": now - 120}, "an end that is text": {"exp": "later"}, "an end of 1e30": {"exp": 1e30}, "a negative end": {"exp": -1},
		"an end in milliseconds": {"exp": (now + 600) * 1000}, "an end after the year 9999": {"exp": 253402300800}, "a start in an hour": {"nbf": now + 3600}, "a start that is text": {"nbf": "x"},
		"issued in an hour": {"iat": now + 3600}, "issued as text": {"iat": "x"}, "a user that is a number": {"sub": 5}, "a user that is a list": {"sub": []string{"a"}},
		"a user of 256 bytes": {"sub": strings.Repeat("u", 256)}, "a user with NUL": {"sub": "a\x00"}, "a user with a newline": {"sub": "a\nb"},
		"a client that is a number": {"cid": 5}, "a client with a newline": {"cid": "a\nb"}, "groups that are text": {"grp": "a"}, "a group with a newline": {"grp": []string{"a\nb"}},
		"grants that are text": {"grants": "all"}, "a grant that is text": {"grants": []any{"channels/*"}}, "a grant of no address": {"grants": []any{object{"a": "x", "can": []string{"publish"}}}},
		"a grant of no action": {"grants": []any{object{"a": "channels/*", "can": []string{"fly"}}}},
	} {
		list[name] = f.signed(f.header(nil), claims(change))
	}
	for name, put := range map[string]string{
		"the user twice": `"sub":"root",`, "the user in another case": `"Sub":"root",`, "the user with a long s": `"ſub":"root",`, "the issuer with a long s": `"iſs":"evil",`,
		"the client twice": `"cid":"root",`, "the client in capitals": `"CID":"root",`, "the end twice": `"exp":99999999999,`, "a nested member twice": `"x":{"a":1,"a":2},`,
	} {
		list[name] = f.signed(f.header(nil), text(put))
	}
	list["a header member twice"] = f.signed(`{"alg":"EdDSA","kid":"`+f.kid+`","typ":"at+jwt","alg":"none"}`, claims(nil))
	return list
}

// strayBit changes bits of the last character that stand for nothing (RFC 4648, section 3.5).
func strayBit(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last^1])
}

func TestTokens(t *testing.T) {
	key, err := auth.NewKey("ours")
	testkit.Check(t, err)
	s := start(t, "tokens", apptest.With(func(c *config.Config) {
		c.Auth.Keys = []config.SigningKey{{ID: key.ID, Algorithm: key.Algorithm, PrivateKey: config.Secret(key.PEM)}}
	}))
	block, _ := pem.Decode(key.PEM)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	testkit.Check(t, err)
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	f := forge{private.(ed25519.PrivateKey), key.ID, elsewhere.URL + "/keys"}
	if _, err := s.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: f.signed(f.header(nil), claims(nil))}); err != nil {
		t.Fatalf("the forge's own token is refused: %v", err)
	}
	bare := publishv1.NewPublishServiceClient(s.dial(t, ""))
	for name, token := range f.forged() {
		secrets.Add("the token of "+name, token)
		refused := "TOKEN_INVALID"
		if name == "an end a minute ago" {
			refused = "TOKEN_EXPIRED"
		}
		if strings.HasPrefix(name, "issued in an hour") || name == "a start in an hour" {
			refused = "TOKEN_NOT_YET_VALID"
		}
		code := map[string]string{"TOKEN_INVALID": "4401", "TOKEN_EXPIRED": "4402", "TOKEN_NOT_YET_VALID": "4425"}[refused]
		s.row("ValidateToken, "+name, "Unauthenticated "+refused, func(t *testing.T) string {
			_, err := s.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
			return s.answered(t, err)
		})
		s.row("gRPC, "+name, "Unauthenticated "+refused, func(t *testing.T) string {
			_, err := bare.Publish(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token), &publishv1.PublishRequest{To: "channels/open:a"})
			return s.answered(t, err)
		})
		s.row("REST, "+name, "401 "+refused, func(t *testing.T) string { return s.ask(t, post(`{"data":1}`, "Authorization: Bearer "+token)) })
		s.row("connect, "+name, "error "+refused+", error "+refused+", close "+code, func(t *testing.T) string {
			ws := s.socket(t, false)
			testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"connect":{"token":%s}}`, jsonText(token))))
			return s.farewell(t, ws)
		})
		s.row("refresh, "+name, "error "+refused+"", func(t *testing.T) string {
			ws := s.socket(t, true)
			testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"refresh":{"token":%s}}`, jsonText(token))))
			return s.reply(t, ws)
		})
	}
	s.row("where a header says that keys are", "not asked", func(*testing.T) string {
		if n := asked.Load(); n > 0 {
			return fmt.Sprint("asked ", n, " times")
		}
		return "not asked"
	})
	s.row("ValidateToken, a grant of everything", "OK", func(t *testing.T) string {
		token := f.signed(f.header(nil), claims(object{"grants": []any{object{"a": "*", "can": []string{"publish"}}}}))
		_, err := s.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
		return s.answered(t, err)
	})
	s.channelTokens(t)
	last := s.AdminKey[len(s.AdminKey)-1]
	for name, key := range map[string]string{"one bit off": s.AdminKey[:len(s.AdminKey)-1] + string(last^1), "one byte short": s.AdminKey[:len(s.AdminKey)-1], "one byte long": s.AdminKey + "a"} {
		s.row("an API key, "+name, "401 API_KEY_INVALID", func(t *testing.T) string { return s.ask(t, post(`{"data":1}`, "Authorization: Bearer "+key)) })
	}
}

// channelTokens uses the token of a channel where only tokens of clients and API keys count.
func (s *suite) channelTokens(t *testing.T) {
	made, err := s.Channels.CreateChannel(t.Context(), &publishv1.CreateChannelRequest{Name: "channels/owned"})
	testkit.Check(t, err)
	token := made.GetChannelToken()
	to := func(path string, token string) request {
		return request{method: "POST", path: path, body: `{"data":1}`, header: []string{"Authorization: Bearer " + token}}
	}
	for _, r := range []restRow{
		{"its own channel", "401 TOKEN_INVALID", to("/v1/channels/owned:publish", token)},
		{"another channel", "401 TOKEN_INVALID", to("/v1/channels/open:a:publish", token)},
		{"a client", "401 TOKEN_INVALID", to("/v1/users/ada:publish", token)},
		{"everybody", "401 TOKEN_INVALID", to("/v1/broadcast:publish", token)},
		{"one bit off", "401 TOKEN_INVALID", to("/v1/channels/owned:publish", token[:len(token)-1]+string(token[len(token)-1]^1))},
		{"the token of a client in its place", "403 CHANNEL_PUBLISH_DENIED", to("/v1/channels/owned:publish", s.token)},
		{"deleting its channel", "401 TOKEN_INVALID", request{method: "DELETE", path: "/v1/channels/owned", header: []string{"Authorization: Bearer " + token}}},
		{"issuing tokens", "401 TOKEN_INVALID", request{method: "POST", path: "/v1/tokens:issue", body: `{}`, header: []string{"Authorization: Bearer " + token}}},
	} {
		s.row("the token of a channel, "+r.name, r.want, func(t *testing.T) string { return s.ask(t, r.request) })
	}
	s.row("the token of a channel, connect", "error TOKEN_INVALID, error TOKEN_INVALID, close 4401", func(t *testing.T) string {
		ws := s.socket(t, false)
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"connect":{"token":%q}}`, token)))
		return s.farewell(t, ws)
	})
}

// revocations puts garbage in the place of the time of a subject. That user alone is refused.
func (s *spoilt) revocations(t *testing.T) {
	token := s.Token(t, &authv1.IssueTokenRequest{User: "eve"}, "channels/open:*")
	for _, text := range []string{"x", "", "-1", "1.5", "\xff", "300000000000000"} {
		testkit.Check(t, s.raw.Set(t.Context(), "tl:{system/revoked}:v:user:eve", text, 0).Err())
		s.row(fmt.Sprintf("a revocation that is %q", text), "Unauthenticated TOKEN_REVOKED", func(t *testing.T) string {
			_, err := s.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
			return s.answered(t, err)
		})
		s.row(fmt.Sprintf("another user beside %q", text), "OK", func(t *testing.T) string {
			_, err := s.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: s.token})
			return s.answered(t, err)
		})
	}
	// A key of another type is no revocation that can be read, and lets nobody in either.
	key := "tl:{system/revoked}:v:user:eve"
	testkit.Check(t, s.raw.Del(t.Context(), key).Err())
	testkit.Check(t, s.raw.SAdd(t.Context(), key, "foreign").Err())
	s.row("a revocation that is a set", "FailedPrecondition STORED_DATA_FOREIGN", func(t *testing.T) string {
		_, err := s.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
		return s.answered(t, err)
	})
	s.row("connect beside a set", "error STORED_DATA_FOREIGN", func(t *testing.T) string {
		ws := s.socket(t, false)
		testkit.Check(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":1,"connect":{"token":%q}}`, token)))
		return s.reply(t, ws)
	})
	s.row("another user beside a set", "OK", func(t *testing.T) string {
		_, err := s.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: s.token})
		return s.answered(t, err)
	})
}
