package auth_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// breaking is a memory store whose next exchange ends in an error, before it is carried out or after.
type breaking struct {
	*memory.Store
	before, after error
}

func (b *breaking) Exchange(ctx context.Context, family string, x bus.Exchange) (bus.Exchanged, error) {
	if err := b.before; err != nil {
		b.before = nil
		return bus.Exchanged{}, err
	}
	done, err := b.Store.Exchange(ctx, family, x)
	if lost := b.after; lost != nil {
		b.after = nil
		return bus.Exchanged{}, lost
	}
	return done, err
}

func TestRefresh_repeatedAfterALostAnswerGivesTheSamePair(t *testing.T) {
	for name, break1 := range map[string]func(*breaking){
		"the store was away":          func(b *breaking) { b.before = bus.ErrStoreUnavailable },
		"the store's answer was lost": func(b *breaking) { b.after = bus.ErrStoreUnavailable },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			store := &breaking{Store: f.store}
			s, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{f.key}, Now: f.clock.Now})
			testkit.Check(t, err)
			first := f.issue(t, &authv1.IssueTokenRequest{User: "ada", Refreshable: true})
			req := &authv1.RefreshTokenRequest{RefreshToken: first.GetRefreshToken()}
			break1(store)
			if _, err := s.RefreshToken(t.Context(), req); !errors.Is(err, bus.ErrStoreUnavailable) {
				t.Fatalf("the first try: %v", err)
			}
			second, err := s.RefreshToken(t.Context(), req)
			testkit.Check(t, err)
			f.clock.advance(25 * time.Second)
			third, err := s.RefreshToken(t.Context(), req) // our own answer was lost
			testkit.Check(t, err)
			if third.GetRefreshToken() != second.GetRefreshToken() || third.GetToken() != second.GetToken() {
				t.Error("the repeat is another pair")
			}
			for _, token := range []string{first.GetToken(), second.GetToken()} {
				testkit.Check(t, f.validate(t.Context(), token))
			}
		})
	}
}

// An answer is repeated as long as it may still be on its way. Whoever shows the old token after that is not who was answered.
func TestRefresh_repeatedAfterItsTimeIsReuse(t *testing.T) {
	f := start(t)
	first := f.issue(t, &authv1.IssueTokenRequest{Refreshable: true})
	req := &authv1.RefreshTokenRequest{RefreshToken: first.GetRefreshToken()}
	second, err := f.RefreshToken(t.Context(), req)
	testkit.Check(t, err)
	f.clock.advance(31 * time.Second)
	if _, err := f.RefreshToken(t.Context(), req); !errors.Is(err, bus.ErrRefreshTokenReused) {
		t.Errorf("error is %v", err)
	}
	if err := f.validate(t.Context(), second.GetToken()); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("the family lives on: %v", err)
	}
}

func TestRefresh_repeatedAfterTheSuccessorWasUsedIsReuse(t *testing.T) {
	f := start(t)
	refresh := func(token string) (*authv1.RefreshTokenResponse, error) {
		return f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: token})
	}
	first := f.issue(t, &authv1.IssueTokenRequest{Refreshable: true})
	second, err := refresh(first.GetRefreshToken())
	testkit.Check(t, err)
	third, err := refresh(second.GetRefreshToken())
	testkit.Check(t, err)
	if _, err := refresh(first.GetRefreshToken()); !errors.Is(err, bus.ErrRefreshTokenReused) {
		t.Errorf("error is %v", err)
	}
	if err := f.validate(t.Context(), third.GetToken()); !errors.Is(err, bus.ErrTokenRevoked) {
		t.Errorf("the family lives on: %v", err)
	}
}

// Whoever knows a family's id, which is in every token of it, cannot end it with a made-up refresh token.
func TestRefresh_madeUpTokenDoesNotEndAFamily(t *testing.T) {
	f := start(t)
	pair := f.issue(t, &authv1.IssueTokenRequest{Refreshable: true})
	genuine := pair.GetRefreshToken()
	for _, made := range []string{genuine[:60] + strings.Repeat("A", len(genuine)-60), genuine[:len(genuine)-1] + "_"} {
		if _, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: made}); !errors.Is(err, bus.ErrTokenInvalid) {
			t.Errorf("error is %v", err)
		}
	}
	_, err := f.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: genuine})
	testkit.Check(t, err)
}

// recorder is a memory store that notes what it was given to keep.
type recorder struct {
	*memory.Store
	kept []string
}

