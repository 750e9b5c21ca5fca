package revoked_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/revoked"
)

// is says whether a refusal has the reason; nil has none.
func is(got, want *bus.Error) bool { return got != nil && errors.Is(got, want) }

// A revocation whose push was missed comes by the log, and a server that was emptied makes older tokens expire.
func TestFollower_hearsWhatItWasNotPushed(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server := redistest.Start(t)
	store, err := redis.Open(redis.Config{URL: server.URL()}, log)
	if err != nil {
		t.Fatal(err)
	}
	follower := revoked.New(store, revoked.Config{Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return follower.Run(ctx) })
	defer func() {
		cancel()
		if err := errors.Join(g.Wait(), store.Close()); err != nil {
			t.Error(err)
		}
	}()
	refused := func(id *bus.Identity, want *bus.Error) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !is(follower.Refused(id), want); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v, want %s", id.User, follower.Refused(id), want.Reason)
			}
			timer := time.NewTimer(5 * time.Millisecond)
			<-timer.C
		}
	}
	revoke := func(user string) {
		t.Helper()
		if err := store.Revoke(t.Context(), bus.Subject{Kind: bus.SubjectUser, ID: user}, time.Time{}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	ada := &bus.Identity{Client: "c", User: "ada", TokenID: "t", Issued: time.Unix(1, 0), OutlivesLoss: true}
	for deadline := time.Now().Add(20 * time.Second); follower.Refused(ada) == nil; { // until the follower follows
		if time.Now().After(deadline) {
			t.Fatal(follower.Ready())
		}
		revoke("ada")
	}
	if out, err := server.CLI("client", "kill", "type", "pubsub"); err != nil {
		t.Fatal(out, err)
	}
	revoke("bob")
	bob := &bus.Identity{Client: "c", User: "bob", TokenID: "t", Issued: time.Unix(1, 0), OutlivesLoss: true}
	refused(bob, bus.ErrTokenRevoked)
	eve := &bus.Identity{Client: "c", User: "eve", TokenID: "t", Issued: store.Now()}
	if err := follower.Refused(eve); err != nil {
		t.Errorf("nothing was lost, and %v", err)
	}
	if out, err := server.CLI("flushall"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := server.CLI("client", "kill", "type", "pubsub"); err != nil {
		t.Fatal(out, err)
	}
	refused(eve, bus.ErrTokenExpired)
}
