package auth_test

import (
	"testing"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// What a token costs whose signature is remembered, and one that another process has signed with the same key.
func BenchmarkValidate(b *testing.B) {
	f := start(b)
	other := start(b, func(c *auth.Config) { c.Keys = []auth.KeyConfig{f.key} })
	fresh := func() string { return other.issue(b, &authv1.IssueTokenRequest{User: "ada"}).GetToken() }
	token := fresh()
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			testkit.Check(b, f.validate(b.Context(), token))
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			token := fresh()
			b.StartTimer()
			testkit.Check(b, f.validate(b.Context(), token))
		}
	})
	b.Run("batch of 100 new", func(b *testing.B) {
		batch := &authv1.BatchValidateTokensRequest{Tokens: make([]string, 100)}
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			for i := range batch.GetTokens() {
				batch.Tokens[i] = fresh()
			}
			b.StartTimer()
			_, err := f.BatchValidateTokens(b.Context(), batch)
			testkit.Check(b, err)
		}
	})
}

// A token whose signature is remembered is not read again. It costs a digest, the question whether it was revoked, and the answer.
func TestValidate_allocationsOfARememberedToken(t *testing.T) {
	f := start(t)
	req := &authv1.ValidateTokenRequest{Token: f.issue(t, &authv1.IssueTokenRequest{User: "ada"}).GetToken()}
	n := testing.AllocsPerRun(100, func() {
		if _, err := f.ValidateToken(t.Context(), req); err != nil {
			t.Error(err)
		}
	})
	if n > 11 { // 10 without the race detector
		t.Errorf("%g allocations", n)
	}
}