func (r *recorder) Exchange(ctx context.Context, family string, x bus.Exchange) (bus.Exchanged, error) {
	r.kept = append(r.kept, x.Old, x.New, string(x.Value), string(x.Answer))
	return r.Store.Exchange(ctx, family, x)
}

func TestRefresh_keepsNoTokenInTheStore(t *testing.T) {
	f := start(t)
	store := &recorder{Store: f.store}
	s, err := auth.New(store, auth.Config{Keys: []auth.KeyConfig{f.key}, Now: f.clock.Now})
	testkit.Check(t, err)
	first := f.issue(t, &authv1.IssueTokenRequest{Refreshable: true})
	second, err := s.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: first.GetRefreshToken()})
	testkit.Check(t, err)
	kept := strings.Join(store.kept, "\n")
	for name, secret := range map[string]string{
		"the old refresh token": first.GetRefreshToken(), "the new refresh token": second.GetRefreshToken(), "the new token": second.GetToken(),
	} {
		if strings.Contains(kept, secret) || strings.Contains(kept, secret[len(secret)-40:]) {
			t.Errorf("the store was given %s", name)
		}
	}
}

// "This token" and "this family" have no later: the clock of the issuer does not matter.
func TestRevoke_ofOneTokenHoldsWhateverTheIssuersClockSays(t *testing.T) {
	for name, target := range map[string]func(*authv1.IssueTokenResponse) *authv1.RevokeTokenRequest{
		"token": func(r *authv1.IssueTokenResponse) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: r.GetToken()}}
		},
		"token id": func(r *authv1.IssueTokenResponse) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_TokenId{TokenId: r.GetTokenId()}}
		},
		"refresh token": func(r *authv1.IssueTokenResponse) *authv1.RevokeTokenRequest {
			return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: r.GetRefreshToken()}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			ahead, err := auth.New(f.store, auth.Config{
				Keys: []auth.KeyConfig{f.key}, Now: func() time.Time { return f.clock.Now().Add(2 * time.Second) },
			})
			testkit.Check(t, err)
			token, err := ahead.IssueToken(t.Context(), &authv1.IssueTokenRequest{User: "ada", Refreshable: true})
			testkit.Check(t, err)
			_, err = f.RevokeToken(t.Context(), target(token))
			testkit.Check(t, err)
			for name, s := range map[string]*auth.Server{"ahead": ahead, "right": f.Server} {
				if _, err := s.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token.GetToken()}); !errors.Is(err, bus.ErrTokenRevoked) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// revokedBehind is a memory store in which a subject is revoked right behind each answer about revocations.
type revokedBehind struct {
	*memory.Store
	subject bus.Subject
}

func (r *revokedBehind) RevokedBefore(ctx context.Context, subjects []bus.Subject) ([]time.Time, error) {
	times, err := r.Store.RevokedBefore(ctx, subjects)
	return times, errors.Join(err, r.Revoke(ctx, r.subject, time.Time{}, time.Hour))
}

func TestRefresh_givesNothingToWhoIsRevokedMeanwhile(t *testing.T) {
	for _, subject := range []bus.Subject{
		{Kind: bus.SubjectUser, ID: "ada"}, {Kind: bus.SubjectClient, ID: "phone"}, {Kind: bus.SubjectSession, ID: "s1"}, {Kind: bus.SubjectAll},
	} {
		t.Run(subject.Kind, func(t *testing.T) {
			f := start(t)
			s, err := auth.New(&revokedBehind{f.store, subject}, auth.Config{Keys: []auth.KeyConfig{f.key}, Now: f.clock.Now})
			testkit.Check(t, err)
			first := f.issue(t, &authv1.IssueTokenRequest{User: "ada", Client: "phone", Session: "s1", Refreshable: true})
			second, err := s.RefreshToken(t.Context(), &authv1.RefreshTokenRequest{RefreshToken: first.GetRefreshToken()})
			if err != nil {
				return // refused at once is right as well
			}
			if err := f.validate(t.Context(), second.GetToken()); !errors.Is(err, bus.ErrTokenRevoked) {
				t.Errorf("the new token: %v", err)
			}
			again := &authv1.RefreshTokenRequest{RefreshToken: second.GetRefreshToken()}
			if _, err := f.RefreshToken(t.Context(), again); !errors.Is(err, bus.ErrTokenRevoked) {
				t.Errorf("the new refresh token: %v", err)
			}
		})
	}
}
