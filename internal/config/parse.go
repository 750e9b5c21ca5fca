package config

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/hooks"
	"github.com/trunkline/trunkline/internal/origin"
)

// rules is what the tags of a field say about its values.
type rules struct {
	min, max, kind string
	oneof          []string
	holds          string // the setting whose value is in the file that this one names
}

func rulesOf(f reflect.StructField) rules {
	r := rules{min: f.Tag.Get("min"), max: f.Tag.Get("max"), kind: f.Tag.Get("kind"), holds: f.Tag.Get("holds")}
	if list := f.Tag.Get("oneof"); list != "" {
		r.oneof = strings.Split(list, ",")
	}
	return r
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
)

// typeName says in words what a value of the type is.
func typeName(t reflect.Type) string {
	switch t {
	case durationType:
		return "duration"
	case sizeType:
		return "size"
	case secretType:
		return "secret"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "number"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "mapping"
	case reflect.Pointer:
		return typeName(t.Elem())
	}
	return "text"
}

// parseScalar reads one value from text. Its errors do not repeat secrets.
func parseScalar(t reflect.Type, r rules, text string) (reflect.Value, error) {
	v := reflect.New(t).Elem()
	var err error
	switch {
	case t == durationType:
		var d time.Duration
		if d, err = parseDuration(text); err == nil {
			v.SetInt(int64(d))
			err = between(text, d, r, parseDuration)
		}
	case t == sizeType:
		var s Size
		if s, err = ParseSize(text); err == nil {
			v.SetInt(int64(s))
			err = between(text, s, r, ParseSize)
		}
	case t.Kind() == reflect.String:
		v.SetString(text)
		err = checkText(r, text)
	case t.Kind() == reflect.Bool:
		var b bool
		if b, err = parseBool(text); err == nil {
			v.SetBool(b)
		}
	case t.Kind() == reflect.Int:
		var n int
		if n, err = strconv.Atoi(text); err != nil {
			return v, fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(int64(n))
		err = between(text, n, r, strconv.Atoi)
	case t.Kind() == reflect.Float64:
		var n float64
		if n, err = parseFloat(text); err == nil {
			v.SetFloat(n)
			err = between(text, n, r, parseFloat)
		}
	default:
		err = fmt.Errorf("is a %s", typeName(t))
	}
	return v, err
}

func between[T int | float64 | Size | time.Duration](text string, v T, r rules, parse func(string) (T, error)) error {
	if low, err := parse(r.min); r.min != "" && err == nil && v < low {
		return fmt.Errorf("%s is too small, allowed are %s to %s", text, r.min, r.max)
	}
	if high, err := parse(r.max); r.max != "" && err == nil && v > high {
		return fmt.Errorf("%s is too large, allowed are %s to %s", text, r.min, r.max)
	}
	return nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func parseFloat(s string) (float64, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n != n {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		if _, number := strconv.ParseFloat(s, 64); number == nil {
			return 0, fmt.Errorf("%q has no unit (try \"%ss\")", s, s)
		}
		return 0, fmt.Errorf("%q is not a duration (try \"5s\")", s)
	}
	return d, nil
}

// examples are what people copy from documents; nobody may use them as a secret.
var examples = []string{"secret", "changeme", "change-me", "example", "password", "default", "your-", "trunkline-dev"}

// checkStrength says whether a secret is too short or an example.
func checkStrength(s string) error {
	if len(s) < 32 {
		return fmt.Errorf("%s is shorter than 32 characters (try: openssl rand -base64 48)", hidden)
	}
	lower := strings.ToLower(s)
	for _, e := range examples {
		if strings.HasPrefix(lower, e) {
			return fmt.Errorf("%s is an example from a document (try: openssl rand -base64 48)", hidden)
		}
	}
	if strings.Count(s, s[:1]) == len(s) {
		return fmt.Errorf("%s is one character, repeated (try: openssl rand -base64 48)", hidden)
	}
	return nil
}

// SealingKeySize is how many bytes a key that seals tickets has.
const SealingKeySize = 32

// sealingKey reads a key that seals tickets.
func sealingKey(s string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(key) != SealingKeySize {
		return nil, fmt.Errorf("%s is not %d bytes in base64 (try: openssl rand -base64 %d)", hidden, SealingKeySize, SealingKeySize)
	}
	if bytes.Count(key, key[:1]) == len(key) {
		return nil, fmt.Errorf("%s is one byte, repeated (try: openssl rand -base64 %d)", hidden, SealingKeySize)
	}
	return key, nil
}

func checkText(r rules, s string) error {
	if len(r.oneof) > 0 && !slices.Contains(r.oneof, s) {
		return fmt.Errorf("%q is not known, allowed are %s%s", s, strings.Join(r.oneof, ", "), suggestion(s, r.oneof))
	}
	if s == "" {
		switch r.kind {
		case "required", "origin", "named_origin":
			return fmt.Errorf("is empty")
		case "prefix":
			return fmt.Errorf("is empty: nothing would tell our names from those of others; leave it out for the default")
		}
		return nil
	}
	switch r.kind {
	case "listen":
		return checkListen(s)
	case "target":
		return checkTarget(s)
	case "url":
		return checkURL(s)
	case "origin", "named_origin":
		return checkOrigin(s, r.kind == "origin")
	case "time":
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			return fmt.Errorf("%q is not a time (try \"2026-12-31T00:00:00Z\")", s)
		}
	case "cidr":
		if _, err := netip.ParsePrefix(s); err != nil {
			if _, err := netip.ParseAddr(s); err != nil {
				return fmt.Errorf("%q is not a network (try \"10.0.0.0/8\")", s)
			}
		}
	case "strong":
		return checkStrength(s)
	case "sealing":
		_, err := sealingKey(s)
		return err
	case "webhook":
		return checkWebhookURL(s)
	case "whsec":
		if _, err := hooks.ParseSecret(s); err != nil {
			return fmt.Errorf("%s %w", hidden, err)
		}
	case "redis":
		return checkRedisURL(s)
	case "name", "prefix":
		if len(s) > 64 || strings.ContainsFunc(s, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_.-:", c)
		}) {
			return fmt.Errorf("%q is not a name: up to 64 letters, digits and any of : _ . -, such as eu-1", s)
		}
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not a URL (try \"https://push.example.com\")", s)
	}
	return nil
}

// checkWebhookURL does not repeat the URL: its path or query may be a secret.
func checkWebhookURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("is not a URL (try \"https://api.example.com/trunkline\")")
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("has a user or a fragment; requests are signed instead")
	}
	return nil
}

// checkOrigin says what is wrong with an origin, by the parser that every surface reads it with.
func checkOrigin(s string, every bool) error {
	if s == origin.Every {
		if !every {
			return fmt.Errorf("%q is for all; name the origins here, such as https://app.example.com or https://*.example.com", s)
		}
		return nil
	}
	_, err := origin.Parse(s)
	return err
}
