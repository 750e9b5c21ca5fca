package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/testkit"
)

// verb is one write, which may be repeated.
type verb struct {
	name string
	do   func() error
}

// writes are the verbs that change something, each for the second time in the test that uses them.
func writes(t *testing.T, s *redis.Store, a, inbox bus.Address) []verb {
	t.Helper()
	ctx := t.Context()
	published := func(p bus.Publication, offset uint64) error {
		r, err := s.Publish(ctx, bustest.Admit(p))
		if err == nil && (r.Duplicate || r.Position.Offset != offset) {
			return fmt.Errorf("receipt %+v, want offset %d", r, offset)
		}
		return err
	}
	key := func(p bus.Publication, id string) bus.Publication {
		p.Message.ID, p.Message.Data = id, []byte(id)
		p.IdempotencyKey, p.Digest, p.Window = id, "d", time.Minute
		return p
	}
	live := key(publication(a), "live")
	live.Retention = bus.Retention{}
	strict := replicated(a, "strict", 1)
	change := bus.StateChange{Publication: key(publication(a), "state"), Value: []byte(`{"n":2}`), TTL: time.Hour, Revision: 1}
	// The expected offsets of the log are in the order of this list.
	return []verb{
		{"publish", func() error { return published(key(publication(a), "log"), 3) }},
		{"publish REPLICATED", func() error { return published(strict, 4) }},
		{"state", func() error { _, err := s.SetState(ctx, bustest.AdmitState(change)); return err }},
		{"publish live with a key", func() error { return published(live, 0) }},
		{"publish with an ack", func() error { return published(mail(inbox, "mail"), 2) }},
		{"sent", func() error { return s.MarkSent(ctx, []bus.Ack{{To: inbox, ID: "first", Device: "desk"}}) }},
		{"ack", func() error { return s.Ack(ctx, []bus.Ack{{To: inbox, ID: "first", Device: "phone"}})[0] }},
		{"join", func() error { return s.Join(ctx, a, member("two")) }},
		{"leave", func() error { return s.Leave(ctx, a, "one") }},
		{"beat", func() error { return s.Beat(ctx, bus.Node{Life: "n"}) }},
		{"create channel", func() error {
			return s.CreateChannel(ctx, bus.Channel{Address: address(t, "channels/new"), Created: time.Now()}, 0)
		}},
		{"save token", func() error { return s.SaveToken(ctx, "t", []byte("v"), time.Hour) }},
		{"revoke", func() error {
			return s.Revoke(ctx, bus.Subject{Kind: "user", ID: "eve"}, time.Now(), time.Hour)
		}},
	}
}

func member(connection string) bus.Member {
	return bus.Member{Connection: connection, Client: connection, Node: "n", Joined: time.Now()}
}

