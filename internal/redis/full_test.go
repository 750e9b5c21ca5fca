package redis_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// The classes of scripts, by their first line. Redis looks at its memory before it runs the first write of a script and not
// again. So what may fill it has to say so at once.
const (
	grows   = "#!lua"                         // makes keys: refused when Redis is full
	frees   = "#!lua flags=allow-oom"         // removes, revokes, or notes what has a bound by the number of processes
	reads   = "#!lua flags=no-writes"         // goes on where nothing can be written, also with a disk that fails
	prelude = "a prelude of other scripts"    // has no first line: the loader puts it behind that of the script
	speaks  = "writes nothing, but publishes" // Redis publishes with a disk that fails only for a script without a first line
)

var classes = map[string]string{
	"alive": frees, "beat": frees, "begin": reads, "begin_set": frees, "beginning": prelude, "count": grows, "cursor_advance": frees, "cursor_claim": frees, "cursor_release": frees,
	"created": prelude, "dead_runs": frees, "delete_channel": frees, "delete_state": frees, "device": prelude, "due": frees, "due_add": grows, "due_move": frees, "due_stats": reads, "entry": prelude, "epoch": prelude, "era": prelude, "forget_node": frees, "forget_run": frees,
	"inbox_ack": frees, "inbox_denied": frees, "inbox_publish": grows, "inbox_judge": reads,
	"inbox_read": reads, "inbox_sent": frees, "inbox_settle": frees, "list_channel": grows, "nodes": reads, "publish": grows, "read": reads, "retained": speaks, "revoke": frees,
	"roster_join": grows, "roster_lose": frees, "roster_page": reads, "roster_remove": frees, "roster_touch": frees,
	"exchange": grows, "save_family": grows, "save_token": grows, "prove_life": frees, "show": frees, "silent_nodes": reads, "state": grows, "take_run": frees, "tight": prelude, "tonumber": prelude, "top": reads,
	"value": grows, "value_free": frees, "value_read": reads, "values": prelude, "watch": grows, "young": prelude,
}

// Every script says what it may be refused for, and a new one has to be thought about here.
func TestScripts_sayWhenTheyMayBeRefused(t *testing.T) {
	files, err := filepath.Glob("lua/*.lua")
	testkit.Check(t, err)
	missing := maps.Clone(classes)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".lua")
		text, err := os.ReadFile(file)
		testkit.Check(t, err)
		first, _, _ := bytes.Cut(text, []byte("\n"))
		class, known := classes[name]
		delete(missing, name)
		switch {
		case !known:
			t.Errorf("%s has no class; say whether it grows, frees or reads", name)
		case class == prelude || class == speaks:
			if bytes.HasPrefix(first, []byte("#!")) {
				t.Errorf("%s begins with %q, but %s", name, first, class)
			}
		case string(first) != class:
			t.Errorf("%s begins with %q instead of %q", name, first, class)
		}
	}
	if len(missing) > 0 {
		t.Errorf("no such scripts: %v", missing)
	}
}

// asks is a publication that asks for an ack.
func asks(to bus.Address) bus.Publication {
	p := publication(to)
	p.Message.ID = uuid.NewString()
	p.Retention = bus.Retention{}
	p.Ack = &bus.AckTerms{Scope: bus.AnyDevice, Timeout: time.Minute, Keep: time.Hour, Limit: 1000}
	return p
}

