package bus

import (
	"fmt"

	"github.com/trunkline/trunkline/internal/names"
)

// NameOf returns the canonical form of the name of a client, user, group or session. The name is read as its issuer wrote it, in
// a claim of a token. The argument what names it in the error.
func NameOf(what, raw string) (string, error) { return names.Of(what, raw) }

// ParseName returns the canonical form of the name of a client, user, group or session. The name is read as a request wrote it:
// percent-encoded, not encoded, or in part. The argument what names it in the error.
func ParseName(what, text string) (string, error) { return names.Parse(what, text) }

// RawName returns the canonical name as its issuer wrote it.
func RawName(canonical string) string { return names.Raw(canonical) }

// ParseNames is ParseName for several. It notes the bad ones by the field and their index.
func ParseNames(bad *Invalid, field, what string, texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	list := make([]string, len(texts))
	for i, text := range texts {
		if bad.full() {
			break // of thousands that are wrong nobody reads more
		}
		canonical, err := ParseName(what, text)
		if err != nil {
			bad.Check(fmt.Sprintf("%s[%d]", field, i), err)
		}
		list[i] = canonical
	}
	return list
}

// Name is ParseName for one field of a request. It notes the field when it is no name; an unset one stays so.
func (v *Invalid) Name(field, text string) string {
	if text == "" {
		return ""
	}
	canonical, err := ParseName(field, text)
	v.Check(field, err)
	return canonical
}
