package facility_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/legacy/facility"
)

// Answers about sessions keep nothing of the cookies that the keys were cut out of.
func TestSessions_keepCopies(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"user":"ada","groups":["staff"]}`))
	}))
	defer site.Close()
	s, err := facility.NewSessions(facility.SessionsConfig{
		URL: site.URL, Cookie: "sid", Cache: time.Hour, Timeout: time.Minute, Name: func(text string) string { return text },
	}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	defer s.Close()
	testkit.KeepsCopies(t, s, func(i int, in *testkit.Input) {
		_, err := s.ResolveSession(t.Context(), in.Cut(fmt.Sprint("session", i)))
		testkit.Check(t, err)
	})
}
