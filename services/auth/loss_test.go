package auth_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// login is another issuer, whose key set a test changes.
type login struct {
	name    string
	private ed25519.PrivateKey
	set     []byte
	keys    atomic.Pointer[[]byte] // what it serves
	away    atomic.Bool
	asked   chan struct{} // told of each request, if somebody listens
	url     string
}

func startLogin(t *testing.T, name string) *login {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	testkit.Check(t, err)
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "kid": "theirs", "alg": "EdDSA", "use": "sig", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	testkit.Check(t, err)
	l := &login{name: name, private: private, set: set, asked: make(chan struct{})}
	l.keys.Store(&set)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case l.asked <- struct{}{}:
		default:
		}
		if l.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(*l.keys.Load())
	}))
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		server.Close()
	})
	l.url = server.URL
	return l
}

func (l *login) sign(t *testing.T, sub string, issued time.Time) string {
	t.Helper()
	return l.signWith(t, "theirs", sub, issued)
}

func (l *login) signWith(t *testing.T, kid, sub string, issued time.Time) string {
	t.Helper()
	return forge(t, jwt.SigningMethodEdDSA, l.private, map[string]any{"kid": kid}, jwt.MapClaims{
		"iss": l.name, "aud": "us", "sub": sub, "iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix(),
	})
}

// A store that was emptied does not know what was revoked: tokens that are older than that are answered as expired.
func TestRevoke_lostWithTheStoreMakesOlderTokensExpire(t *testing.T) {
	theirs := startLogin(t, "https://login.example")
	f := start(t)
	old := f.issue(t, &authv1.IssueTokenRequest{User: "ada", Refreshable: true}).GetToken()
	external := theirs.sign(t, "ada", f.clock.Now())
	_, err := f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
	testkit.Check(t, err)
	f.clock.advance(10 * time.Minute)
	emptied := func(own, other auth.LostRevocations) *auth.Server {
		s, err := auth.New(memory.New(memory.Config{Now: f.clock.Now}), auth.Config{
			Keys: []auth.KeyConfig{f.key}, Now: f.clock.Now, LostRevocations: own,
			Trust: []auth.Trust{{Issuer: theirs.name, Audience: "us", JWKS: theirs.set, LostRevocations: other}},
		})
		testkit.Check(t, err)
		return s
	}
	validate := func(s *auth.Server, token string) error {
		_, err := s.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
		return err
	}
	s := emptied("", "")
	for name, token := range map[string]string{"own": old, "of another issuer": external} {
		if err := validate(s, token); !errors.Is(err, bus.ErrTokenExpired) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fresh, err := s.IssueToken(t.Context(), &authv1.IssueTokenRequest{User: "ada"})
	testkit.Check(t, err)
	testkit.Check(t, validate(s, fresh.GetToken()))
	testkit.Check(t, validate(s, theirs.sign(t, "ada", f.clock.Now())))
	testkit.Check(t, validate(emptied(auth.LostAllow, ""), old))
	testkit.Check(t, validate(emptied(auth.LostAllow, ""), external))
	mixed := emptied(auth.LostAllow, auth.LostExpire)
	testkit.Check(t, validate(mixed, old))
	if err := validate(mixed, external); !errors.Is(err, bus.ErrTokenExpired) {
		t.Errorf("an issuer's own setting: %v", err)
	}
}

// A log that has lost its end may have lost the revocation of a refresh token too: its owner signs in again.
func TestRefresh_ofATokenThatIsOlderThanALoss(t *testing.T) {
	for _, lost := range []auth.LostRevocations{auth.LostExpire, auth.LostAllow} {
		t.Run(string(lost), func(t *testing.T) {
			f := start(t, func(c *auth.Config) { c.LostRevocations = lost })
			pair := f.issue(t, &authv1.IssueTokenRequest{User: "ada", Refreshable: true})
			used, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: pair.GetRefreshToken()})
			testkit.Check(t, err)
			f.clock.advance(time.Second)
			testkit.Check(t, f.store.RevocationsSeen(t.Context(), bus.Position{Epoch: "gone", Offset: 7}))
			for name, token := range map[string]string{"the newest": used.GetRefreshToken(), "one that was used a moment ago": pair.GetRefreshToken()} {
				_, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: token})
				if lost == auth.LostExpire && !errors.Is(err, bus.ErrTokenExpired) || lost == auth.LostAllow && name == "the newest" && err != nil {
					t.Errorf("%s: error is %v", name, err)
				}
			}
			again := f.issue(t, &authv1.IssueTokenRequest{User: "ada", Refreshable: true})
			testkit.Check(t, f.validate(t.Context(), again.GetToken()))
			next, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: again.GetRefreshToken()})
			testkit.Check(t, err)
			testkit.Check(t, f.validate(t.Context(), next.GetToken()))
		})
	}
}

