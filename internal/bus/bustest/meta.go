package bustest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func testTokens(t *testing.T, open Open) {
	s := open(t)
	id := uuid.NewString()
	testkit.Check(t, s.SaveToken(t.Context(), id, []byte("value"), time.Minute))
	if err := s.SaveToken(t.Context(), id, []byte("other"), time.Minute); !errors.Is(err, bus.ErrTokenExists) {
		t.Errorf("error is %v", err)
	}
	v, err := s.Token(t.Context(), id)
	testkit.Check(t, err)
	if string(v) != "value" {
		t.Errorf("value is %s", v)
	}
	if _, err := s.Token(t.Context(), uuid.NewString()); !errors.Is(err, bus.ErrTokenNotFound) {
		t.Errorf("error is %v", err)
	}
	testkit.Check(t, s.DropToken(t.Context(), id))
	testkit.Check(t, s.DropToken(t.Context(), id))
	if _, err := s.Token(t.Context(), id); !errors.Is(err, bus.ErrTokenNotFound) {
		t.Errorf("error is %v", err)
	}
	testkit.Check(t, s.SaveToken(t.Context(), id, []byte("again"), time.Minute))
	brief := uuid.NewString()
	testkit.Check(t, s.SaveToken(t.Context(), brief, []byte("x"), 50*time.Millisecond))
	testkit.Eventually(t, "the token ends", func() bool {
		_, err := s.Token(t.Context(), brief)
		return errors.Is(err, bus.ErrTokenNotFound)
	})
}

func testFamilies(t *testing.T, open Open) {
	s := open(t)
	family := uuid.NewString()
	exchange := func(old, next, answer string, window time.Duration) (bus.Exchanged, error) {
		return s.Exchange(t.Context(), family, bus.Exchange{
			Old: old, New: next, Value: []byte("value of " + next), TTL: time.Minute, Answer: []byte(answer), Window: window,
		})
	}
	if _, err := exchange("a", "b", "ab", time.Minute); !errors.Is(err, bus.ErrTokenNotFound) {
		t.Errorf("before it begins: %v", err)
	}
	if _, err := s.Family(t.Context(), family); !errors.Is(err, bus.ErrTokenNotFound) {
		t.Errorf("error is %v", err)
	}
	testkit.Check(t, s.SaveFamily(t.Context(), family, "a", []byte("value of a"), time.Minute))
	if err := s.SaveFamily(t.Context(), family, "x", []byte("x"), time.Minute); !errors.Is(err, bus.ErrTokenExists) {
		t.Errorf("error is %v", err)
	}
	var wg sync.WaitGroup
	answers := make(chan string, 10)
	for i := range cap(answers) { // all of them try the exchange at once, each with a successor of its own
		wg.Go(func() {
			mine := fmt.Sprintf("b%d", i)
			x, err := exchange("a", mine, "to "+mine, time.Minute)
			if x.Outcome == bus.ExchangeDone {
				x.Answer = []byte("to " + mine)
			} else if err != nil || x.Outcome != bus.ExchangeRepeated {
				t.Errorf("outcome %v, %v", x.Outcome, err)
			}
			answers <- string(x.Answer)
		})
	}
	wg.Wait()
	first := <-answers
	for range cap(answers) - 1 {
		if other := <-answers; other != first {
			t.Errorf("answers are %q and %q", first, other)
		}
	}
	newest := strings.TrimPrefix(first, "to ")
	v, err := s.Family(t.Context(), family)
	testkit.Check(t, err)
	if string(v) != "value of "+newest {
		t.Errorf("value is %s", v)
	}
	outcome := func(old, next string, window time.Duration, want bus.ExchangeOutcome) {
		t.Helper()
		if x, err := exchange(old, next, "later", window); err != nil || x.Outcome != want {
			t.Errorf("%s for %s: %v, %v; want %v", next, old, x.Outcome, err, want)
		}
	}
	outcome("unknown", "x", time.Minute, bus.ExchangeStale)
	outcome(newest, "c", 50*time.Millisecond, bus.ExchangeDone)
	outcome("a", "x", time.Minute, bus.ExchangeStale) // its successor was used
	testkit.Eventually(t, "the answer is forgotten", func() bool {
		x, err := exchange(newest, "x", "x", time.Minute)
		return err == nil && x.Outcome == bus.ExchangeStale
	})
	outcome("c", "d", time.Minute, bus.ExchangeDone)
}

