package auth_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// What nobody would accept is not issued: the refusal names the length and the limit.
func TestIssue_refusesATokenThatIsTooLong(t *testing.T) {
	f := start(t)
	grants := func(bytes int) *authv1.IssueTokenRequest {
		req := &authv1.IssueTokenRequest{}
		for i := range 100 {
			req.Grants = append(req.Grants, &authv1.Grant{
				Address: fmt.Sprintf("channels/c%03d%s", i, strings.Repeat("y", bytes)), Actions: []authv1.Action{authv1.Action_ACTION_SUBSCRIBE},
			})
		}
		return req
	}
	token := f.issue(t, grants(50)).GetToken()
	if len(token) <= 8<<10 {
		t.Fatalf("the token has %d bytes", len(token))
	}
	testkit.Check(t, f.validate(t.Context(), token))
	var e *bus.Error
	if _, err := f.IssueToken(t.Context(), grants(120)); !errors.As(err, &e) || e.Reason != "FIELD_INVALID" || e.Fields[0].Field != "grants" ||
		!strings.Contains(e.Fields[0].Description, "the limit is 16384") {
		t.Errorf("error is %v", err)
	}
}

// Milliseconds in place of seconds are told as what they are.
func TestValidate_refusesATimeAfterTheYear9999(t *testing.T) {
	f := start(t)
	for _, claim := range []string{`"exp":1764280000000`, `"exp":253402300800`, `"exp":EXP,"nbf":1764280000000`} {
		req := &authv1.ValidateTokenRequest{Token: signed(t, f, ourHeader, payload(f, claim)), Explain: true}
		if _, err := f.ValidateToken(t.Context(), req); !errors.Is(err, bus.ErrTokenInvalid) || !strings.Contains(err.Error(), "not in milliseconds") {
			t.Errorf("%s: %v", claim, err)
		}
	}
}

// A token never outlives the key that signed it, and after the last one's end none is issued.
func TestIssue_endsWithTheKey(t *testing.T) {
	key, err := auth.NewKey("k")
	testkit.Check(t, err)
	key.Until = time.Now().Add(time.Hour)
	f := start(t, func(c *auth.Config) { c.Keys = []auth.KeyConfig{key} })
	resp := f.issue(t, &authv1.IssueTokenRequest{Ttl: durationpb.New(3 * time.Hour)})
	if resp.GetExpireTime().AsTime().After(key.Until) || f.KeysEnding() == nil {
		t.Errorf("it ends at %v, its key at %v", resp.GetExpireTime().AsTime(), key.Until)
	}
	testkit.Check(t, f.Ready())
	f.clock.advance(2 * time.Hour)
	if _, err := f.IssueToken(t.Context(), &authv1.IssueTokenRequest{}); !errors.Is(err, bus.ErrAuthUnavailable) || f.Ready() == nil {
		t.Errorf("after the key's end: %v", err)
	}
	if _, err := auth.New(f.store, auth.Config{Keys: []auth.KeyConfig{key}, Now: f.clock.Now}); err == nil {
		t.Error("a server starts that can sign nothing")
	}
}

// Of several that use one refresh token at once, all get the same pair, which lives.
func TestRefresh_raceGivesEverybodyTheSamePair(t *testing.T) {
	f := start(t)
	req := &authv1.RefreshTokenRequest{RefreshToken: f.issue(t, &authv1.IssueTokenRequest{Refreshable: true}).GetRefreshToken()}
	tokens := make([]string, 8)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			resp, err := f.RefreshToken(t.Context(), req)
			if err != nil {
				t.Error(err)
			}
			tokens[i] = resp.GetToken()
		})
	}
	all.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Error("two pairs of one refresh token")
		}
	}
	testkit.Check(t, f.validate(t.Context(), tokens[0]))
}
