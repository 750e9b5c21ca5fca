package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// provider is an identity provider with a token as its documents show it. The claims iss, iat, nbf and exp are added.
type provider struct {
	name   string
	issuer string // of its recipe
	header map[string]any
	claims jwt.MapClaims
	// The names of its user here.
	user, session string
	groups        []string
	// Which check refuses the token, if it is refused.
	check string
}

// providers are the shapes of tokens. Each has claims that mean nothing here, or would mean something in a token of ours.
var providers = []provider{
	{
		name: "Auth0", issuer: "https://example.eu.auth0.com/", header: map[string]any{"typ": "JWT", "kid": "NzY0QkMzQjA"},
		claims: jwt.MapClaims{
			"sub": "auth0|5f7c8ec7c33c6c004bbafe82", "aud": []string{"https://api.example.com", "https://example.eu.auth0.com/userinfo"},
			"azp": "my_client_id", "scope": "openid profile read:news", "permissions": []string{"read:news"}, "gty": "password",
			"https://example.com/groups": []string{"editors", "night shift"},
		},
		user: "auth0:auth0%7C5f7c8ec7c33c6c004bbafe82", groups: []string{"auth0:editors", "auth0:night%20shift"},
	},
	{
		name: "Auth0 with the profile of RFC 9068", issuer: "https://example.eu.auth0.com/", header: map[string]any{"typ": "at+jwt", "kid": "NzY0QkMzQjA"},
		claims: jwt.MapClaims{
			"sub": "google-oauth2|108204268033311374519", "aud": "https://api.example.com", "client_id": "my_client_id", "jti": "4cGl3M4ahtFv8e6yMhYGXJ",
			"scope": "read:news",
		},
		user: "auth0:google-oauth2%7C108204268033311374519",
	},
	{
		name: "Okta", issuer: "https://example.okta.com/oauth2/default", header: map[string]any{"kid": "45js03w0djwedsw"},
		claims: jwt.MapClaims{
			"ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "aud": "api://default", "sub": "ada@example.com", "cid": "nmdP1fcyvdVO11AL7ECm",
			"uid": "00ujmkLgagxeRrAg20g3", "scp": []string{"openid", "email"}, "auth_time": 1449624026, "groups": []string{"Everyone", "Ops"},
		},
		user: "okta:00ujmkLgagxeRrAg20g3", groups: []string{"okta:Everyone", "okta:Ops"},
	},
	{
		name: "Entra ID, version 2", issuer: "https://login.microsoftonline.com/TENANT/v2.0",
		header: map[string]any{"typ": "JWT", "kid": "i6lGk3FZzxRcUb2C3nEQ7syHJlY"}, claims: entra("CLIENT_ID", jwt.MapClaims{
			"ver": "2.0", "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "azpacr": "0", "preferred_username": "ada@example.com",
			"groups": []string{"0e129f47-2b1c-4a1f-8c6a-7c3d0d9b8f11", "c0a8f2d4-5a0b-4c70-9f0a-1d2e3f4a5b6c"},
		}),
		user:   "entra:690222be-ff1a-4d56-abd1-7e4f7d38e474",
		groups: []string{"entra:0e129f47-2b1c-4a1f-8c6a-7c3d0d9b8f11", "entra:c0a8f2d4-5a0b-4c70-9f0a-1d2e3f4a5b6c"},
	},
	{
		name: "Entra ID, more groups than a token has", issuer: "https://login.microsoftonline.com/TENANT/v2.0",
		header: map[string]any{"typ": "JWT", "kid": "i6lGk3FZzxRcUb2C3nEQ7syHJlY"}, claims: entra("CLIENT_ID", jwt.MapClaims{
			"ver": "2.0", "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "_claim_names": map[string]any{"groups": "src1"},
			"_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.microsoft.com/v1.0/users/x/getMemberObjects"}},
		}),
		user: "entra:690222be-ff1a-4d56-abd1-7e4f7d38e474",
	},
	{
		name: "Entra ID, version 1", issuer: "https://sts.windows.net/TENANT/",
		header: map[string]any{"typ": "JWT", "kid": "HlC0R12skxNZ1WQwmjOF_6t_tDE", "x5t": "HlC0R12skxNZ1WQwmjOF_6t_tDE"}, claims: entra("api://CLIENT_ID", jwt.MapClaims{
			"ver": "1.0", "acr": "1", "amr": []string{"pwd"}, "appid": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "appidacr": "0", "ipaddr": "192.0.2.1",
			"unique_name": "ada@example.com", "upn": "ada@example.com", "hasgroups": true,
		}),
		user: "entra:690222be-ff1a-4d56-abd1-7e4f7d38e474",
	},
	{
		name: "Keycloak", issuer: "https://id.example.com/realms/main", header: map[string]any{"typ": "JWT", "kid": "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"},
		claims: jwt.MapClaims{
			"jti": "onrtac:0f6b2c1e-8a8e-4c64-b0b0-0c1de7a52f6b", "aud": []string{"trunkline", "account"}, "sub": "f:1b0f7c1a-55d1-4b0f-8a1e-3c0b5a1d2e3f:ada",
			"typ": "Bearer", "azp": "web", "sid": "c4a0b7a2-3c7e-4f0c-9d5b-0a1b2c3d4e5f", "acr": "1", "allowed-origins": []string{"https://app.example.com"},
			"realm_access":    map[string]any{"roles": []string{"offline_access", "editor"}},
			"resource_access": map[string]any{"account": map[string]any{"roles": []string{"manage-account"}}},
			"scope":           "openid profile email", "email_verified": false, "preferred_username": "ada", "email": "ada@example.com",
		},
		user: "kc:f:1b0f7c1a-55d1-4b0f-8a1e-3c0b5a1d2e3f:ada", session: "kc:c4a0b7a2-3c7e-4f0c-9d5b-0a1b2c3d4e5f",
		groups: []string{"kc:offline_access", "kc:editor"},
	},
	{
		name: "Firebase", issuer: "https://securetoken.google.com/PROJECT", header: map[string]any{"typ": "JWT", "kid": "f2e82732b971a135cf1416e8b46dae04d80894e7"},
		claims: jwt.MapClaims{
			"aud": "PROJECT", "auth_time": 1615370644, "user_id": "ZWYqUzq4uKTdVjVKdCCzZZtdkDy1", "sub": "ZWYqUzq4uKTdVjVKdCCzZZtdkDy1",
			"email": "ada@example.com", "email_verified": false,
			"firebase": map[string]any{"identities": map[string]any{"email": []string{"ada@example.com"}}, "sign_in_provider": "password"},
		},
		user: "firebase:ZWYqUzq4uKTdVjVKdCCzZZtdkDy1",
	},
	{
		name: "Cognito, id token", issuer: "https://cognito-idp.eu-west-1.amazonaws.com/POOL", header: map[string]any{"kid": "1234example="},
		claims: jwt.MapClaims{
			"sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "aud": "APP_CLIENT_ID", "cognito:groups": []string{"readers", "writers"}, "email_verified": true,
			"cognito:preferred_role": "arn:aws:iam::111122223333:role/readers", "cognito:username": "ada", "given_name": "Ada", "email": "ada@example.com",
			"cognito:roles": []string{"arn:aws:iam::111122223333:role/readers"}, "token_use": "id", "auth_time": 1676312777,
			"origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee1", "event_id": "64f513be-32db-42b0-b78e-b02127b4f463", "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee2",
		},
		user: "cognito:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", groups: []string{"cognito:readers", "cognito:writers"},
	},
	{
		name: "Cognito, access token", issuer: "https://cognito-idp.eu-west-1.amazonaws.com/POOL", header: map[string]any{"kid": "1234example="},
		claims: jwt.MapClaims{
			"sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": []string{"readers"}, "client_id": "APP_CLIENT_ID", "version": 2,
			"token_use": "access", "scope": "openid email", "auth_time": 1676312777, "username": "ada", "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee3",
		},
		check: "aud",
	},
	{
		name: "Google", issuer: "https://accounts.google.com", header: map[string]any{"typ": "JWT", "kid": "1bf8a84d3ec77c7a7a9d8e1f0c2b3a4d5e6f7081"},
		claims: jwt.MapClaims{
			"azp": "CLIENT_ID.apps.googleusercontent.com", "aud": "CLIENT_ID.apps.googleusercontent.com", "sub": "110169484474386276334", "hd": "example.com",
			"email": "ada@example.com", "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "nonce": "0394852-3190485-2490358", "name": "Ada",
		},
		user: "google:110169484474386276334",
	},
	{
		name: "Supabase", issuer: "https://PROJECT.supabase.co/auth/v1", header: map[string]any{"typ": "JWT", "kid": "8a1c2f0e-5a70-4b0e-9d43-3f7c2f1e0a99"},
		claims: jwt.MapClaims{
			"aal": "aal1", "amr": []any{map[string]any{"method": "password", "timestamp": 1710509126}}, "role": "authenticated", "aud": "authenticated",
			"app_metadata": map[string]any{"provider": "email", "providers": []string{"email"}, "roles": []string{"editor"}}, "is_anonymous": false,
			"email": "ada@example.com", "phone": "", "session_id": "1d4a2f6b-9c0e-4a61-8a0f-2b3c4d5e6f70", "sub": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
			"user_metadata": map[string]any{"email": "ada@example.com", "grants": "mine"},
		},
		user: "supabase:7c9e6679-7425-40de-944b-e07fc1f90ae7", session: "supabase:1d4a2f6b-9c0e-4a61-8a0f-2b3c4d5e6f70", groups: []string{"supabase:editor"},
	},
}

