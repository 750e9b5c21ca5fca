package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/verify"
)

// TestVerify holds the form that programs read: its members, rows and units stand in testdata.
func TestVerify(t *testing.T) {
	s := newShell(t)
	r := s.run(t.Context(), "", "verify", "--for", "4s", "--json")
	var report verify.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", r.code, err, r.out, r.err)
	}
	one := r.err == "" && strings.Count(r.out, "\n") == 1 && !strings.Contains(r.out, s.deployment.AdminKey)
	if !one || report.Verdict == verify.Broken || report.Verdict == verify.Partly {
		t.Errorf("%s, %q\n%s", report.Verdict, r.err, r.out)
	}
	if want := map[verify.Word]int{verify.Held: exitDone, verify.Unknown: exitFailed}[report.Verdict]; r.code != want {
		t.Errorf("%s is exit %d", report.Verdict, r.code)
	}
	var form any
	testkit.Check(t, json.Unmarshal([]byte(r.out), &form))
	text, err := json.MarshalIndent(formed(form, ""), "", "  ")
	testkit.Check(t, err)
	golden(t, "verify", string(text)+"\n")
}

// formed replaces what differs from run to run by its kind.
func formed(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "reason") // of a busy machine
		for name, child := range v {
			v[name] = formed(child, name)
		}
	case []any:
		for i := range v {
			v[i] = formed(v[i], name)
		}
	case float64:
		if name != "schema" && name != "bound" {
			return 0
		}
	case string:
		if name == "verdict" || name == "server" || name == "grpc" || name == "run" || name == "begin" || name == "findings" {
			return "…"
		}
	}
	return v
}

func TestVerify_exitCodes(t *testing.T) {
	s := newShell(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a part that is none", []string{"--only", "magic"}, exitUsage, `--only "magic": allowed are delivery, repeat, rights, acks, revocation, expiry, members`},
		{"no time", []string{"--for", "0s"}, exitUsage, "--for 0s: allowed are 1s to 24h"},
		{"no rate", []string{"--rate", "0"}, exitUsage, "--rate 0: allowed is more than 0"},
		{"too much", []string{"--rate", "2000", "--for", "24h"}, exitUsage, "choose a lower rate or a shorter time"},
		{"an argument", []string{"now"}, exitUsage, ""},
		{"nobody there", []string{"--server", "http://127.0.0.1:1"}, exitUnreachable, "no server answers at http://127.0.0.1:1"},
		{"gRPC is named, and not there", []string{"--grpc", "127.0.0.1:1", "--timeout", "2s"}, exitUnreachable, "gRPC at 127.0.0.1:1"},
		{"a key that is none", []string{"--token", "tlk_nobody_0123456789abcdef0123456789abcdef"}, exitDenied, "API_KEY_INVALID"},
		{"another namespace that is none", []string{"--namespace", "a b"}, exitFailed, "FIELD_INVALID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.run(t.Context(), "", append([]string{"verify"}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.err, c.want) || r.out != "" {
				t.Errorf("exit %d, want %d and %q\n%s%s", r.code, c.code, c.want, r.out, r.err)
			}
		})
	}
	r := s.run(t.Context(), "", "verify", "--only", "repeat,rights", "--for", "1s")
	for _, want := range []string{"repeat.duplicate", "rights.refused", "HELD: run "} {
		if r.code != exitDone || !strings.Contains(r.out, want) || strings.Contains(r.out, "members.join") {
			t.Errorf("exit %d, no %q in\n%s%s", r.code, want, r.out, r.err)
		}
	}
}
