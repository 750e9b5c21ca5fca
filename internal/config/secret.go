package config

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
)

// Secret is text that no log, error or listing shows.
type Secret string

// hidden stands for every secret.
const hidden = "••••"

// String returns dots, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString returns dots.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue returns dots.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns dots.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1000}, {"MB", 1000 * 1000}, {"GB", 1000 * 1000 * 1000}, {"B", 1},
}

// ParseSize reads a size such as 64KiB, 1MB or 4096.
func ParseSize(s string) (Size, error) {
	number, unit := s, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is not a size (try \"64KiB\" or \"1MiB\")", s)
	}
	return Size(n * unit), nil
}

// String returns the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []int{2, 1, 0} {
		if n := sizeUnits[u]; s != 0 && int64(s)%n.bytes == 0 {
			return strconv.FormatInt(int64(s)/n.bytes, 10) + n.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// credentials are a user and a password in front of a host, as in a URL.
var credentials = regexp.MustCompile(`[^\s"'/:@,]*:[^\s"'/@]+@`)

// withoutCredentials hides them in what is said of a setting. None of ours has a place for a password but those that are a Secret, and
// people put one into others.
func withoutCredentials(text string) string { return credentials.ReplaceAllString(text, "•••@") }