// entra are the claims that both versions of Entra ID have, and more.
func entra(audience string, more jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"aud": audience, "aio": "ATQAy/8TAAAA", "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "rh": "0.ARoAv4j5cvGGr0GRqy180BHbR", "name": "Ada",
		"scp": "access_as_user", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47", "uti": "fqiBqXLPj0eQa82S-IYFAA",
	}
	maps.Copy(c, more)
	return c
}

// ofOurs are claims that mean something in our own tokens alone.
var ofOurs = jwt.MapClaims{
	"grp": []string{"admins"}, "fam": "family", "ims": 1,
	"grants": []any{map[string]any{"a": "channels/*", "can": []string{"publish", "subscribe"}}},
}

// recipes are the issuers of docs/tokens.md as they stand there, but for the address of their keys.
func recipes(t *testing.T) map[string]config.TrustIssuer {
	t.Helper()
	page, err := os.ReadFile("../../docs/tokens.md")
	testkit.Check(t, err)
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	file := filepath.Join(t.TempDir(), "trunkline.yaml")
	testkit.Check(t, os.WriteFile(file, []byte("dev: true\n"+text), 0o600))
	loaded, err := app.Load(config.Sources{Files: []string{file}})
	testkit.Check(t, err)
	all := map[string]config.TrustIssuer{}
	for _, r := range loaded.Config.Auth.Trust {
		all[r.Issuer] = r
	}
	return all
}

