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

// Name returns the name of a channel or topic that stands for a text of an older system; no two texts have the same one. A name
// is its own, unless it begins with "x-". Everything else is "x-" and the text in base64url, or "x-sha256." and its digest where that is too long.
func Name(text string) string { return NameWithin(text, bus.MaxNameLength) }

// NameWithin is Name for a name of at most limit bytes; limit is not less than 73, what a digest takes.
func NameWithin(text string, limit int) string {
	if len(text) <= limit && !strings.HasPrefix(text, coded) && bus.CheckName("name", text) == nil {
		return text
	}
	return codedName(text, limit)
}

func codedName(text string, limit int) string {
	if len(coded)+base64.RawURLEncoding.EncodedLen(len(text)) <= limit {
		return coded + base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	sum := sha256.Sum256([]byte(text))
	return hashed + hex.EncodeToString(sum[:])
}

// TextOf returns the text that a name stands for; the name itself when it stands for none, or for one that is too long.
func TextOf(name string) string {
	if text, ok := decoded(name); ok && Name(text) == name {
		return text
	}
	return name
}

// decoded returns the text of a name that begins with "x-"; false when there is none in it.
func decoded(name string) (string, bool) {
	code, ok := strings.CutPrefix(name, coded)
	if !ok {
		return "", false
	}
	text, err := base64.RawURLEncoding.DecodeString(code)
	return string(text), err == nil && utf8.Valid(text)
}

// Identity returns the name of a client, user, group or session that stands for a text of an older system. No two texts have the
// same one. It is the canonical form of the text, and so the same as the name in a token. Where the text is no name, or begins
// with "x-", it is as in Name.
func Identity(text string) string {
	if !strings.HasPrefix(text, coded) {
		if name, err := bus.NameOf("name", text); err == nil {
			return name
		}
	}
	return codedName(text, bus.MaxNameLength)
}

// IdentityText returns the text that the name of a client, user, group or session stands for. Of a text that is too long it
// returns the name.
func IdentityText(name string) string {
	if text, ok := decoded(name); ok && Identity(text) == name {
		return text
	}
	return bus.RawName(name)
}
