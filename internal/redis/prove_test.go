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
	"github.com/trunkline/trunkline/internal/testkit"
)

// least opens a store where everything is at least as durable.
func least(t *testing.T, url string, d redis.Least) *redis.Store {
	t.Helper()
	s, err := redis.Open(redis.Config{URL: url, Least: func(bus.Address) redis.Least { return d }}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	return s
}

// A restart of which nobody can say what it lost is told to everybody who resumes across it, in its place, and once.
func TestFork_unprovedIsAGapInItsPlace(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	s := open(t, server.URL())
	a := address(t, "channels/unproved")
	f := trail(t, s, a)
	before := numbered(t, s, a, 5)
	testkit.Eventually(t, "the follower has them", func() bool { return f.arrived.Load() == 5 })
	server.Kill9()
	server.Restart()
	testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	first := bus.Position{Epoch: before.Epoch, Offset: 2}
	if page, err := s.Since(t.Context(), a, long, first, 100); err != nil || page.Forked || len(page.Messages) != 3 {
		t.Errorf("before anything followed: %+v, %v", page, err)
	}
	after := numbered(t, s, a, 3)
	if after.Epoch == before.Epoch || after.Offset != 8 {
		t.Fatalf("the log went on at %+v", after)
	}
	testkit.Eventually(t, "the follower has what followed", func() bool { return f.arrived.Load() == 8 })
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
		testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
		if after := numbered(t, s, a, 1); after.Epoch != before.Epoch || after.Offset != 6 {
			t.Errorf("the log went on at %+v after %+v", after, before)
		}
	})
	for name, d := range map[string]redis.Least{
		"the replica had everything":                 {Durability: bus.Replicated, Replicas: 1},
		"the replica may have lacked something":      {Durability: bus.Accepted},
		"another replica may have been in its place": {Durability: bus.Replicated, Replicas: 1},
	} {
		t.Run(name, func(t *testing.T) {
			sentinel := redistest.StartSentinel(t)
			s := least(t, sentinel.URL(), d)
			a := address(t, "channels/replica")
			f := trail(t, s, a)
			several := strings.HasPrefix(name, "another")
			if several {
				host, port, _ := strings.Cut(sentinel.Master.Addr(), ":")
				second := redistest.Start(t, "--replicaof", host+" "+port)
				testkit.Eventually(t, "two replicas are seen", func() bool {
					out, _ := sentinel.Master.CLI("info", "replication")
					in, _ := second.CLI("info", "replication")
					return strings.Contains(out, "connected_slaves:2") && strings.Contains(in, "master_link_status:up")
				})
				testkit.Check(t, s.Ping(t.Context())) // it looks
			}
			var before bus.Position
			testkit.Eventually(t, "the replica was there while the last one was written", func() bool {
				p := replicated(a, "", 1)
				p.IdempotencyKey = ""
				r, err := s.Publish(t.Context(), bustest.Admit(p))
				if err != nil {
					return false
				}
				before = r.Position
				return uptime(t, sentinel.Master) > 6
			})
			sentinel.Master.Kill9()
			p := publication(a)
			p.Retention = long
			var after bus.Position
			testkit.Eventually(t, "publishing works again", func() bool {
				r, err := s.Publish(t.Context(), bustest.Admit(p))
				after = r.Position
				return err == nil
			})
			proved := d.Durability == bus.Replicated && !several
			if (after.Epoch == before.Epoch) != proved || after.Offset != before.Offset+1 {
				t.Errorf("the log went on at %+v after %+v", after, before)
			}
			testkit.Eventually(t, "the follower has it", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.messages) > 0 && f.messages[len(f.messages)-1].Position == after
			})
			f.mu.Lock()
			defer f.mu.Unlock()
			if (len(f.gaps) == 0) != proved {
				t.Errorf("gaps are %+v", f.gaps)
			}
		})
	}
}

// uptime is for how many seconds a server has run, as it says.
func uptime(t *testing.T, server *redistest.Server) int {
	t.Helper()
	out, err := server.CLI("info", "server")
	testkit.Check(t, err)
	return infoNumber(out, "uptime_in_seconds")
}

func infoNumber(info, name string) int {
	_, rest, _ := strings.Cut(info, name+":")
	text, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(strings.TrimSpace(text))
	return n
}

// A script that asks under which epoch to append says so when that is not known yet. What it answers then is not one of its own
// answers.
func TestScripts_answerForAnotherLife(t *testing.T) {
	files, err := filepath.Glob("lua/*.lua")
	testkit.Check(t, err)
	asking := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		testkit.Check(t, err)
		if strings.HasSuffix(path, "epoch.lua") || !strings.Contains(string(text), "= current(") {
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
		testkit.Check(t, err)
		testkit.Check(t, s.Revoke(t.Context(), subject, time.Time{}, time.Hour))
		at, err := s.State(t.Context(), a)
		testkit.Check(t, err)
		c := bus.StateChange{Publication: publication(a), Value: []byte("1"), TTL: time.Hour, Revision: at.Revision}
		c.Retention = long
		_, err = s.SetState(t.Context(), bustest.AdmitState(c))
		testkit.Check(t, err)
	}
	all()
	for range 3 {
		server.Kill9()
		server.Restart()
		testkit.Eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
		all()
	}
	times, err := s.RevokedBefore(t.Context(), []bus.Subject{subject})
	if err != nil || times[0].IsZero() {
		t.Errorf("revoked before %v, %v", times, err)
	}
}