// token is one that the provider issues now, with a difference to all others.
func (p provider) token(t *testing.T, i *apptest.Issuer, difference string) string {
	t.Helper()
	now := time.Now()
	c := maps.Clone(p.claims)
	maps.Copy(c, ofOurs)
	c["iss"], c["iat"], c["nbf"], c["exp"] = p.issuer, now.Unix(), now.Unix(), now.Add(time.Hour).Unix()
	if c["jti"] != nil {
		c["jti"] = fmt.Sprint(c["jti"], difference)
	}
	c["nonce"] = difference
	return i.Sign(t, p.header, c)
}

// A token of each provider makes its user connect, read its inbox and be written to, as docs/tokens.md says and with no more rights.
func TestProviders_tokensMeanWhatTheDocumentSays(t *testing.T) {
	book, issuers := recipes(t), map[string]*apptest.Issuer{}
	for _, p := range providers {
		r, ok := book[p.issuer]
		if !ok {
			t.Fatalf("docs/tokens.md has no recipe for %s", p.name)
		}
		if issuers[p.issuer] == nil {
			issuers[p.issuer] = apptest.NewIssuer(t, r.Algorithms[0], p.header["kid"].(string))
		}
		r.JWKSURL = issuers[p.issuer].JWKS
		book[p.issuer] = r
	}
	if len(issuers) != len(book) {
		t.Errorf("of %d recipes %d are tried", len(book), len(issuers))
	}
	trusted := func(grants bool) apptest.Option {
		return apptest.With(func(c *config.Config) {
			for _, r := range book {
				r.TrustGrants = grants
				c.Auth.Trust = append(c.Auth.Trust, r)
			}
		})
	}
	h, granting := apptest.Start(t, trusted(false)), apptest.Start(t, trusted(true))
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			first, second := p.token(t, issuers[p.issuer], "1"), p.token(t, issuers[p.issuer], "2")
			if p.check != "" {
				p.isRefused(t, h, first)
				return
			}
			who := p.identified(t, h, first)
			if again := p.identified(t, h, second); (again.GetClient() == who.GetClient()) != (p.session != "") {
				t.Errorf("the clients of two tokens are %s and %s, in the session %q", who.GetClient(), again.GetClient(), p.session)
			}
			p.isLetIn(t, h, first, second)
			p.publishes(t, h, first, "CHANNEL_PUBLISH_DENIED")
			p.publishes(t, granting, first, "")
		})
	}
}

// clientOf is the form of a derived client id behind the prefix of its issuer.
var clientOf = regexp.MustCompile(`^[a-z0-9]+:[0-9a-f]{32}$`)

// identified asks the server who the user of a token is, and checks all of it.
func (p provider) identified(t *testing.T, h *apptest.Deployment, token string) *authv1.Identity {
	t.Helper()
	answer, err := h.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
	testkit.Check(t, err)
	who := answer.GetIdentity()
	if who.GetUser() != p.user || who.GetSession() != p.session || !slices.Equal(who.GetGroups(), p.groups) || len(who.GetGrants()) > 0 {
		t.Errorf("the token is of %v", who)
	}
	prefix, _, _ := strings.Cut(p.user, ":")
	if !clientOf.MatchString(who.GetClient()) || !strings.HasPrefix(who.GetClient(), prefix+":") {
		t.Errorf("the client is %s", who.GetClient())
	}
	return who
}