func testRevocations(t *testing.T, open Open) {
	s := open(t)
	l := listen(t, s, bus.Revoked)
	user := bus.Subject{Kind: bus.SubjectUser, ID: uuid.NewString()}
	other := bus.Subject{Kind: bus.SubjectClient, ID: user.ID}
	now := time.Now().Truncate(time.Millisecond)
	testkit.Check(t, s.Revoke(t.Context(), user, now, time.Minute))
	testkit.Check(t, s.Revoke(t.Context(), user, now.Add(-time.Hour), time.Minute)) // the later one wins
	times, err := s.RevokedBefore(t.Context(), []bus.Subject{other, user})
	testkit.Check(t, err)
	if !times[0].IsZero() || !times[1].Equal(now) {
		t.Errorf("times are %v, want zero and %v", times, now)
	}
	var r bus.Revocation
	for r.ID != user.ID { // a shared server may have others
		testkit.Check(t, json.Unmarshal(l.next().Data, &r))
	}
	if r.Kind != bus.SubjectUser || !r.Before.Equal(now) {
		t.Errorf("announced %+v", r)
	}
}

// Whoever signs in right behind a revocation counts as signed in after it. The next revocation, of whatever subject and however
// soon, revokes that sign-in.
func testRevocationsRise(t *testing.T, open Open) {
	s := open(t)
	id := uuid.NewString()
	subjects := []bus.Subject{{Kind: bus.SubjectUser, ID: id}, {Kind: bus.SubjectClient, ID: id}, {Kind: bus.SubjectSession, ID: id}}
	var before time.Time
	for i := range 300 {
		subject := subjects[i%len(subjects)]
		testkit.Check(t, s.Revoke(t.Context(), subject, time.Time{}, time.Minute))
		times, err := s.RevokedBefore(t.Context(), []bus.Subject{subject})
		testkit.Check(t, err)
		if !times[0].After(before) {
			t.Fatalf("revocation %d is of %v, the one before of %v", i, times[0], before)
		}
		before = times[0]
	}
	if ahead := before.Sub(s.Now()); ahead > 2*time.Second {
		t.Errorf("revocations are %s ahead", ahead)
	}
}

// Revocations are a log that can be read from a position, and a store knows since when it has all of them.
func testRevocationLog(t *testing.T, open Open) {
	s := open(t)
	lost := []bus.Subject{{Kind: bus.SubjectLost}}
	since := func() time.Time {
		t.Helper()
		times, err := s.RevokedBefore(t.Context(), lost)
		testkit.Check(t, err)
		return times[0]
	}
	complete := since()
	if complete.IsZero() || complete.After(s.Now().Add(time.Second)) {
		t.Errorf("revocations are complete since %v, it is %v", complete, s.Now())
	}
	user := bus.Subject{Kind: bus.SubjectUser, ID: uuid.NewString()}
	tops, errs := s.Tops(t.Context(), []bus.Address{bus.Revoked})
	testkit.Check(t, errors.Join(errs...))
	began := s.Now()
	testkit.Check(t, s.Revoke(t.Context(), user, time.Time{}, time.Minute))
	page, err := s.Since(t.Context(), bus.Revoked, bus.RevocationLog, tops[0], 100_000)
	testkit.Check(t, err)
	found := false
	for _, m := range page.Messages { // a shared server may have others
		var r bus.Revocation
		testkit.Check(t, json.Unmarshal(m.Data, &r))
		if found = r.ID == user.ID; found {
			if off := r.Before.Sub(began).Abs(); off > time.Minute {
				t.Errorf("revoked at %v, it was %v", r.Before, began)
			}
			break
		}
	}
	if !found {
		t.Error("the log does not have the revocation")
	}
	times, err := s.RevokedBefore(t.Context(), []bus.Subject{user})
	testkit.Check(t, err)
	if times[0].IsZero() {
		t.Error("the store does not have it")
	}
	testkit.Check(t, s.RevocationsSeen(t.Context(), page.Next))
	testkit.Check(t, s.RevocationsSeen(t.Context(), bus.Position{Epoch: "never", Offset: 0}))
	if now := since(); !now.Equal(complete) {
		t.Errorf("nothing was lost, and revocations are complete since %v", now)
	}
	l := listen(t, s, bus.Revoked)
	testkit.Eventually(t, "a millisecond passes", func() bool { return s.Now().After(complete.Add(10 * time.Millisecond)) })
	testkit.Check(t, s.RevocationsSeen(t.Context(), bus.Position{Epoch: page.Next.Epoch, Offset: page.Next.Offset + 1000}))
	if now := since(); !now.After(complete) {
		t.Errorf("the log had lost its end, and revocations are complete since %v", now)
	}
	var r bus.Revocation
	for r.Kind != bus.SubjectLost {
		testkit.Check(t, json.Unmarshal(l.next().Data, &r))
	}
}

