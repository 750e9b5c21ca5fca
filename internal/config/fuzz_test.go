package config_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
)

// canary is a secret that stands in every configuration of the fuzzer.
const canary = "Canary7fQ2mB9xKc4Lw8Zr1Tn6Vy3Hs5Jd0Pg2Ae4Uo"

// FuzzLoad reads a file, a variable and a file of a secret. A configuration is taken or refused, the same each time. A refusal says
// where, and shows no secret.
func FuzzLoad(f *testing.F) {
	defaults, dir := app.Default(), f.TempDir()
	secret, file, held := filepath.Join(dir, "secret"), filepath.Join(dir, "t.yaml"), filepath.Join(dir, "held")
	if err := os.WriteFile(secret, []byte(canary), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte, variable, value string, inFile []byte) {
		if strings.Contains(string(content)+variable+value, "/") { // no file of this machine
			return
		}
		for path, b := range map[string][]byte{file: content, held: inFile} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		src := config.Sources{Files: []string{file}, Env: []string{
			"TRUNKLINE_" + variable + "=" + value, "TRUNKLINE_AUTH_ISSUER_FILE=" + held, "TRUNKLINE_INTERNAL_KEY_FILE=" + secret, "TRUNKLINE_DEV=true",
		}}
		l, err := config.Load(defaults, src)
		again, err2 := config.Load(defaults, src)
		if fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("it is refused with %v, and then with %v", err, err2)
		}
		if err == nil {
			if !reflect.DeepEqual(l, again) {
				t.Fatalf("it is read as %+v, and then as %+v", l, again)
			}
			for _, v := range l.Values() {
				if v.Origin == "" || v.Key == "" || strings.Contains(v.Value, canary) {
					t.Fatalf("a value is %+v", v)
				}
			}
			return
		}
		problems, ok := errors.AsType[config.Problems](err)
		if !ok || len(problems) == 0 || strings.Contains(err.Error(), canary) {
			t.Fatalf("the refusal is %#v", err)
		}
		for _, p := range problems {
			if p.Text == "" || len(p.Text) > 1024+len(content)+len(value)+len(inFile) {
				t.Errorf("a problem is %+v", p)
			}
		}
	})
}

// FuzzSet gives a setting any text. A value that is taken, and can be shown, is taken again as it is shown.
func FuzzSet(f *testing.F) {
	defaults := app.Default()
	known := defaults.Variables()
	for i := range known {
		f.Add(uint(i), "1") // each kind of value
	}
	f.Fuzz(func(t *testing.T, which uint, text string) {
		i := which % uint(len(known))
		key, c, again := known[i].Key, defaults, defaults
		if err := c.Set(key, text); err != nil {
			if problems, ok := errors.AsType[config.Problems](err); !ok || len(problems) == 0 || problems[0].Text == "" {
				t.Errorf("%s: the refusal of %q is %v", key, text, err)
			}
			return
		}
		shown := c.Variables()[i].Default
		if shown == "" || strings.ContainsAny(shown, "•{:,\"/") {
			return // a secret, or several values, which people read and no machine
		}
		if err := again.Set(key, shown); err != nil || !reflect.DeepEqual(c, again) {
			t.Errorf("%s is %q, which is shown as %q: %v", key, text, shown, err)
		}
	})
}

// FuzzParseSize says that a size is what is written, and is written as what it is.
func FuzzParseSize(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		size, err := config.ParseSize(text)
		if err != nil {
			return
		}
		if again, err := config.ParseSize(size.String()); err != nil || again != size || size < 0 {
			t.Fatalf("%q is %d, written as %s, which is %d, %v", text, size, size, again, err)
		}
		var n, unit float64 = 0, 1
		for suffix, factor := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9} {
			if strings.HasSuffix(text, suffix) {
				unit = factor
			}
		}
		if _, err := fmt.Sscan(strings.TrimRight(text, "KMGiB "), &n); err != nil || math.Abs(n*unit-float64(size)) > 1e-9*float64(size) {
			t.Fatalf("%q is %d, by another reader %g, %v", text, size, n*unit, err)
		}
	})
}