// A master that has lost its replica refuses writes. Every verb says why, nothing of it happens, and reads and plain live
// messages go on. With the replica everything is carried out as if it had not been tried before.
func TestMinReplicas_refusesCleanly(t *testing.T) {
	master, replica := pair(t)
	for _, setting := range [][]string{{"min-replicas-max-lag", "2"}, {"min-replicas-to-write", "1"}} {
		if out, err := master.CLI("config", "set", setting[0], setting[1]); err != nil {
			t.Fatal(out, err)
		}
	}
	s := open(t, master.URL())
	a, inbox := address(t, "channels/a"), address(t, "users/ada")
	testkit.Eventually(t, "writes are taken", func() bool { return s.Ping(t.Context()) == nil })
	f := trail(t, s, a)
	numbered(t, s, a, 1)
	_, err := s.Publish(t.Context(), bustest.Admit(mail(inbox, "first")))
	testkit.Check(t, err)
	first := bus.StateChange{Publication: publication(a), Value: []byte(`{"n":1}`), TTL: time.Hour}
	_, err = s.SetState(t.Context(), bustest.AdmitState(first))
	testkit.Check(t, err)
	testkit.Check(t, s.Beat(t.Context(), bus.Node{Life: "n"}))
	testkit.Check(t, s.Join(t.Context(), a, member("one")))
	testkit.Eventually(t, "the follower has what is there", func() bool { return f.arrived.Load() == 3 }) // the join, too
	before := everything(t, s, a, inbox)

	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGSTOP))
	testkit.Eventually(t, "the master says why it is not ready", func() bool { return errors.Is(s.Ping(t.Context()), bus.ErrReplicasMissing) })
	verbs := writes(t, s, a, inbox)
	for _, v := range verbs {
		var e *bus.Error
		if err := v.do(); !errors.As(err, &e) || e.Reason != "REPLICAS_MISSING" || e.RetryAfter == 0 || !strings.Contains(e.Message, "min-replicas-to-write") {
			t.Errorf("%s: %v", v.name, err)
		}
	}
	plain := publication(a)
	plain.Retention = bus.Retention{}
	durable := publication(a)
	page, err := s.Pending(t.Context(), inbox, bus.PendingQuery{Device: "phone", Limit: 10, Deliver: true})
	if err != nil || len(page.Messages) != 1 {
		t.Errorf("what waits cannot be delivered: %+v, %v", page, err)
	}
	old := bus.Retention{Length: 100, Age: time.Millisecond}
	if page, err := s.Since(t.Context(), a, old, bus.Position{}, 10); err != nil || len(page.Messages) != 0 || page.Top != top(t, s, a) {
		t.Errorf("what is too old is read: %+v, %v", page, err)
	}
	if page, err := s.Latest(t.Context(), a, old, 0, 10); err != nil || len(page.Messages) != 0 {
		t.Errorf("what is too old is read: %+v, %v", page, err)
	}
	receipts, errs := s.PublishAll(t.Context(), bustest.AdmitAll(plain, durable))
	if errs[0] != nil || receipts[0].Durability != bus.Live || !errors.Is(errs[1], bus.ErrReplicasMissing) {
		t.Errorf("a batch: %+v, %v", receipts, errs)
	}
	testkit.Eventually(t, "the live message arrives", func() bool { return f.arrived.Load() == 4 })
	if after := everything(t, s, a, inbox); after != before {
		t.Errorf("something happened:\n%s\n%s", before, after)
	}

	testkit.Check(t, syscall.Kill(replica.PID(), syscall.SIGCONT))
	testkit.Eventually(t, "writes are taken again", func() bool { return s.Ping(t.Context()) == nil })
	for _, v := range verbs {
		if err := v.do(); err != nil {
			t.Errorf("afterwards, %s: %v", v.name, err)
		}
	}
	waits(t, s, inbox, map[string]bus.Position{"mail": {Epoch: top(t, s, inbox).Epoch, Offset: 2}})
	testkit.Eventually(t, "the follower has what followed", func() bool { return f.arrived.Load() == 10 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.gaps) != 0 {
		t.Errorf("gaps are %+v", f.gaps)
	}
}

func top(t *testing.T, s *redis.Store, a bus.Address) bus.Position {
	t.Helper()
	tops, errs := s.Tops(t.Context(), []bus.Address{a})
	testkit.Check(t, bus.FirstError(errs))
	return tops[0]
}

// everything describes what the store has of the test's addresses.
func everything(t *testing.T, s *redis.Store, a, inbox bus.Address) string {
	t.Helper()
	page, err := s.Since(t.Context(), a, long, bus.Position{}, 100)
	testkit.Check(t, err)
	out := fmt.Sprintf("log %d to %+v", len(page.Messages), page.Top)
	pending, err := s.Pending(t.Context(), inbox, bus.PendingQuery{Limit: 100})
	testkit.Check(t, err)
	out += fmt.Sprintf(", inbox %d to %+v", len(pending.Messages), pending.Top)
	d, err := s.Delivery(t.Context(), inbox, "first", false)
	testkit.Check(t, err)
	state, err := s.State(t.Context(), a)
	testkit.Check(t, err)
	out += fmt.Sprintf(", acked %d, state %d %s, members", d.AckedCount, state.Revision, state.Value)
	members, err := s.Members(t.Context(), a, "", 100)
	testkit.Check(t, err)
	for _, m := range members.Members {
		out += " " + m.Connection
	}
	channels, err := s.ListChannels(t.Context(), "", 100)
	testkit.Check(t, err)
	_, unsaved := s.Token(t.Context(), "t")
	revoked, err := s.RevokedBefore(t.Context(), []bus.Subject{{Kind: "user", ID: "eve"}})
	testkit.Check(t, err)
	return out + fmt.Sprintf(", %d channels, token %v, revoked %t", len(channels.Channels), unsaved, !revoked[0].IsZero())
}
