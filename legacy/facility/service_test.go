package facility_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/legacy/facility"
)

// A session ends when it is told to, and its user is revoked, whatever the clock of the process that registered it says. It can
// be registered again at once.
func TestSession_goesByTheClockOfTheStore(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, off := range map[string]time.Duration{"ahead": 11 * time.Minute, "behind": -11 * time.Minute} {
		t.Run("the process is "+name, func(t *testing.T) {
			var later atomic.Int64
			store := memory.New(memory.Config{Now: func() time.Time { return time.Now().Add(-off).Add(time.Duration(later.Load())) }})
			t.Cleanup(func() { check(store.Close()) })
			s := facility.NewService(store, nil)
			register := func() *bus.Identity {
				_, err := s.RegisterSession(t.Context(), &legacyv1.RegisterSessionRequest{Key: "cookie", User: "ada"})
				check(err)
				sum := sha256.Sum256([]byte(bus.SessionCredential("cookie")))
				id := hex.EncodeToString(sum[:])
				value, err := store.Token(t.Context(), id)
				check(err)
				var token bus.OpaqueToken
				check(json.Unmarshal(value, &token))
				return token.Identity(id)
			}
			refused := func(who *bus.Identity) bool {
				return who.Refused(func(subject bus.Subject) time.Time {
					if subject.Kind == bus.SubjectLost {
						return time.Time{}
					}
					times, err := store.RevokedBefore(t.Context(), []bus.Subject{subject})
					check(err)
					return times[0]
				}) != nil
			}
			first := register()
			if refused(first) {
				t.Fatal("a new session is refused")
			}
			_, err := s.UnregisterSession(t.Context(), &legacyv1.UnregisterSessionRequest{Key: "cookie"})
			check(err)
			if !refused(first) {
				t.Error("a session that has ended is not refused")
			}
			again := register()
			if refused(again) {
				t.Error("a session that was registered again is refused")
			}
			later.Store(int64(time.Second))
			check(store.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: "ada"}, time.Time{}, time.Hour))
			if !refused(again) {
				t.Error("a session of a user who was revoked is not refused")
			}
		})
	}
}
