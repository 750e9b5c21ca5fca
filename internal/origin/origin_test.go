package origin_test

import (
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/origin"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example.com":       "https://app.example.com",
		"HTTPS://App.Example.COM:443":   "https://app.example.com",
		"http://a.example:80":           "http://a.example",
		"http://a.example:443":          "http://a.example:443",
		"https://a.example:08443":       "https://a.example:8443",
		"https://bücher.example":        "https://xn--bcher-kva.example",
		"https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
		"https://faß.example":           "https://xn--fa-hia.example",
		"https://my_app.example":        "https://my_app.example",
		"https://a.example.":            "https://a.example.",
		"http://[::1]:3000":             "http://[::1]:3000",
		"http://[2001:DB8:0::1]":        "http://[2001:db8::1]",
		"http://127.0.0.1:5173":         "http://127.0.0.1:5173",
		"https://*.example.com":         "https://*.example.com",
		"https://*.Bücher.example:8443": "https://*.xn--bcher-kva.example:8443",
		"http://*.localhost:3000":       "http://*.localhost:3000",
		"capacitor://localhost":         "capacitor://localhost",
		"ionic://localhost":             "ionic://localhost",
		"ionic://":                      "ionic://",
		"app://":                        "app://",
		"app://.":                       "app://.",
		"tauri://localhost":             "tauri://localhost",
		"http://tauri.localhost":        "http://tauri.localhost",
		"chrome-extension://abcdefghij": "chrome-extension://abcdefghij",
		"custom+app.v2://host:99":       "custom+app.v2://host:99",
		"file://":                       "file://",
		"null":                          "null",
	} {
		o, err := origin.Parse(text)
		if err != nil || o.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, o, err, want)
		}
	}
}

func TestParse_refuses(t *testing.T) {
	for text, hint := range map[string]string{
		"":                                    "scheme://host",
		"shop.example":                        "scheme://host",
		"https:/a.example":                    "scheme://host",
		"://a.example":                        "scheme://host",
		"1app://a":                            "scheme://host",
		"https://":                            "scheme://host",
		"https://:443":                        "scheme://host",
		"NULL":                                "scheme://host",
		"https://a.example/":                  "last slash",
		"https://a.example/app":               "leave out",
		"https://good.example#":               "leave out",
		"https://good.example#evil":           "leave out",
		"https://good.example?":               "leave out",
		`https://good.example\@evil`:          "user",
		`https://good.example\evil`:           "leave out",
		"file:///":                            "leave out",
		"https://u@a.example":                 "user",
		"https://u:p@a.example":               "user",
		"https://a.example:0":                 "port",
		"https://a.example:":                  "port",
		"https://a.example:x":                 "port",
		"https://a.example:+443":              "port",
		"https://a.example:65536":             "port",
		"https://a.example:*":                 "port",
		"https://a..example":                  "scheme://host",
		"https://.example":                    "scheme://host",
		"https://a b.example":                 "scheme://host",
		"https://a.example ":                  "scheme://host",
		"https://a.example\n":                 "scheme://host",
		"https://a.example,b.example":         "scheme://host",
		"https://a.example\x00":               "scheme://host",
		"https://*":                           "whole label",
		"https://*.":                          "whole label",
		"https://a.*.example":                 "whole label",
		"https://a*.example":                  "whole label",
		"https://*.*.example":                 "whole label",
		"https://**.example":                  "whole label",
		"https://*.com":                       "name the domain",
		"*://a.example":                       "scheme://host",
		"https://*.127.0.0.1":                 "address",
		"wss://a.example":                     "of a page",
		"http://[::1":                         "scheme://host",
		"http://[::1]x":                       "scheme://host",
		"http://[fe80::1%25eth0]":             "scheme://host",
		"http://[127.0.0.1]":                  "scheme://host",
		"http://2001:db8::1":                  "scheme://host",
		"https://" + strings.Repeat("a", 600): "scheme://host",
	} {
		if o, err := origin.Parse(text); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: took it as %s, error %v, want one with %q", text, o, err, hint)
		}
	}
}

func TestList_allows(t *testing.T) {
	list, err := origin.NewList([]string{
		"https://app.example", "https://*.shop.example", "http://*.dev.example:3000", "capacitor://localhost", "app://",
	})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"https://app.example":                true,
		"https://APP.example:443":            true,
		"http://app.example":                 false,
		"https://app.example:8443":           false,
		"https://app.example.":               false,
		"https://app.example.evil":           false,
		"https://app.example#":               false,
		"https://eu.shop.example":            true,
		"https://xn--bcher-kva.shop.example": true,
		"https://shop.example":               false,
		"https://a.b.shop.example":           false,
		"https://.shop.example":              false,
		"https://x/.shop.example":            false,
		"https://evilshop.example":           false,
		"https://*.shop.example":             false, // a page cannot have it
		"https://eu.shop.example:444":        false,
		"http://a.dev.example:3000":          true,
		"http://a.dev.example":               false,
		"capacitor://localhost":              true,
		"Capacitor://LOCALHOST":              true,
		"ionic://localhost":                  false,
		"capacitor://localhost:1":            false,
		"app://":                             true,
		"app://x":                            false,
		"file://":                            false,
		"null":                               false,
		"":                                   false,
	} {
		o, ok := origin.Of(text)
		if got := ok && list.Allows(o); got != want {
			t.Errorf("%q: allowed %v, want %v", text, got, want)
		}
	}
}

// Pages without an origin, and files, are allowed where they are named.
func TestList_named(t *testing.T) {
	list, err := origin.NewList([]string{"null", "file://"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"null", "file://", "FILE://"} {
		if o, ok := origin.Of(text); !ok || !list.Allows(o) {
			t.Errorf("%s is not allowed", text)
		}
	}
	if o, ok := origin.Of("https://app.example"); !ok || list.Allows(o) {
		t.Error("another origin is allowed")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"https://app.example:443", "null", "http://[::1]:3000", "capacitor://localhost", "https://*.bücher.example", "app://."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := origin.Parse(text)
		if err != nil {
			return
		}
		again, err := origin.Parse(o.String())
		if err != nil || again != o {
			t.Errorf("%q is %s, which is %s, %v", text, o, again, err)
		}
	})
}