func testChannels(t *testing.T, open Open) {
	s := open(t)
	prefix := "channels/list:" + uuid.NewString()
	var all []bus.Address
	for i := range 5 {
		a, err := bus.ParseAddress(fmt.Sprintf("%s:%d", prefix, i))
		testkit.Check(t, err)
		all = append(all, a)
		testkit.Check(t, s.CreateChannel(t.Context(), bus.Channel{
			Address: a, Labels: map[string]string{"n": fmt.Sprint(i)}, Created: time.Now().Truncate(time.Millisecond), TokenDigest: "d",
		}, 1_000_000))
	}
	if err := s.CreateChannel(t.Context(), bus.Channel{Address: address(t)}, 1); !errors.Is(err, bus.ErrChannelLimit) {
		t.Errorf("past the limit: %v", err)
	}
	if err := s.CreateChannel(t.Context(), bus.Channel{Address: all[0]}, 0); !errors.Is(err, bus.ErrChannelExists) {
		t.Errorf("error is %v", err)
	}
	c, err := s.Channel(t.Context(), all[3])
	testkit.Check(t, err)
	if c.Address != all[3] || c.Labels["n"] != "3" || c.TokenDigest != "d" || c.Created.IsZero() {
		t.Errorf("channel is %+v", c)
	}
	page, err := s.ListChannels(t.Context(), prefix, 3)
	testkit.Check(t, err)
	if len(page.Channels) != 3 || !page.More || page.Channels[2].Address != all[2] {
		t.Fatalf("page is %+v", page)
	}
	page, err = s.ListChannels(t.Context(), all[2].String(), 100)
	testkit.Check(t, err)
	found := 0
	for _, c := range page.Channels {
		if strings.HasPrefix(c.Address.String(), prefix) {
			found++
		}
	}
	if found != 2 {
		t.Errorf("the rest has %d", found)
	}
	testDeletedChannel(t, s, all[0])
	for _, a := range all[1:] {
		testkit.Check(t, s.DeleteChannel(t.Context(), a))
	}
}

// testDeletedChannel proves that nothing of a channel outlives it, and that its end is announced once.
func testDeletedChannel(t *testing.T, s bus.Store, a bus.Address) {
	t.Helper()
	l := listen(t, s, a)
	before := publish(t, s, durable(a, "x")).Position
	testkit.Check(t, s.DeleteChannel(t.Context(), a))
	if m := l.next(); text(m) != "x" {
		t.Errorf("heard %+v", m)
	}
	if m := l.next(); m.Kind != bus.MessageDeleted || m.To != a || !m.Position.IsZero() {
		t.Errorf("the end was announced by %+v", m)
	}
	if _, err := s.Channel(t.Context(), a); !errors.Is(err, bus.ErrChannelNotFound) {
		t.Errorf("error is %v", err)
	}
	if err := s.DeleteChannel(t.Context(), a); !errors.Is(err, bus.ErrChannelNotFound) {
		t.Errorf("error is %v", err)
	}
	publish(t, s, bus.Publication{Message: message(a, "y")})
	if m := l.next(); m.Kind != bus.MessageData {
		t.Errorf("what was not there was announced to end: %+v", m)
	}
	kept, err := s.Since(t.Context(), a, keep, before, 10)
	if !errors.Is(err, bus.ErrGap) || len(kept.Messages) != 0 || kept.Top.Epoch == before.Epoch {
		t.Errorf("kept %+v, %v", kept, err)
	}
}