func TestFullServer_refusesWhatGrowsAndNothingElse(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	s := open(t, server.URL())
	ctx := t.Context()
	known, created, inbox := address(t, "channels/known"), address(t, "channels/created"), address(t, "users/known")
	durable := publication(known)
	_, err := s.Publish(ctx, bustest.Admit(durable))
	testkit.Check(t, err)
	testkit.Check(t, s.CreateChannel(ctx, bus.Channel{Address: created, Created: time.Now()}, 0))
	waiting, discarded := asks(inbox), asks(inbox)
	for _, p := range []bus.Publication{waiting, discarded} {
		_, err = s.Publish(ctx, bustest.Admit(p))
		testkit.Check(t, err)
	}
	values := func(verb string, keys ...string) error {
		_, err := s.Command(ctx, bus.ValueCommand{Owner: "o", Verb: verb, Keys: keys, Value: "1", TTL: time.Minute, Limit: 100, Keep: time.Hour})
		return err
	}
	testkit.Check(t, values(bus.ValueSet, "lock"))
	_, errs := s.Tops(ctx, []bus.Address{address(t, "channels/unused")}) // the beginning, which all new names share
	testkit.Check(t, bus.FirstError(errs))
	r, feed := follow(t, s, known)
	out, err := server.CLI("config", "set", "maxmemory", "1")
	if err != nil || !strings.Contains(out, "OK") {
		t.Fatal(out, err)
	}
	n := 0
	unused := func(kind string) bus.Address { n++; return address(t, kind+"/new"+strconv.Itoa(n)) }
	publish := func(p bus.Publication) error { _, err := s.Publish(ctx, bustest.Admit(p)); return err }
	for name, do := range map[string]func() error{
		"publish":                 func() error { return publish(publication(unused("channels"))) },
		"publish to a known name": func() error { return publish(durable) },
		"publish for an ack":      func() error { return publish(asks(unused("users"))) },
		"retain": func() error {
			return publish(bus.Publication{Message: publication(unused("channels")).Message, Retain: time.Minute})
		},
		"key of a live message": func() error {
			return publish(bus.Publication{Message: publication(unused("channels")).Message, IdempotencyKey: "k", Digest: "d", Window: time.Minute})
		},
		"state": func() error {
			_, err := s.SetState(ctx, bustest.AdmitState(bus.StateChange{Publication: publication(unused("channels")), Value: []byte("{}"), TTL: time.Minute}))
			return err
		},
		"state of a live address": func() error {
			_, err := s.SetState(ctx, bustest.AdmitState(bus.StateChange{Publication: bus.Publication{Message: publication(unused("channels")).Message}, Value: []byte("{}"), TTL: time.Minute}))
			return err
		},
		"token":  func() error { return s.SaveToken(ctx, "t", []byte("v"), time.Minute) },
		"values": func() error { return values(bus.ValueSet, "another") },
		"count":  func() error { return values(bus.ValueIncr, "lock") },
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			if err := do(); !errors.Is(err, bus.ErrStorageFull) {
				t.Errorf("error is %v", err)
			}
		})
	}
	for _, tc := range []struct {
		name string
		do   func() error
	}{
		{"revoke", func() error { return s.Revoke(ctx, bus.Subject{Kind: "user", ID: "mallory"}, time.Now(), time.Hour) }},
		{"ack", func() error {
			return errors.Join(s.Ack(ctx, []bus.Ack{{To: inbox, ID: waiting.Message.ID, Device: "d"}})...)
		}},
		{"note of a delivery", func() error {
			return s.MarkSent(ctx, []bus.Ack{{To: inbox, ID: discarded.Message.ID, Device: "d", Again: true}})
		}},
		{"note of a denial", func() error {
			return s.MarkDenied(ctx, []bus.Denial{{To: inbox, ID: discarded.Message.ID, Device: "other", Why: "no"}})
		}},
		{"settle", func() error { _, err := s.Settle(ctx, bus.Due{To: inbox, ID: discarded.Message.ID}); return err }},
		{"deliver", func() error {
			_, err := s.Pending(ctx, inbox, bus.PendingQuery{Device: "d", Deliver: true, Limit: 10})
			return err
		}},
		{"discard", func() error { return s.Discard(ctx, inbox, discarded.Message.ID, bus.EndDeadLetter) }},
		{"leave", func() error { return s.Leave(ctx, known, "connection") }},
		{"beat", func() error { return s.Beat(ctx, bus.Node{Life: "n"}) }},
		{"gone", func() error { return s.Gone(ctx, "n") }},
		{"delete a state", func() error { return s.DeleteState(ctx, bustest.AdmitDeletion(known)) }},
		{"read", func() error { _, err := s.Since(ctx, known, durable.Retention, bus.Position{}, 10); return err }},
		{"position of a new name", func() error {
			_, errs := s.Tops(ctx, []bus.Address{unused("channels"), unused("users")})
			return bus.FirstError(errs)
		}},
		{"history of a new name", func() error {
			_, err := s.Since(ctx, unused("channels"), durable.Retention, bus.Position{}, 10)
			return err
		}},
		{"position", func() error { _, errs := s.Tops(ctx, []bus.Address{known}); return bus.FirstError(errs) }},
		{"retained", func() error { _, err := feed.Retained(ctx, known, "m"); return err }},
		{"live publish", func() error { return publish(bus.Publication{Message: durable.Message}) }},
		{"live publish to a channel that must exist", func() error {
			return publish(bus.Publication{Message: publication(created).Message, RequireChannel: true})
		}},
		{"live publish behind one that is refused", func() error {
			_, errs := s.PublishAll(ctx, bustest.AdmitAll(durable, bus.Publication{Message: durable.Message}))
			return errs[1]
		}},
		{"read a value", func() error { return values(bus.ValueGet, "lock") }},
		{"delete a channel", func() error { return s.DeleteChannel(ctx, created) }},
		{"unlock", func() error { return values(bus.ValueDel, "lock") }},
	} {
		t.Run("does not refuse "+tc.name, func(t *testing.T) { testkit.Check(t, tc.do()) })
	}
	drain(r)
}

