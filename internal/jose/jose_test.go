package jose_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/trunkline/trunkline/internal/jose"
	"github.com/trunkline/trunkline/internal/testkit"
)

// What two readers could take for two things is refused, at any depth.
func TestDecodeObject_takesOneMeaningOrNone(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"a":1}`:                    `"a" is there twice`,
		`{"a":1,"\u0061":2}`:               `"a" is there twice`,
		`{"g":[{"x":[{"a":1,"a":2}]}]}`:    `"g.x.a" is there twice`,
		`{"a":{"b":{"c":1,"d":2,"c":3}}}`:  `"a.b.c" is there twice`,
		"{\"a\":\"\xff\"}":                 "not UTF-8",
		`{"a":"\ud800"}`:                   "half a surrogate pair at byte 6",
		`{"\udc00":1}`:                     "half a surrogate pair",
		`{"a":"\ud800\u0041"}`:             "half a surrogate pair",
		`{"a":1}{}`:                        "behind the JSON object",
		`{"a":1} x`:                        "behind the JSON object",
		`[]`:                               "not a JSON object",
		`"x"`:                              "not a JSON object",
		`null`:                             "not a JSON object",
		``:                                 "not JSON",
		`{"a":1,}`:                         "not JSON",
		`{"a":01}`:                         "not JSON",
		`{1:2}`:                            "not JSON",
		`{"a"`:                             "not JSON",
		`{"a":[1,2}`:                       "not JSON",
		strings.Repeat(`{"a":`, 40) + "1":  "more than 32 levels",
		`{"a":` + strings.Repeat("[", 1e5): "more than 32 levels",
	} {
		if o, err := jose.DecodeObject([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, %v; want %q", text, o, err, want)
		}
	}
	o, err := jose.DecodeObject([]byte(`{"a":1,"A":2,"ſ":3,"s":4,"n":{"a":"\ud83d\ude00","b":"\\ud800"},"l":[{"a":1},{"a":2}]}`))
	testkit.Check(t, err)
	if len(o) != 6 || o["a"] != json.Number("1") || o["n"].(jose.Object)["a"] != "😀" || o["n"].(jose.Object)["b"] != `\ud800` {
		t.Errorf("it is read as %v", o)
	}
}

func TestObject_looksUpNamesOfSeveralLevels(t *testing.T) {
	o, err := jose.DecodeObject([]byte(`{"sub":"ada","https://example.com/groups":["a"],"cognito:groups":["b"],"realm_access":{"roles":["c"]},
		"resource_access":{"my.client":{"roles":["d"]}},"https://example.com/app":{"g.h":"e"},"x.y":1,"x":{"y":2},"n":null,"text":"t"}`))
	testkit.Check(t, err)
	for name, want := range map[string]string{
		"sub": "ada", "https://example.com/groups": "[a]", "cognito:groups": "[b]", "realm_access.roles": "[c]",
		"resource_access.my.client.roles": "[d]", "https://example.com/app.g.h": "e",
		"Sub": "none", "realm_access.Roles": "none", "text.x": "none", "realm_access.roles.0": "none", "": "none", "n": "<nil>",
	} {
		value, found, err := o.Lookup(name)
		testkit.Check(t, err)
		if got := fmt.Sprint(value); got != want && (found || want != "none") {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if value, _, err := o.Lookup("x.y"); err == nil {
		t.Errorf("a name with two meanings is %v", value)
	}
}

// FuzzDecodeObject holds the decoder to encoding/json: what it takes, that reads as the same.
func FuzzDecodeObject(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `{"a":{"b":[1,null,true,"x"]}}`, `{"a":1,"a":2}`, `{"\ud800":1}`, `{"a":"\ud83d\ude00"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := jose.DecodeObject(text)
		if err != nil {
			return
		}
		var want any
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		got, err := json.Marshal(o)
		testkit.Check(t, err)
		same, err := json.Marshal(want)
		testkit.Check(t, err)
		if string(got) != string(same) {
			t.Errorf("read as %s, by encoding/json as %s", got, same)
		}
	})
}

// The first private key that has not ended signs; none does after the last one's end.
func TestRing_signsWithNoKeyThatHasEnded(t *testing.T) {
	now := time.Now()
	key := func(id string, until time.Time) jose.KeyConfig {
		k, err := jose.NewKey(id)
		testkit.Check(t, err)
		k.Until = until
		return k
	}
	ring, err := jose.NewRing([]jose.KeyConfig{key("past", now.Add(-time.Second)), key("soon", now.Add(time.Hour)), key("later", now.Add(2*time.Hour))}, nil, now)
	testkit.Check(t, err)
	for after, want := range map[time.Duration]string{0: "soon", 59 * time.Minute: "soon", time.Hour: "later", 119 * time.Minute: "later"} {
		if k := ring.Signer(now.Add(after)); k == nil || k.ID != want {
			t.Errorf("after %s %v signs, want %s", after, k, want)
		}
	}
	if ring.Signer(now.Add(2*time.Hour)) != nil || ring.Check(now.Add(2*time.Hour)) == nil || !ring.LastEnd().Equal(now.Add(2*time.Hour)) {
		t.Error("a key signs after its end")
	}
	if _, err := jose.NewRing([]jose.KeyConfig{key("past", now.Add(-time.Second))}, nil, now); err == nil || !strings.Contains(err.Error(), "ended at") {
		t.Errorf("only ended keys: %v", err)
	}
	text, err := ring.Signer(now).Sign("at+jwt", jwt.RegisteredClaims{Subject: "ada"})
	testkit.Check(t, err)
	token, err := jose.Parse(text)
	testkit.Check(t, err)
	k, err := ring.Find(token, now)
	testkit.Check(t, err)
	testkit.Check(t, token.Verify(k))
	if token.Verify(ring.Keys[2]) == nil {
		t.Error("another key verifies it")
	}
	if _, err := ring.Find(token, now.Add(time.Hour)); err == nil {
		t.Error("a key verifies after its end")
	}
}
