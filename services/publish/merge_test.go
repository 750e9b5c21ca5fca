package publish_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/publish"
)

// The examples of RFC 7396, appendix A, whose targets are objects, and what keeps spelling, order and numbers.
func TestMerge_examples(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":1}`, `{"a":{"b":{"c":1,"d":null}}}`, `{"a":{"b":{"c":1}}}`},
		{` { "a" : 1 , "b" : [ 1 , 2 ] } `, ` { } `, `{"a":1,"b":[1,2]}`},
		{`{"a":12345678901234567890.10}`, `{"b":1e400}`, `{"a":12345678901234567890.10,"b":1e400}`},
		{`{"\u0061":1}`, `{"a":2}`, `{"\u0061":2}`},
		{`{"a\"}":1}`, `{"a\"}":null,"{":"}"}`, `{"{":"}"}`},
		{`{"a":1}`, `{"a":2,"a":3,"b":null,"b":4}`, `{"a":3,"b":4}`},
		{`{"":1}`, `{"":{"":2}}`, `{"":{"":2}}`},
		{`{"a":{"x":"\\"}}`, `{"a":{"y":"é<"}}`, `{"a":{"x":"\\","y":"é<"}}`},
	} {
		got, err := publish.MergePatch([]byte(c[0]), []byte(c[1]))
		if err != nil || string(got) != c[2] {
			t.Errorf("%s with %s: %s, %v; want %s", c[0], c[1], got, err, c[2])
		}
	}
	for _, bad := range [][2]string{{`[]`, `{}`}, {`{}`, `[]`}, {`{`, `{}`}, {`{}`, `{"a"}`}, {``, `{}`}, {`1`, `{}`}} {
		if got, err := publish.MergePatch([]byte(bad[0]), []byte(bad[1])); err == nil {
			t.Errorf("%q with %q gives %s", bad[0], bad[1], got)
		}
	}
}

// slowly is the algorithm as RFC 7396 writes it.
func slowly(target, change any) any {
	members, ok := change.(map[string]any)
	if !ok {
		return change
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for name, value := range members {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = slowly(object[name], value)
		}
	}
	return object
}

// What it gives is what the RFC's own algorithm gives.
func TestMerge_likeTheRFC(t *testing.T) {
	var value func(level int) any
	value = func(level int) any {
		switch n := rand.IntN(8); {
		case n < 4 && level < 5:
			object := map[string]any{}
			for range rand.IntN(5) {
				object[string(rune('a'+rand.IntN(4)))+[]string{"", `"`, `\`, "é"}[rand.IntN(4)]] = value(level + 1)
			}
			return object
		case n == 4:
			return []any{value(level + 1), "x,}"}
		case n == 5:
			return nil
		}
		return rand.IntN(1000)
	}
	text := func() []byte {
		b, err := json.Marshal(map[string]any{"a": value(0), "b": value(0), "c": value(0)})
		testkit.Check(t, err)
		return b
	}
	for range 3000 {
		target, change := text(), text()
		got, err := publish.MergePatch(target, change)
		testkit.Check(t, err)
		var a, b, merged any
		testkit.Check(t, json.Unmarshal(target, &a))
		testkit.Check(t, json.Unmarshal(change, &b))
		testkit.Check(t, json.Unmarshal(got, &merged))
		if want := slowly(a, b); !reflect.DeepEqual(merged, want) {
			t.Fatalf("%s with %s: %s", target, change, got)
		}
	}
}

// deep is an object with so many levels above 4,000 members, and a patch that changes one of them.
func deep(levels int) (object, change []byte) {
	var members strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&members, `"key%d":%d,`, i, i)
	}
	open, end := strings.Repeat(`{"a":`, levels), strings.Repeat("}", levels)
	return []byte(open + "{" + members.String() + `"z":0}` + end), []byte(open + `{"key7":1}` + end)
}

// A patch costs what the state and the patch are large, and not their depth times that. What is allocated shows it, whatever else
// the machine does.
func TestMerge_depthCostsNothing(t *testing.T) {
	allocates := func(levels int) uint64 {
		object, change := deep(levels)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := publish.MergePatch(object, change)
		runtime.ReadMemStats(&after)
		testkit.Check(t, err)
		return after.TotalAlloc - before.TotalAlloc
	}
	if flat, nested := allocates(1), allocates(60); nested > 2*flat || flat > 1<<20 {
		t.Errorf("60 levels allocate %d bytes, one allocates %d", nested, flat)
	}
}

func BenchmarkMerge(b *testing.B) {
	object, change := deep(60)
	b.SetBytes(int64(len(object)))
	for b.Loop() {
		if _, err := publish.MergePatch(object, change); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzMerge holds the merge to the RFC's own algorithm, on what a state can be: the result of a patch.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,"x"]}}`), []byte(`{"a":{"b":null,"c":{}}}`))
	f.Fuzz(func(t *testing.T, object, change []byte) {
		state, err := publish.MergePatch([]byte("{}"), object)
		if err != nil {
			return
		}
		got, err := publish.MergePatch(state, change)
		if err != nil {
			return
		}
		if !json.Valid(got) || len(got) > len(state)+len(change) {
			t.Fatalf("%q with %q: %q", object, change, got)
		}
		var target, patch, merged any
		if json.Unmarshal(state, &target) != nil || json.Unmarshal(change, &patch) != nil {
			return // a number that no float is
		}
		testkit.Check(t, json.Unmarshal(got, &merged))
		if want := slowly(target, patch); !reflect.DeepEqual(merged, want) {
			t.Fatalf("%s with %s is %s, want %v", state, change, got, want)
		}
	})
}