// isRefused checks that no door takes a token, and that those who may know are told which check failed.
func (p provider) isRefused(t *testing.T, h *apptest.Deployment, token string) {
	t.Helper()
	resp, err := h.Auth.BatchValidateTokens(t.Context(), &authv1.BatchValidateTokensRequest{Tokens: []string{token}, Explain: true})
	testkit.Check(t, err)
	if got := resp.GetResults()[0].GetError(); got.GetReason() != "TOKEN_INVALID" || got.GetMetadata()["check"] != p.check {
		t.Errorf("it is refused with %v", got)
	}
	for door, ask := range p.doors(t, h, "users/x", token) {
		if v := ask(token); door != "refresh" && !v.says(door, "TOKEN_INVALID", "token is not valid", false) {
			t.Errorf("%s: %+v", door, v)
		}
	}
}

// doors are those that need no grants.
func (p provider) doors(t *testing.T, h *apptest.Deployment, own, known string) map[string]func(token string) verdict {
	all := tokenDoors(t, h, own, known)
	for _, name := range []string{"rooms", "pushserver", "facility"} {
		delete(all, name)
	}
	return all
}

// isLetIn checks that every door takes the next token of a connected user. What is sent to the user comes, and is in the inbox.
func (p provider) isLetIn(t *testing.T, h *apptest.Deployment, token, next string) {
	t.Helper()
	own := "users/" + p.user
	for door, ask := range p.doors(t, h, own, token) {
		if v := ask(next); v != (verdict{}) {
			t.Errorf("%s: %+v", door, v)
		}
	}
	sent, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: own, Data: []byte(`"for you"`), Ack: &publishv1.AckPolicy{}})
	testkit.Check(t, err)
	inbox, err := publishv1.NewInboxServiceClient(apptest.Dial(t, h.GRPC, token)).ListInbox(t.Context(), &publishv1.ListInboxRequest{Address: own})
	testkit.Check(t, err)
	if !slices.ContainsFunc(inbox.GetEntries(), func(e *publishv1.InboxEntry) bool { return e.GetMessage().GetId() == sent.GetId() }) {
		t.Errorf("the inbox is %v", inbox)
	}
	ws := p.socket(t, h, token)
	if got := ws(""); !strings.Contains(got, "connected") || !strings.Contains(got, fmt.Sprintf("%q", p.user)) {
		t.Errorf("connected as %s", got)
	}
	if got := ws(""); !strings.Contains(got, "for you") {
		t.Errorf("got %s", got)
	}
}

// publishes has the user publish to a channel at three doors, which all refuse for the reason, or none.
func (p provider) publishes(t *testing.T, h *apptest.Deployment, token, reason string) {
	t.Helper()
	_, err := publishv1.NewPublishServiceClient(apptest.Dial(t, h.GRPC, token)).Publish(t.Context(), &publishv1.PublishRequest{To: "channels/x", Data: []byte(`1`)})
	if v := refusedAs(err); v.reason != reason {
		t.Errorf("gRPC: %+v", v)
	}
	if v := asked(t, "POST", h.HTTP+"/v1/channels/x:publish", token, nil); v.reason != reason {
		t.Errorf("REST: %+v", v)
	}
	ws := p.socket(t, h, token)
	ws("")
	var got struct{ Error struct{ Reason string } }
	answer := ws(`{"id":1,"publish":{"to":"channels/x","data":1}}`)
	for !strings.Contains(answer, `"id":1,`) { // what waits in its inbox
		answer = ws("")
	}
	testkit.Check(t, json.Unmarshal([]byte(answer), &got))
	if got.Error.Reason != reason {
		t.Errorf("WebSocket: %+v", got)
	}
}

// socket connects, and returns what sends a frame, if there is one, and waits for the next one.
func (p provider) socket(t *testing.T, h *apptest.Deployment, token string) func(frame string) string {
	t.Helper()
	url := "ws" + strings.TrimPrefix(h.Edges[0], "http") + "/v1/ws?token=" + token
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil) //nolint:bodyclose // it is the connection
	testkit.Check(t, err)
	t.Cleanup(func() { _ = ws.Close() })
	testkit.Check(t, ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	return func(frame string) string {
		t.Helper()
		if frame != "" {
			testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
		}
		_, text, err := ws.ReadMessage()
		testkit.Check(t, err)
		return string(text)
	}
}
