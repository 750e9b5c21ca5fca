package bus_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/trunkline/trunkline/internal/bus"
)

func TestNames_CanonicalForm(t *testing.T) {
	for raw, want := range map[string]string{
		"ada":                     "ada",
		"auth0|5f7c":              "auth0%7C5f7c",
		"google-oauth2|103547991": "google-oauth2%7C103547991",
		`CORP\ada`:                "CORP%5Cada",
		"ada lovelace":            "ada%20lovelace",
		"a/b":                     "a%2Fb",
		"users/ada/topics/x":      "users%2Fada%2Ftopics%2Fx",
		"50%":                     "50%25",
		"a%7Cb":                   "a%257Cb",
		"*":                       "%2A",
		"..":                      "..",
		":a::":                    ":a::",
		"-":                       "-",
		"{tag}":                   "%7Btag%7D",
		"é":                       "%C3%A9",
		"e\u0301":                 "e%CC%81",
		"👩‍🚀":                     "%F0%9F%91%A9%E2%80%8D%F0%9F%9A%80",
		"\u202eadmin":             "%E2%80%AEadmin",
		strings.Repeat("😀", 63):   strings.Repeat("%F0%9F%98%80", 63),
		strings.Repeat("a", 255):  strings.Repeat("a", 255),
		"x:publish":               "x:publish",
		"\ufffd":                  "%EF%BF%BD",
	} {
		name, err := bus.NameOf("user", raw)
		if err != nil || name != want || bus.RawName(name) != raw {
			t.Errorf("%q: %q %v, raw again %q; want %q", raw, name, err, bus.RawName(name), want)
		}
		for _, text := range spellings(raw) {
			if again, err := bus.ParseName("user", text); err != nil || again != want {
				t.Errorf("%q written %q: %q %v, want %q", raw, text, again, err, want)
			}
			a, err := bus.NewAddress(bus.KindUsers, text)
			if err != nil || a.String() != "users/"+want || a.ID() != want || a.Topic() != "" {
				t.Errorf("address of %q: %v %v", text, a, err)
			}
		}
		for _, text := range []string{want, strings.ToLower(encodeAll(raw)), encodeAll(raw), url.PathEscape(raw)} {
			text = strings.ReplaceAll(text, "*", "%2a") // url.PathEscape leaves it
			a, err := bus.ParseAddress("users/" + text + "/topics/t")
			if err != nil || a.String() != "users/"+want+"/topics/t" || a.ID() != want || a.Topic() != "t" {
				t.Errorf("address with %q: %v %v", text, a, err)
			}
		}
	}
}

// spellings are ways to write a name in a request.
func spellings(raw string) []string {
	list := []string{encodeAll(raw), strings.ToLower(encodeAll(raw)), url.PathEscape(raw), strings.ReplaceAll(url.QueryEscape(raw), "+", "%20")}
	if !strings.Contains(raw, "%") {
		list = append(list, raw)
	}
	return list
}

func encodeAll(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		b.WriteByte('%')
		b.WriteByte("0123456789ABCDEF"[raw[i]>>4])
		b.WriteByte("0123456789ABCDEF"[raw[i]&15])
	}
	return b.String()
}

func TestNames_WhatIsNone(t *testing.T) {
	for raw, says := range map[string]string{
		"":                       "is empty",
		strings.Repeat("a", 256): "has 256 bytes",
		strings.Repeat("😀", 64):  "has 256 bytes",
		"a\nb":                   "U+000A at byte 1",
		"\x00":                   "U+0000 at byte 0",
		"a\x7f":                  "U+007F at byte 1",
		"a\u0085":                "U+0085 at byte 1",
		"a\xff":                  "not UTF-8 at byte 1",
		"\xed\xa0\x80":           "not UTF-8 at byte 0",
		"\xc0\xaf":               "not UTF-8",
	} {
		if name, err := bus.NameOf("user", raw); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20q as its issuer wrote it: %q %v", raw, name, err)
		}
		if name, err := bus.ParseName("user", encodeAll(raw)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20q escaped: %q %v", raw, name, err)
		}
	}
	for _, text := range []string{"100%", "%", "%4", "a%zz", "%%41", "% 41", "%u0041", "a%4", "%+1"} {
		if name, err := bus.ParseName("user", text); err == nil || !strings.Contains(err.Error(), "write a percent sign as %25") {
			t.Errorf("%q: %q %v", text, name, err)
		}
	}
}

