package gateway

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/trunkline/trunkline/internal/names"
	"github.com/trunkline/trunkline/internal/rest"
)

const maxPath = 2048

// namePart is which part of a path is the name in an address, such as ada in /v1/users/ada/inbox.
const namePart = 3

// named says whether a path has the name of a client, user, group or session, which may be any text.
func named(parts []string) bool {
	if len(parts) <= namePart || parts[1] != "v1" {
		return false
	}
	switch parts[2] {
	case "clients", "users", "groups", "sessions":
		return true
	}
	return false
}

// checkPath refuses what no route and no name can mean, before anything decodes it twice.
func checkPath(u *url.URL) error {
	escaped := u.EscapedPath()
	switch {
	case len(escaped) > maxPath:
		return rest.AddressInvalid("the path is longer than 2048 bytes")
	case !utf8.ValidString(u.Path):
		return rest.AddressInvalid("the path is not UTF-8")
	}
	parts := strings.Split(escaped, "/")
	for i, part := range parts[1:] {
		text, err := url.PathUnescape(part)
		if err != nil {
			return rest.AddressInvalid("the path is not well formed")
		}
		if err := checkPart(text, i+1 == namePart && named(parts)); err != nil {
			return err
		}
	}
	return nil
}

func checkPart(text string, name bool) error {
	switch {
	case name && (text == "." || text == ".."):
		return rest.AddressInvalid("the path has a part . or .., which programs on the way remove; in a name write a dot as %252E")
	case text == "" || text == "." || text == "..":
		return rest.AddressInvalid("the path has an empty part, . or ..")
	case strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return rest.AddressInvalid("the path has a control character or a backslash")
	case name:
		return nil
	case strings.Contains(text, `\`):
		return rest.AddressInvalid("the path has a control character or a backslash")
	case strings.Contains(text, "/"):
		return rest.AddressInvalid("the path has an encoded slash (%2F); the names of channels and topics have no slash")
	}
	return nil
}

// inPath escapes a canonical name for a path, in which a colon may begin a verb.
var inPath = strings.NewReplacer("%", "%25", ":", "%3A")

// spelled returns the URL with the name in its path in canonical form. So a name with a slash is one part of the address.
//
// The URL carries the address as any other value: percent-encoded for the URL. The address has escapes of its own. So the path is
// decoded once for the URL. An escape that is left is one of the address: auth0%7C5f, auth0%257C5f and auth0|5f are the same.
// A percent sign that begins no escape then is a percent sign. So an address may stand in a path as it is written elsewhere.
// The exception is a name that has itself a percent sign and two hex digits: a client escapes its address for the URL.
func spelled(u *url.URL) *url.URL {
	parts := strings.Split(u.EscapedPath(), "/")
	if !named(parts) {
		return u
	}
	id, verb := parts[namePart], ""
	if i := strings.LastIndexByte(id, ':'); i >= 0 && len(parts) == namePart+1 {
		id, verb = id[:i], id[i:]
	}
	text, err := url.PathUnescape(id)
	if err != nil {
		return u
	}
	name, err := names.Parse("name", names.EscapePercent(text))
	if err != nil {
		return u // the service says what is wrong with it
	}
	parts[namePart] = inPath.Replace(name) + verb
	out := *u
	out.RawPath = strings.Join(parts, "/")
	if out.Path, err = url.PathUnescape(out.RawPath); err != nil {
		return u
	}
	return &out
}
