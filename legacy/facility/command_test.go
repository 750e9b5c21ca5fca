package facility_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/memory"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/legacy/facility"
)

// verbs lists every verb of a command on values.
func verbs() []string {
	return []string{bus.ValueGet, bus.ValueSet, bus.ValueDel, bus.ValueIncr, bus.ValueExpire, bus.ValueTTL}
}

func commandAnswer(ctx context.Context, s *facility.CommandService, owner, line string) string {
	r, err := s.RunCommand(ctx, &legacyv1.RunCommandRequest{Command: line, Owner: owner})
	if err != nil {
		return rpc.FromError(err).Reason + ": " + err.Error()
	}
	switch v := r.GetResult().(type) {
	case *legacyv1.RunCommandResponse_Text:
		return v.Text
	case *legacyv1.RunCommandResponse_Number:
		return strconv.FormatInt(v.Number, 10)
	}
	return "(nil)"
}

func TestRunCommand(t *testing.T) {
	s := facility.NewCommandService(memory.New(memory.Config{}), facility.CommandConfig{Allow: []string{"GET", "SET", "DEL", "INCR", "EXPIRE"}, Keys: 2}, nil)
	ctx := rpc.WithCaller(t.Context(), rpc.Backend("edge", rpc.ScopeAll))
	for _, step := range []struct{ line, want string }{
		{"SET key1 15", "OK"},
		{"get key1", "15"},
		{"  INCR\tkey1  ", "16"},
		{`SET "a key" "a \"value\" \\ "`, "OK"},
		{`GET "a key"`, `a "value" \ `},
		{"DEL key1 nothing", "1"},
		{"GET key1", "(nil)"},
		{"SET key1 x EX 90", "OK"},
		{"EXPIRE key1 90", "1"},
		{"EXPIRE key1 -1", "1"},
		{"GET key1", "(nil)"},
		{`SET e ""`, "OK"},
		{"GET e", ""},
	} {
		if got := commandAnswer(ctx, s, "sessions/a", step.line); got != step.want {
			t.Errorf("%.60s answers %s, want %s", step.line, got, step.want)
		}
	}
	for _, step := range []struct{ line, want string }{
		{"SET one too many", "FIELD_INVALID: command: is not SET key value [EX seconds]"},
		{"SET more 1", "VALUE_LIMIT"},
		{"GET", "is not GET key"},
		{"GET a b", "is not GET key"},
		{"", "is empty"},
		{`GET "a`, "not closed"},
		{`GET "a"b`, "right after"},
		{"EXPIRE a soon", "whole number"},
		{"SET a 1 EX 0", "at least 1 second"},
		{"SET a 1 EX 99999999999", "whole number"},
		{"FLUSHALL", `COMMAND_REFUSED: the command "FLUSHALL" is not allowed here; allowed are GET, SET, DEL, INCR, EXPIRE`},
		{"TTL key1", "COMMAND_REFUSED"},
		{"GET " + strings.Repeat("k", 300), "1 to 256 bytes"},
		{"SET a " + strings.Repeat("v", 5000), "the limit is 4096"},
		{"DEL " + strings.Repeat("k ", 50), "is not DEL"},
		{"GET \xff", "UTF-8"},
	} {
		if got := commandAnswer(ctx, s, "sessions/a", step.line); !strings.Contains(got, step.want) {
			t.Errorf("%.60s answers %s, which does not say %s", step.line, got, step.want)
		}
	}
	if got := commandAnswer(ctx, s, "", "GET a"); !strings.HasPrefix(got, "FIELD_INVALID: owner") {
		t.Errorf("without an owner: %s", got)
	}
}

// A client reaches its session's values, and nobody else's.
func TestRunCommand_owner(t *testing.T) {
	s := facility.NewCommandService(memory.New(memory.Config{}), facility.CommandConfig{Allow: verbs()}, nil)
	as := func(id bus.Identity) context.Context {
		return rpc.WithCaller(t.Context(), &rpc.Caller{Name: id.Client, Identity: &id})
	}
	one, two := as(bus.Identity{Client: "a", Session: "s1"}), as(bus.Identity{Client: "a", Session: "s2"})
	same, none := as(bus.Identity{Client: "b", Session: "s1"}), as(bus.Identity{Client: "s1"})
	if got := commandAnswer(one, s, "", "SET k 1"); got != "OK" {
		t.Fatal(got)
	}
	for want, ctx := range map[string]context.Context{"1": same, "(nil)": two} {
		if got := commandAnswer(ctx, s, "", "GET k"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := commandAnswer(none, s, "", "GET k"); got != "(nil)" {
		t.Errorf("a client named like the session: %s", got)
	}
	if got := commandAnswer(two, s, "sessions/s1", "GET k"); !strings.HasPrefix(got, "FIELD_INVALID: owner") {
		t.Errorf("a client that names an owner: %s", got)
	}
	off := facility.NewCommandService(memory.New(memory.Config{}), facility.CommandConfig{}, nil)
	if got := commandAnswer(one, off, "", "GET k"); !strings.HasPrefix(got, "METHOD_DISABLED") || !strings.Contains(got, "legacy.commands.allow") {
		t.Errorf("switched off: %s", got)
	}
}

func FuzzRunCommand(f *testing.F) {
	f.Add(`SET "a key" "a \" value" EX 5`)
	f.Add("DEL a b c")
	s := facility.NewCommandService(memory.New(memory.Config{}), facility.CommandConfig{Allow: verbs()}, nil)
	ctx := rpc.WithCaller(context.Background(), rpc.Backend("edge", rpc.ScopeAll))
	f.Fuzz(func(t *testing.T, line string) {
		if _, err := s.RunCommand(ctx, &legacyv1.RunCommandRequest{Command: line, Owner: "o"}); err != nil {
			if e := rpc.FromError(err); e.Reason == "INTERNAL" {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}
