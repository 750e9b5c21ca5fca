package bridge_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/trunkline/trunkline/internal/bridge"
	"github.com/trunkline/trunkline/internal/bus"
)

func open(tb testing.TB, r bridge.Rule) *bridge.Bridge {
	tb.Helper()
	b, err := bridge.New(r)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestMap(t *testing.T) {
	raw := open(t, bridge.Rule{Channel: "app:notifications", To: "broadcast"})
	article := open(t, bridge.Rule{Channel: "article", To: "clients/{uuid_remote}", JSON: true, Data: "message", Sender: "uuid_local"})
	topics := open(t, bridge.Rule{Channel: "c", To: "users/{user}/topics/{kind}", JSON: true})
	for _, tc := range []struct {
		b                *bridge.Bridge
		record, to, data string
		kind             bus.ContentType
	}{
		{raw, "hello", "broadcast", "hello", bus.Text},
		{raw, `{"a":1}`, "broadcast", `{"a":1}`, bus.JSON},
		{raw, "\xff", "broadcast", "\xff", bus.Binary},
		{raw, "", "broadcast", "", bus.Text},
		{article, `{"uuid_remote":"r","uuid_local":"l","message":{"x":[1.50]}}`, "clients/r", `{"x":[1.50]}`, bus.JSON},
		{article, `{"uuid_remote":7,"message":null}`, "clients/7", `null`, bus.JSON},
		{article, `{"uuid_remote":"a/topics/b","message":1}`, "clients/a%2Ftopics%2Fb", `1`, bus.JSON}, // one name, and no topic
		{article, `{"uuid_remote":"auth0|5f","message":1}`, "clients/auth0%7C5f", `1`, bus.JSON},
		{article, `{"uuid_remote":"a%2Fb","message":1}`, "clients/a%252Fb", `1`, bus.JSON}, // a record has no escapes
		{topics, `{"user":"ada","kind":"news"}`, "users/ada/topics/news", `{"user":"ada","kind":"news"}`, bus.JSON},
	} {
		m, ok := tc.b.Map([]byte(tc.record))
		if !ok || m.To.String() != tc.to || string(m.Data) != tc.data || m.ContentType != tc.kind || m.ID == "" || m.Published.IsZero() {
			t.Errorf("%s became %+v, %v", tc.record, m, ok)
		}
	}
	if m, _ := article.Map([]byte(`{"uuid_remote":"r","uuid_local":"l","message":1}`)); m.From.Client != "l" {
		t.Errorf("sender is %+v", m.From)
	}
	if m, ok := topics.Map([]byte(`{"user":"ada","kind":"a|b"}`)); ok {
		t.Errorf("a topic that is no name became %+v", m)
	}
	for _, record := range []string{
		``, `{`, `null`, `[]`, `7`, `{}`, `{"uuid_remote":"r"}`, `{"message":1}`, `{"uuid_remote":"a\nb","message":1}`,
		`{"uuid_remote":"","message":1}`, `{"uuid_remote":["r"],"message":1}`, "{\"uuid_remote\":\"r\",\"message\":\"\xff\"}",
	} {
		if m, ok := article.Map([]byte(record)); ok {
			t.Errorf("%s became %+v", record, m)
		}
	}
}

func TestNew_refuses(t *testing.T) {
	for want, r := range map[string]bridge.Rule{
		"1 to 512":              {To: "broadcast"},
		"looks like a pattern":  {Channel: "app:*", To: "broadcast"},
		"an address is":         {Channel: "c", To: "nowhere"},
		"need format: json":     {Channel: "c", To: "broadcast", Data: "x"},
		"which needs format":    {Channel: "c", To: "users/{u}"},
		"both needs one":        {Channel: "c", To: "users/{u}", JSON: true, Both: true},
		"a brace without":       {Channel: "c", To: "users/{u", JSON: true},
		"begins with":           {Channel: "c", To: "channels/.{u}", JSON: true},
		"an address is clients": {Channel: "c", To: "{kind}/x", JSON: true},
	} {
		if _, err := bridge.New(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestRecord(t *testing.T) {
	raw := open(t, bridge.Rule{Channel: "c", To: "broadcast", Both: true})
	whole := open(t, bridge.Rule{Channel: "c", To: "broadcast", Both: true, JSON: true})
	member := open(t, bridge.Rule{Channel: "c", To: "broadcast", Both: true, JSON: true, Data: "message", Sender: "by"})
	for _, tc := range []struct {
		b    *bridge.Bridge
		m    bus.Message
		want string
	}{
		{raw, bus.Message{Data: []byte("\xff\x00"), ContentType: bus.Binary}, "\xff\x00"},
		{raw, bus.Message{Data: []byte(`{"a":1}`), ContentType: bus.JSON}, `{"a":1}`},
		{whole, bus.Message{Data: []byte(`a "b"`), ContentType: bus.Text}, `"a \"b\""`},
		{whole, bus.Message{ContentType: bus.JSON}, `null`},
		{member, bus.Message{Data: []byte(`[1]`), ContentType: bus.JSON, From: bus.Sender{Client: "ada"}}, `{"by":"ada","message":[1]}`},
		{member, bus.Message{Data: []byte{0, 1}, ContentType: bus.Binary}, `{"message":"AAE="}`},
	} {
		if got, ok := tc.b.Copy(&tc.m); string(got) != tc.want || !ok {
			t.Errorf("%+v became %s, want %s", tc.m, got, tc.want)
		}
	}
}

func FuzzMap(f *testing.F) {
	f.Add([]byte(`{"uuid_remote":"r","message":1}`))
	f.Add([]byte(`{"uuid_remote":{"a":1},"message":1}`))
	b, err := bridge.New(bridge.Rule{Channel: "c", To: "users/{uuid_remote}/topics/{kind}", JSON: true, Data: "message"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		m, ok := b.Map(record)
		if ok && (m.To.Kind() != bus.KindUsers || m.To.Topic() == "" || !utf8.Valid(m.Data) || !json.Valid(m.Data)) {
			t.Errorf("%q became %+v", record, m)
		}
	})
}
