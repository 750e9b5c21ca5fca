package redis_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
)

// least opens a store where everything is at least as durable.
func least(t *testing.T, url string, d bus.Durability) *redis.Store {
	t.Helper()
	s, err := redis.Open(redis.Config{URL: url, Least: func(bus.Address) bus.Durability { return d }}, slog.New(slog.DiscardHandler))
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

// A restart of which nobody can say what it lost is told to everybody who resumes across it, in its place, and once.
func TestFork_unprovedIsAGapInItsPlace(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	s := open(t, server.URL())
	a := address(t, "channels/unproved")
	f := trail(t, s, a)
	before := numbered(t, s, a, 5)
	until(t, "the follower has them", func() bool { return f.arrived.Load() == 5 })
	server.Kill9()
	server.Restart()
	until(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	first := bus.Position{Epoch: before.Epoch, Offset: 2}
	if page, err := s.Since(t.Context(), a, long, first, 100); err != nil || page.Forked || len(page.Messages) != 3 {
		t.Errorf("before anything followed: %+v, %v", page, err)
	}
	after := numbered(t, s, a, 3)
	if after.Epoch == before.Epoch || after.Offset != 8 {
		t.Fatalf("the log went on at %+v", after)
	}
	until(t, "the follower has what followed", func() bool { return f.arrived.Load() == 8 })
	f.mu.Lock()
	if len(f.gaps) != 1 || f.between[0] != 5 || f.gaps[0].Reason != bus.GapTailUnknown ||
		f.gaps[0].From != before || f.gaps[0].To != (bus.Position{Epoch: after.Epoch, Offset: 5}) {
		t.Errorf("gaps are %+v after %v messages", f.gaps, f.between)
	}
	f.mu.Unlock()
	page, err := s.Since(t.Context(), a, long, first, 100)
	if err != nil || len(page.Messages) != 3 || !page.More || !page.Forked || page.Next != before {
		t.Fatalf("up to the fork: %+v, %v", page, err)
	}
	page, err = s.Since(t.Context(), a, long, page.Next, 100)
	if !errors.Is(err, bus.ErrGap) || !page.Unproved || len(page.Messages) != 3 || page.More || page.Next != after {
		t.Errorf("from the fork: %+v, %v", page, err)
	}
	if page, err = s.Since(t.Context(), a, long, page.Next, 100); err != nil || len(page.Messages) > 0 {
		t.Errorf("at the end: %+v, %v", page, err)
	}
}

// Where everything acknowledged is on the disk, or on the replica that took over, the log goes on as it was.
func TestFork_isNoneWhereNothingCanBeLost(t *testing.T) {
	t.Run("the disk had everything", func(t *testing.T) {
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		s := open(t, server.URL())
		a := address(t, "channels/disk")
		before := numbered(t, s, a, 5)
		server.Kill9()
		server.Restart()
		until(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
		if after := numbered(t, s, a, 1); after.Epoch != before.Epoch || after.Offset != 6 {
			t.Errorf("the log went on at %+v after %+v", after, before)
		}
	})
	for _, d := range []bus.Durability{bus.Replicated, bus.Accepted} {
		t.Run(map[bus.Durability]string{bus.Replicated: "the replica had everything", bus.Accepted: "the replica may have lacked something"}[d], func(t *testing.T) {
			master, replica := pair(t)
			s := least(t, master.URL(), d)
			a := address(t, "channels/replica")
			var before bus.Position
			until(t, "the replica was there while the last one was written", func() bool {
				p := replicated(a, "", 1)
				p.IdempotencyKey = ""
				r, err := s.Publish(t.Context(), bustest.Admit(p))
				check(t, err)
				before = r.Position
				return uptime(t, replica) > 5
			})
			master.Kill9()
			if out, err := replica.CLI("replicaof", "no", "one"); err != nil {
				t.Fatal(out, err)
			}
			on := least(t, replica.URL(), d)
			after := numbered(t, on, a, 1)
			if (after.Epoch == before.Epoch) != (d == bus.Replicated) || after.Offset != before.Offset+1 {
				t.Errorf("the log went on at %+v after %+v", after, before)
			}
		})
	}
}

// uptime is for how many seconds a server has run, as it says.
func uptime(t *testing.T, server *redistest.Server) int {
	t.Helper()
	out, err := server.CLI("info", "server")
	check(t, err)
	return infoNumber(out, "uptime_in_seconds")
}

func infoNumber(info, name string) int {
	_, rest, _ := strings.Cut(info, name+":")
	text, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(strings.TrimSpace(text))
	return n
}

// A script that asks under which epoch to append says so when that is not known yet; what it answers then is none of its own
// answers.
func TestScripts_answerForAnotherLife(t *testing.T) {
	files, err := filepath.Glob("lua/*.lua")
	check(t, err)
	asking := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		check(t, err)
		if strings.HasSuffix(path, "epoch.lua") || !strings.Contains(string(text), "current(ARGV") {
			continue
		}
		asking++
		if !strings.Contains(string(text), "return unproved") {
			t.Errorf("%s appends, and does not answer for a log of another life", path)
		}
	}
	if asking != 3 { // publish, whose text the one for states contains, inbox_publish and revoke
		t.Errorf("%d scripts append", asking)
	}
}

// Everything that appends works again after a restart that nobody can prove anything of.
func TestRestart_everythingAppendsAgain(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	s := open(t, server.URL())
	a, inbox := address(t, "channels/again"), address(t, "users/again")
	subject := bus.Subject{Kind: bus.SubjectUser, ID: "ada"}
	all := func() {
		numbered(t, s, a, 2)
		p := mail(inbox, uuid.NewString())
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		check(t, err)
		check(t, s.Revoke(t.Context(), subject, time.Time{}, time.Hour))
		at, err := s.State(t.Context(), a)
		check(t, err)
		c := bus.StateChange{Publication: publication(a), Value: []byte("1"), TTL: time.Hour, Revision: at.Revision}
		c.Retention = long
		_, err = s.SetState(t.Context(), bustest.AdmitState(c))
		check(t, err)
	}
	all()
	for range 3 {
		server.Kill9()
		server.Restart()
		until(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
		all()
	}
	times, err := s.RevokedBefore(t.Context(), []bus.Subject{subject})
	if err != nil || times[0].IsZero() {
		t.Errorf("revoked before %v, %v", times, err)
	}
}
