package auth_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// noKeys is the key set of an issuer that has withdrawn its key.
var noKeys = []byte(`{"keys":[]}`)

// trusts returns a server that reads the key sets of issuers from them.
func trusts(t *testing.T, age time.Duration, issuers ...*login) fixture {
	t.Helper()
	return start(t, func(c *auth.Config) {
		for _, l := range issuers {
			c.Trust = append(c.Trust, auth.Trust{Issuer: l.name, Audience: "us", JWKSURL: l.url, KeyAge: age, ShareUsers: true})
		}
	})
}

// A key set that cannot be read again stays as it was, and the caller is told. That of another issuer is read all the same.
func TestTrust_keySetThatCannotBeReadStays(t *testing.T) {
	away, there := startLogin(t, "https://away.example"), startLogin(t, "https://there.example")
	f := trusts(t, time.Hour, away, there)
	ofAway, ofThere := away.sign(t, "ada", f.clock.Now()), there.sign(t, "ada", f.clock.Now())
	testkit.Check(t, f.validate(t.Context(), ofAway))
	testkit.Check(t, f.validate(t.Context(), ofThere))
	away.away.Store(true)
	there.keys.Store(&noKeys)
	resp, err := f.RefreshKeySets(t.Context(), &authv1.RefreshKeySetsRequest{})
	if !errors.Is(err, bus.ErrUnavailable) || !slices.Equal(resp.GetIssuers(), []string{there.name}) {
		t.Errorf("read %v, error %v", resp.GetIssuers(), err)
	}
	testkit.Check(t, f.validate(t.Context(), ofAway))
	if err := f.validate(t.Context(), ofThere); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("a token seen before, of a key that was withdrawn: %v", err)
	}
}

// A call that fails does not end the reading that goes on by itself.
func TestTrust_readsOnAfterACallThatFailed(t *testing.T) {
	theirs := startLogin(t, "https://login.example")
	f := trusts(t, 100*time.Millisecond, theirs)
	theirs.away.Store(true)
	if _, err := f.RefreshKeySets(t.Context(), &authv1.RefreshKeySetsRequest{}); err == nil {
		t.Fatal("a key set was read from an issuer that is away")
	}
	theirs.keys.Store(&noKeys)
	theirs.away.Store(false)
	deadline := time.Now().Add(20 * time.Second)
	for f.validate(t.Context(), theirs.sign(t, "ada", f.clock.Now())) == nil {
		if time.Now().After(deadline) {
			t.Fatal("the key is believed for ever")
		}
		f.clock.advance(time.Second) // past what was verified before
	}
}

// Reading a key set again takes the place of the reader before.
func TestTrust_hasOneReaderOfAKeySet(t *testing.T) {
	theirs := startLogin(t, "https://login.example")
	f := trusts(t, 100*time.Millisecond, theirs)
	for range 20 {
		_, err := f.RefreshKeySets(t.Context(), &authv1.RefreshKeySetsRequest{})
		testkit.Check(t, err)
	}
	begun := time.Now()
	for range 20 {
		<-theirs.asked
	}
	if took := time.Since(begun); took < 500*time.Millisecond {
		t.Errorf("it was read 20 times in %s, where one reader takes a second", took)
	}
}

// Unless it is set, a key that was withdrawn is believed for a minute at most. Half of it passes until the set is read again, and
// half is for what was verified right before.
func TestTrust_withdrawnKeyIsUnknownAfterAMinute(t *testing.T) {
	theirs := startLogin(t, "https://login.example")
	f := trusts(t, 0, theirs)
	seen := theirs.sign(t, "ada", f.clock.Now())
	testkit.Check(t, f.validate(t.Context(), seen))
	theirs.keys.Store(&noKeys)
	unknown := theirs.signWith(t, "another", "ada", f.clock.Now())
	if err := f.validate(t.Context(), unknown); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("a key that nobody has, for which the set is read again: %v", err)
	}
	f.clock.advance(31 * time.Second)
	if err := f.validate(t.Context(), seen); !errors.Is(err, bus.ErrTokenInvalid) {
		t.Errorf("after half a minute: %v", err)
	}
}
