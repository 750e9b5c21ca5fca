// Package names reads the names of clients, users, groups and sessions, which other people's systems have chosen.
//
// A name is any UTF-8 of 1 to Max bytes without control characters (U+0000 to U+001F and U+007F to U+009F). No Unicode
// normalization is applied: names are the same when their bytes are.
//
// Inside, a name has one form, the canonical one. Every byte outside A-Z a-z 0-9 _ . : @ = + - is a % and two upper-case hex
// digits. So a canonical name is safe in a key, a log line and an address, and two names are the same when their texts are.
//
// There are two ways in, and the place says which one is meant. Of reads a name as its issuer wrote it, where a percent sign is
// nothing special: a claim of a token. Parse reads what a request, a frame, a flag or a setting wrote. There a percent sign
// always begins an escape, and any other character may be escaped or not.
package names

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Max is the longest name, in bytes. An escape counts as the one byte that it stands for.
const Max = 255

// errEscape is a percent sign of a request that begins no escape.
var errEscape = errors.New("a percent sign that is not followed by two hex digits; write a percent sign as %25")

// Of returns the canonical form of the name of a client, user, group or session as its issuer wrote it. The argument what
// names it in the error.
func Of(what, raw string) (string, error) {
	if err := checkRaw(what, raw); err != nil {
		return "", err
	}
	return escape(raw), nil
}

// Parse returns the canonical form of the name of a client, user, group or session. The name is read as a request wrote it:
// percent-encoded, not encoded, or in part. The argument what names it in the error.
func Parse(what, text string) (string, error) {
	raw, at, ok := unescape(text)
	if !ok {
		return "", fmt.Errorf("%s has, at byte %d, %w", what, at, errEscape)
	}
	if err := checkRaw(what, raw); err != nil {
		return "", err
	}
	return escape(raw), nil
}

// Raw returns the name as its issuer wrote it.
func Raw(canonical string) string {
	raw, _, ok := unescape(canonical)
	if !ok {
		return canonical
	}
	return raw
}

// Address returns the canonical form of an address as a caller wrote it. An address that has none, which a server refuses,
// is returned as it is.
func Address(text string) string {
	kind, rest, _ := strings.Cut(text, "/")
	switch kind {
	case "clients", "users", "groups", "sessions":
	default:
		return text
	}
	id, topic, topical := strings.Cut(rest, "/topics/")
	if strings.ContainsAny(id, "/*") {
		return text
	}
	name, err := Parse("name", id)
	switch {
	case err != nil || name == id:
		return text
	case topical:
		return kind + "/" + name + "/topics/" + topic
	}
	return kind + "/" + name
}

// EscapePercent escapes the percent signs of a text that begin no escape, so that Parse reads them as percent signs.
func EscapePercent(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('%')
		if len(after) < 2 || unhex(after[0]) < 0 || unhex(after[1]) < 0 {
			b.WriteString("25")
		}
		text = after
	}
}

func checkRaw(what, raw string) error {
	switch n := len(raw); {
	case n == 0:
		return fmt.Errorf("%s is empty", what)
	case n > Max:
		return fmt.Errorf("%s has %d bytes, the limit is %d", what, n, Max)
	}
	for i, c := range raw {
		switch {
		case c < ' ' || c >= 0x7f && c < 0xa0:
			return fmt.Errorf("%s has the control character %U at byte %d", what, c, i)
		case c == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(raw[i:]); size < 2 {
				return fmt.Errorf("%s is not UTF-8 at byte %d", what, i)
			}
		}
	}
	return nil
}

// plain says whether a byte stands for itself in the canonical form.
func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.:@=+-", c) >= 0
}

const hexDigits = "0123456789ABCDEF"

func escape(raw string) string {
	more := 0
	for i := range len(raw) {
		if !plain(raw[i]) {
			more += 2
		}
	}
	if more == 0 {
		return raw
	}
	b := make([]byte, 0, len(raw)+more)
	for i := range len(raw) {
		if c := raw[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// unescape returns what a text stands for, or where its first percent sign is that begins no escape.
func unescape(text string) (raw string, at int, ok bool) {
	if strings.IndexByte(text, '%') < 0 {
		return text, 0, true
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if i+2 >= len(text) {
				return "", i, false
			}
			high, low := unhex(text[i+1]), unhex(text[i+2])
			if high < 0 || low < 0 {
				return "", i, false
			}
			c, i = byte(high<<4|low), i+2
		}
		b = append(b, c)
	}
	return string(b), 0, true
}

// unhex returns the value of a hex digit, or less than 0.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
