package relay_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/trunkline/trunkline/legacy/relay"
)

// FuzzForm holds the reader of forms to net/url where names have no brackets. What it gives is one JSON object, that is not much
// larger than the form.
func FuzzForm(f *testing.F) {
	f.Fuzz(func(t *testing.T, form string) {
		got, err := relay.FormJSON(form)
		if err != nil {
			if strings.Count(form, "&") < 1000 {
				t.Errorf("%q is refused: %v", form, err)
			}
			return
		}
		var o map[string]any
		if json.Unmarshal(got, &o) != nil || o == nil || len(got) > 64+20*len(form) {
			t.Fatalf("%q is %s", form, got)
		}
		want, err := url.ParseQuery(form)
		if err != nil || strings.ContainsAny(form, "[]%;") || !utf8.ValidString(form) {
			return
		}
		for name, values := range want {
			list, ok := o[name].([]any)
			if name != "" && (len(values) > 1) != ok || ok && len(list) != len(values) {
				t.Errorf("%q is %s, by net/url %v", form, got, want)
			}
		}
	})
}
