package hooks_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/testkit"
)

func whsec(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }

func TestParseSecret(t *testing.T) {
	key := bytes.Repeat([]byte("a1"), 16)
	for _, s := range []string{"", "whsec_", "whsec_c2hvcnQ=", whsec(key)[6:], "whsec_not base64", whsec(make([]byte, 65))} {
		if _, err := hooks.ParseSecret(s); err == nil || s != "" && s != "whsec_" && strings.Contains(err.Error(), s) {
			t.Errorf("%q: error is %v", s, err)
		}
	}
	s, err := hooks.ParseSecret(whsec(key))
	testkit.Check(t, err)
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s.LogValue()); strings.Contains(text, "a1") || strings.Contains(text, "97") {
		t.Errorf("it shows as %s", text)
	}
}