func TestParseAddress_Ambiguous(t *testing.T) {
	for text, says := range map[string]string{
		"users/a/b":            "%2F",
		"users/*":              "%2A",
		"users/a*":             "%2A",
		"users/100%":           "%25",
		"users/":               "is empty",
		"users/a\nb":           "control character",
		"channels/a%41":        "allowed are",
		"channels/a|b":         "allowed are",
		"users/a/topics/b%41":  "allowed are",
		"broadcast/topics/a|b": "allowed are",
		"system/revoked":       "an address is",
		"users%2Fada":          "an address is",
		"Users/ada":            "an address is",
	} {
		if a, err := bus.ParseAddress(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v %v", text, a, err)
		}
	}
	for _, text := range []string{"users/auth0|5f", "users/auth0%7c5f", "users/%61", "users/a b"} {
		if a, err := bus.StoredAddress(text); err == nil {
			t.Errorf("a store never writes %q, and it was read as %v", text, a)
		}
	}
}

func TestPattern_EscapedNames(t *testing.T) {
	for pattern, want := range map[string]struct{ text, covers, not string }{
		"users/auth0%7C*":         {"users/auth0%7C*", "users/auth0|5f", "users/auth0"},
		"users/auth0|*":           {"users/auth0%7C*", "users/auth0%7c5f", "users/auth0-5f"},
		"users/auth0%7c*":         {"users/auth0%7C*", "users/auth0%7C5f/topics/a", "users/auth07C"},
		"users/%61da":             {"users/ada", "users/ada", "users/adam"},
		"users/%2A":               {"users/%2A", "users/%2a", "users/ada"},
		"users/acme:*":            {"users/acme:*", "users/acme:auth0|1", "users/acme"},
		"users/*":                 {"users/*", "users/a%2Fb", "groups/a"},
		"users/a%2Fb/topics/*":    {"users/a%2Fb/topics/*", "users/a%2fb/topics/x", "users/a%2Fb"},
		"users/a%2F*":             {"users/a%2F*", "users/a%2Fb", "users/a"},
		"users/auth0|5f/topics/*": {"users/auth0%7C5f/topics/*", "users/auth0%7C5f/topics/x", "users/auth0%7C5f"},
		"groups/é*":               {"groups/%C3%A9*", "groups/équipe", "groups/e"},
	} {
		p, err := bus.ParsePattern(pattern)
		if err != nil || p.String() != want.text {
			t.Errorf("%q: %q %v, want %q", pattern, p, err, want.text)
			continue
		}
		for text, covered := range map[string]bool{want.covers: true, want.not: false} {
			if a, err := bus.ParseAddress(text); err != nil || p.Covers(a) != covered {
				t.Errorf("%q covers %q: %v %v", pattern, text, p.Covers(a), err)
			}
		}
	}
	for _, pattern := range []string{"users/ada*", "users/a*b", "users/%C3*", "users/%*", "users/%7*", "channels/a%7C*", "users/a/b*", "**", "users/**", "users/%41*"} {
		if p, err := bus.ParsePattern(pattern); err == nil {
			t.Errorf("%q is a pattern: %v", pattern, p)
		}
	}
}

// FuzzNames holds the two ways in against each other and against the rule for names, said in other words.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"ada", "auth0|5f", "a%7Cb", "100%", "%2F", "\u202e", "é", "%C3%A9", "..", "a/topics/b", "\x00", "%00", "%ff", "*"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		name, err := bus.NameOf("user", a)
		good := a != "" && len(a) <= 255 && utf8.ValidString(a) && !strings.ContainsFunc(a, unicode.IsControl)
		if good != (err == nil) {
			t.Fatalf("%q: %v", a, err)
		}
		text, textErr := bus.ParseName("user", a)
		if textErr == nil {
			if again, err := bus.ParseName("user", text); err != nil || again != text {
				t.Fatalf("%q is %q, which is %q %v", a, text, again, err)
			}
			if want, err := url.PathUnescape(a); err != nil || bus.RawName(text) != want {
				t.Fatalf("%q is %q, want %q %v", a, bus.RawName(text), want, err)
			}
		}
		parsed, addressErr := bus.ParseAddress("users/" + a)
		if addressErr == nil {
			stored, err := bus.StoredAddress(parsed.String())
			if err != nil || stored != parsed {
				t.Fatalf("%q is %v, which is stored as %v %v", a, parsed, stored, err)
			}
			if kind, err := bus.NewAddress(parsed.Kind(), parsed.ID()); err != nil || kind != parsed.WithoutTopic() {
				t.Fatalf("%v is %v %v", parsed, kind, err)
			}
		}
		if err != nil {
			return
		}
		if bus.RawName(name) != a || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:@=+-%") != "" {
			t.Fatalf("%q is written %q", a, name)
		}
		if again, err := bus.ParseName("user", name); err != nil || again != name {
			t.Fatalf("%q is %q, which is %q %v", a, name, again, err)
		}
		if other, err := bus.NameOf("user", b); err == nil && (other == name) != (a == b) {
			t.Fatalf("%q is %q, and %q is %q", a, name, b, other)
		}
	})
}
