package trust_test

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/trust"
)

// keys is a set of one key that signs nothing here.
const keys = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func issuer(tb testing.TB, claims trust.Claims) *trust.Issuer {
	tb.Helper()
	i, err := trust.New(trust.Config{
		Issuer: "https://login.example", Audience: "us", JWKS: []byte(keys), Claims: claims, UserPrefix: "acme:",
	}, time.Now, slog.New(slog.DiscardHandler))
	testkit.Check(tb, err)
	return i
}

// FuzzSubject reads the claims of another issuer. Every name that comes of them begins with the issuer's prefix. What only we define
// means nothing, and whoever shows the same claims is the same client.
func FuzzSubject(f *testing.F) {
	mapped := issuer(f, trust.Claims{User: "email", Client: "device.id", Session: "sess", Groups: "realm.roles", Grants: "https://example.com/grants"})
	plain := issuer(f, trust.Claims{})
	f.Fuzz(func(t *testing.T, claims []byte) {
		o, err := jose.DecodeObject(claims)
		if err != nil {
			return
		}
		for _, i := range []*trust.Issuer{mapped, plain} {
			s, err := i.Subject(o, "token")
			if err != nil {
				if text := err.Error(); !strings.HasPrefix(text, "claim ") {
					t.Errorf("%q is refused with %q", claims, text)
				}
				continue
			}
			for _, name := range append([]string{s.Client, s.User, s.Session}, s.Groups...) {
				if name != "" && !strings.HasPrefix(name, "acme:") {
					t.Errorf("%q has the name %q", claims, name)
				}
			}
			if again, err := i.Subject(o, "token"); err != nil || !reflect.DeepEqual(again, s) || s.Client == "" || s.TokenID == "" {
				t.Errorf("%q is %+v, and then %+v, %v", claims, s, again, err)
			}
			if i == mapped && s.User == "" {
				t.Errorf("%q has no user", claims)
			}
		}
		// What is ours alone says nothing where nothing is mapped.
		for _, ours := range []string{"cid", "grp", "sid", "fam", "ims", "grants"} {
			before, err := plain.Subject(o, "token")
			delete(o, ours)
			after, err2 := plain.Subject(o, "token")
			if (err == nil) != (err2 == nil) || err == nil && !reflect.DeepEqual(before, after) {
				t.Errorf("%s changes %+v, %v into %+v, %v", ours, before, err, after, err2)
			}
		}
	})
}
