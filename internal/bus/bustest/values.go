package bustest

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/testkit"
)

func testValues(t *testing.T, open Open) {
	s := open(t)

	t.Run("verbs", func(t *testing.T) { testValuesVerbs(t, s) })
	t.Run("what has ended makes room", func(t *testing.T) { testValuesWhatHasEndedMakesRoom(t, s) })
	t.Run("one at a time", func(t *testing.T) { testValuesOneAtATime(t, s) })
}

// command carries out "SET k v", "SET k v 50ms" and so on, and returns the answer as a text.
func command(t *testing.T, s bus.Store, owner, line string) string {
	t.Helper()
	words := strings.Fields(line)
	c := bus.ValueCommand{Owner: owner, Verb: words[0], Keys: words[1:], Limit: 3, Keep: time.Minute}
	if c.Verb != bus.ValueDel {
		c.Keys = words[1:2]
	}
	rest := words[2:]
	if c.Verb == bus.ValueSet {
		c.Value, rest = words[2], words[3:]
	}
	if c.Verb != bus.ValueDel && len(rest) > 0 {
		ttl, err := time.ParseDuration(rest[0])
		testkit.Check(t, err)
		c.TTL = ttl
	}
	r, err := s.Command(t.Context(), c)
	var e *bus.Error
	switch {
	case errors.As(err, &e):
		return e.Reason
	case err != nil:
		t.Fatal(err)
	case r.Missing:
		return "(nil)"
	case c.Verb == bus.ValueGet || c.Verb == bus.ValueSet:
		return r.Text
	}
	return strconv.FormatInt(r.Number, 10)
}

func testValuesVerbs(t *testing.T, s bus.Store) {
	me, other := uuid.NewString(), uuid.NewString()
	for i, step := range []struct{ line, want string }{
		{"GET a", "(nil)"},
		{"SET a 15", "OK"},
		{"GET a", "15"},
		{"INCR a", "16"},
		{"GET a", "16"},
		{"INCR b", "1"},
		{"TTL a", "-1"},
		{"TTL none", "-2"},
		{"EXPIRE none 9s", "0"},
		{"EXPIRE a 90s", "1"},
		{"TTL a", "90"},
		{"INCR a", "17"},
		{"TTL a", "90"},
		{"SET a x", "OK"},
		{"TTL a", "-1"},
		{"INCR a", "VALUE_NOT_A_NUMBER"},
		{"GET a", "x"},
		{"SET c 1", "OK"},
		{"SET d 1", "VALUE_LIMIT"},
		{"INCR d", "VALUE_LIMIT"},
		{"SET c 2", "OK"},
		{"DEL a b nothing", "2"},
		{"GET a", "(nil)"},
		{"SET d 1", "OK"},
		{"EXPIRE d 0s", "1"},
		{"GET d", "(nil)"},
		{"SET n 9223372036854775806", "OK"},
		{"INCR n", "9223372036854775807"},
		{"INCR n", "VALUE_NOT_A_NUMBER"},
		{"GET n", "9223372036854775807"},
		{"SET f 1.5", "OK"},
		{"INCR f", "VALUE_NOT_A_NUMBER"},
	} {
		if got := command(t, s, me, step.line); got != step.want {
			t.Fatalf("%d: %s answers %s, want %s", i, step.line, got, step.want)
		}
	}
	if got := command(t, s, other, "GET c"); got != "(nil)" {
		t.Errorf("another owner sees %s", got)
	}
}

func testValuesWhatHasEndedMakesRoom(t *testing.T, s bus.Store) {
	me := uuid.NewString()
	for _, k := range []string{"a", "b", "c"} {
		command(t, s, me, "SET "+k+" 1 30ms")
	}
	testkit.Eventually(t, "there is room", func() bool { return command(t, s, me, "SET d 1") == "OK" })
	if got := command(t, s, me, "GET a"); got != "(nil)" {
		t.Errorf("a is %s", got)
	}
}

func testValuesOneAtATime(t *testing.T, s bus.Store) {
	me := uuid.NewString()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if _, err := s.Command(t.Context(), bus.ValueCommand{Owner: me, Verb: bus.ValueIncr, Keys: []string{"n"}, Limit: 3, Keep: time.Minute}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := command(t, s, me, "GET n"); got != "400" {
		t.Errorf("n is %s", got)
	}
}
