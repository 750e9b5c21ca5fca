package badinput_test

import (
	"fmt"
	"testing"

	"github.com/gorilla/websocket"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/testkit"
)

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