// A server whose disk fails takes no writes. What is there is read all the same, and live messages go on.
func TestFailedDisk_isReadAllTheSame(t *testing.T) {
	server := redistest.Start(t, "--enable-protected-configs", "yes")
	s := open(t, server.URL())
	ctx := t.Context()
	a, inbox := address(t, "channels/a"), address(t, "users/ada")
	for _, p := range []bus.Publication{publication(a), asks(inbox)} {
		_, err := s.Publish(ctx, bustest.Admit(p))
		testkit.Check(t, err)
	}
	_, feed := follow(t, s, a)
	gone := filepath.Join(t.TempDir(), "gone")
	testkit.Check(t, os.Mkdir(gone, 0o700))
	for _, words := range [][]string{{"dir", gone}, {"save", "3600 1"}} {
		out, err := server.CLI("config", "set", words[0], words[1])
		if err != nil || !strings.Contains(out, "OK") {
			t.Fatal(out, err)
		}
	}
	testkit.Check(t, os.Remove(gone))
	_, _ = server.CLI("bgsave")
	testkit.Eventually(t, "writes are refused", func() bool {
		_, err := s.Publish(ctx, bustest.Admit(publication(a)))
		return errors.Is(err, bus.ErrStorageFull)
	})
	keep := publication(a).Retention
	page, err := s.Since(ctx, a, keep, bus.Position{}, 10)
	if err != nil || len(page.Messages) == 0 {
		t.Errorf("since: %+v, %v", page, err)
	}
	if page, err = s.Latest(ctx, a, keep, 0, 10); err != nil || len(page.Messages) == 0 {
		t.Errorf("latest: %+v, %v", page, err)
	}
	if tops, err := s.Tops(ctx, []bus.Address{a, inbox}); err != nil || tops[0] != page.Top {
		t.Errorf("tops: %+v, %v", tops, err)
	}
	if p, err := s.Pending(ctx, inbox, bus.PendingQuery{Device: "d", Deliver: true, Limit: 10}); err != nil || len(p.Messages) != 1 {
		t.Errorf("pending: %+v, %v", p, err)
	}
	_, err = feed.Retained(ctx, a, "m")
	testkit.Check(t, err)
	for _, live := range []bus.Publication{{Message: publication(a).Message}, {Message: publication(a).Message, RequireChannel: true}} {
		if _, err = s.Publish(ctx, bustest.Admit(live)); live.RequireChannel != errors.Is(err, bus.ErrChannelNotFound) {
			t.Errorf("a live message: %v", err)
		}
	}
}