// A replica that takes over without a revocation has the family: no refresh makes a new session of it.
func TestRefresh_ofAFamilyWhoseRevocationIsLost(t *testing.T) {
	master, replica := redistest.Start(t), redistest.Start(t)
	cli := func(server *redistest.Server, args ...string) string {
		t.Helper()
		out, err := server.CLI(args...)
		testkit.Check(t, err)
		return strings.TrimSpace(out)
	}
	host, port, _ := strings.Cut(master.Addr(), ":")
	cli(replica, "replicaof", host, port)
	key, err := auth.NewKey("k")
	testkit.Check(t, err)
	serve := func(server *redistest.Server) (*auth.Server, *redis.Store) {
		store, err := redis.Open(redis.Config{URL: server.URL()}, slog.New(slog.DiscardHandler))
		testkit.Check(t, err)
		t.Cleanup(func() { testkit.Check(t, store.Close()) })
		s, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{key}})
		testkit.Check(t, err)
		return s, store
	}
	s, store := serve(master)
	pair, err := s.IssueToken(t.Context(), &authv1.IssueTokenRequest{User: "ada", Refreshable: true})
	testkit.Check(t, err)
	testkit.Eventually(t, "the replica has everything", func() bool { return cli(master, "wait", "1", "100") == "1" })
	cli(replica, "replicaof", "127.0.0.1", "1")
	_, err = s.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: pair.GetRefreshToken()}})
	testkit.Check(t, err)
	tops, errs := store.Tops(t.Context(), []bus.Address{bus.Revoked})
	testkit.Check(t, errors.Join(errs...))
	cli(replica, "replicaof", "no", "one")
	next, there := serve(replica)
	testkit.Check(t, there.RevocationsSeen(t.Context(), tops[0])) // as a follower says that was there
	_, err = next.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: pair.GetRefreshToken()})
	if !errors.Is(err, bus.ErrTokenExpired) {
		t.Errorf("error is %v", err)
	}
}

