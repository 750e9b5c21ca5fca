package payload_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/payload"
)

// FuzzUnmarshalItems holds a list that is read item by item to the same list read as a whole. Each item is held to itself, read alone.
func FuzzUnmarshalItems(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		whole, items := new(publishv1.BatchPublishRequest), new(publishv1.BatchPublishRequest)
		err := payload.Unmarshal(body, whole)
		faults, itemsErr := payload.UnmarshalItems(body, items, "requests")
		switch {
		case err == nil && (itemsErr != nil || len(faults) > 0 || !proto.Equal(whole, items)):
			t.Fatalf("%q is %v, item by item %v, %v, %v", body, whole, items, faults, itemsErr)
		case err != nil && itemsErr == nil:
			each(t, body, items, faults)
		}
		tokens := new(authv1.BatchValidateTokensRequest)
		if faults, err := payload.UnmarshalItems(body, tokens, "tokens"); err == nil {
			for i, fault := range faults {
				if i < 0 || i >= len(tokens.GetTokens()) || tokens.GetTokens()[i] != "" || fault.Message == "" {
					t.Fatalf("%q: %d is %v", body, i, fault)
				}
			}
		}
	})
}

// each compares the items of a body, of which some cannot be read, with those that are read alone.
func each(t *testing.T, body []byte, got *publishv1.BatchPublishRequest, faults map[int]*payload.Error) {
	t.Helper()
	var list struct{ Requests []json.RawMessage }
	if err := json.Unmarshal(body, &list); err != nil || len(list.Requests) != len(got.GetRequests()) || len(faults) == 0 {
		t.Fatalf("%q has %d items by encoding/json, %d here, %d with faults; %v", body, len(list.Requests), len(got.GetRequests()), len(faults), err)
	}
	for i, raw := range list.Requests {
		alone := new(publishv1.PublishRequest)
		err := payload.Unmarshal(raw, alone)
		if (err != nil) != (faults[i] != nil) || err == nil && !proto.Equal(alone, got.GetRequests()[i]) {
			t.Fatalf("%q: %s alone is %v, %v; in the list %v, %v", body, raw, alone, err, got.GetRequests()[i], faults[i])
		}
	}
}

// FuzzUnmarshalWire holds the reader of protobuf to the library: it takes what that takes, and names a field that there is when it does not.
func FuzzUnmarshalWire(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []proto.Message{&edgev1.ClientFrame{}, &publishv1.BatchPublishRequest{}} {
			want := m.ProtoReflect().New().Interface()
			wantErr := proto.Unmarshal(b, want)
			err := payload.UnmarshalWire(b, m)
			if wantErr == nil {
				if err != nil || !proto.Equal(m, want) {
					t.Fatalf("%q is %v, %v, want %v", b, m, err, want)
				}
				continue
			}
			e, ok := errors.AsType[*payload.Error](err)
			if !ok || e.Message == "" || len(e.Message) > 4096 || len(e.Violations) > 100 {
				t.Fatalf("%q: %#v", b, err)
			}
			for _, v := range e.Violations {
				if v.Field == "" || v.Description == "" || strings.ContainsFunc(v.Field, func(r rune) bool { return r <= ' ' || r > '~' }) {
					t.Fatalf("%q: %+v", b, v)
				}
			}
		}
	})
}

// FuzzText says that a text is taken when it is one: a JSON string in UTF-8, whose escapes are whole characters. It is then what
// encoding/json reads.
func FuzzText(f *testing.F) {
	f.Fuzz(func(t *testing.T, raw string) {
		m := new(publishv1.PublishRequest)
		err := payload.Unmarshal([]byte(`{"contentType":"CONTENT_TYPE_TEXT","data":`+raw+`}`), m)
		var want string
		if json.Unmarshal([]byte(raw), &want) != nil || !strings.HasPrefix(strings.TrimLeft(raw, " \t\r\n"), `"`) {
			return // something else, or more than a string
		}
		if good := wholeText(raw); good != (err == nil) {
			t.Fatalf("%q: %v, want it taken: %t", raw, err, good)
		}
		if err == nil && string(m.GetData()) != want {
			t.Fatalf("%q is %q, want %q", raw, m.GetData(), want)
		}
	})
}

// wholeText says whether a JSON string is UTF-8 and has no half of a surrogate pair.
func wholeText(raw string) bool {
	for i, c := range raw {
		if c == '\ufffd' && !strings.HasPrefix(raw[i:], "\ufffd") {
			return false
		}
	}
	var before rune // the first half of a pair, when it has just come
	for i := 0; i < len(raw); i++ {
		var unit rune
		if raw[i] == '\\' {
			i++
			if raw[i] == 'u' {
				for _, c := range strings.ToLower(raw[i+1 : i+5]) {
					unit = unit<<4 | rune(strings.IndexRune("0123456789abcdef", c))
				}
				i += 4
			}
		}
		second := unit >= 0xDC00 && unit < 0xE000
		if second != (before != 0) {
			return false
		}
		before = 0
		if utf16.IsSurrogate(unit) && !second {
			before = unit
		}
	}
	return before == 0
}
