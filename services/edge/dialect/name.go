package dialect

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// coded begins a name that stands for a text that is no name, and hashed one that stands for a text that is too long.
	coded  = "x-"
	hashed = "x-sha256."
)

// Name returns the name that stands for a text of an older system; no two texts have the same one. A name is its own, unless
// it begins with "x-". Everything else is "x-" and the text in base64url, or "x-sha256." and its digest where that is too long.
func Name(text string) string { return NameWithin(text, bus.MaxNameLength) }

// NameWithin is Name for a name of at most limit bytes; limit is not less than 73, what a digest takes.
func NameWithin(text string, limit int) string {
	if len(text) <= limit && !strings.HasPrefix(text, coded) && bus.CheckName("name", text) == nil {
		return text
	}
	if len(coded)+base64.RawURLEncoding.EncodedLen(len(text)) <= limit {
		return coded + base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	sum := sha256.Sum256([]byte(text))
	return hashed + hex.EncodeToString(sum[:])
}

// TextOf returns the text that a name stands for; the name itself when it stands for none, or for one that is too long.
func TextOf(name string) string {
	code, ok := strings.CutPrefix(name, coded)
	if !ok {
		return name
	}
	text, err := base64.RawURLEncoding.DecodeString(code)
	if err != nil || !utf8.Valid(text) || Name(string(text)) != name {
		return name
	}
	return string(text)
}