func TestRevoke_ofAUserHoldsForAnIssuerWhoseClockIsAhead(t *testing.T) {
	theirs := startLogin(t, "https://login.example")
	f := start(t, func(c *auth.Config) { c.Trust = []auth.Trust{{Issuer: theirs.name, Audience: "us", JWKS: theirs.set}} })
	token := theirs.sign(t, "ada", f.clock.Now().Add(3*time.Second))
	ahead, err := auth.New(f.store, auth.Config{Keys: []auth.KeyConfig{f.key}, Now: func() time.Time { return f.clock.Now().Add(2 * time.Second) }})
	testkit.Check(t, err)
	own, err := ahead.IssueToken(t.Context(), &authv1.IssueTokenRequest{User: "ada"})
	testkit.Check(t, err)
	testkit.Check(t, f.validate(t.Context(), token))
	_, err = f.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "ada"}})
	testkit.Check(t, err)
	for name, token := range map[string]string{"another issuer's": token, "our own": own.GetToken()} {
		if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenRevoked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrust_withdrawnKeyIsUnknown(t *testing.T) {
	trusting := func(t *testing.T, age time.Duration) (fixture, *login, string) {
		theirs := startLogin(t, "https://login.example")
		f := trusts(t, age, theirs)
		seen := theirs.sign(t, "ada", f.clock.Now())
		testkit.Check(t, f.validate(t.Context(), seen))
		theirs.keys.Store(&noKeys)
		return f, theirs, seen
	}
	t.Run("when it is asked for", func(t *testing.T) {
		f, theirs, seen := trusting(t, time.Hour)
		resp, err := f.RefreshKeySets(t.Context(), &authv1.RefreshKeySetsRequest{})
		testkit.Check(t, err)
		if len(resp.GetIssuers()) != 1 {
			t.Errorf("read %v", resp.GetIssuers())
		}
		for name, token := range map[string]string{"seen before": seen, "new": theirs.sign(t, "bob", f.clock.Now())} {
			if err := f.validate(t.Context(), token); !errors.Is(err, bus.ErrTokenInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("by itself", func(t *testing.T) {
		f, theirs, seen := trusting(t, 100*time.Millisecond)
		deadline := time.Now().Add(20 * time.Second)
		for i := 0; f.validate(t.Context(), theirs.sign(t, fmt.Sprint("bob", i), f.clock.Now())) == nil; i++ {
			if time.Now().After(deadline) {
				t.Fatal("the key is believed for ever")
			}
		}
		f.clock.advance(50 * time.Millisecond)
		if err := f.validate(t.Context(), seen); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("a token seen before: %v", err)
		}
	})
}

func TestTrust_issuersDoNotShareUsersUnlessTheyAreTold(t *testing.T) {
	a, b := startLogin(t, "https://a.example"), startLogin(t, "https://b.example")
	key, err := auth.NewKey("k")
	testkit.Check(t, err)
	trust := func(first, second string, share bool) (*auth.Server, error) {
		return auth.New(memory.New(memory.Config{}), auth.Config{Keys: []auth.KeyConfig{key}, Trust: []auth.Trust{
			{Issuer: a.name, Audience: "us", JWKS: a.set, UserPrefix: first, ShareUsers: share},
			{Issuer: b.name, Audience: "us", JWKS: b.set, UserPrefix: second, ShareUsers: share, Claims: auth.Claims{Client: "cid", Session: "sid", Groups: "grp"}},
		}})
	}
	for _, same := range [][2]string{{"", ""}, {"a:", "a:"}, {"", "b:"}, {"b:", ""}, {"a:", "a:b:"}, {"a:b:", "a:"}} {
		if _, err := trust(same[0], same[1], false); err == nil {
			t.Errorf("prefixes %q let users of one be users of the other", same)
		}
	}
	_, err = trust("", "", true)
	testkit.Check(t, err)
	s, err := trust("a:", "b:", false)
	testkit.Check(t, err)
	var id bus.Identity
	for given, client := range map[any]string{"phone": "b:phone", nil: "b:"} { // what is derived for a token that names none has the prefix too
		token := forge(t, jwt.SigningMethodEdDSA, b.private, map[string]any{"kid": "theirs"}, jwt.MapClaims{
			"iss": b.name, "aud": "us", "sub": "ada", "cid": given, "sid": "s", "grp": []string{"g", "h"}, "jti": "token",
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		})
		resp, err := s.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
		testkit.Check(t, err)
		id = *convert.Identity(resp.GetIdentity())
		if got := fmt.Sprint(id.User, " ", id.Session, " ", id.Groups); got != "b:ada b:s [b:g b:h]" || !strings.HasPrefix(id.Client, client) {
			t.Errorf("it stands for %s", got)
		}
	}
	theirs, err := bus.ParseAddress("users/ada")
	testkit.Check(t, err)
	if id.Owns(theirs) {
		t.Error("it owns the inbox of another issuer's user")
	}
}
