package peer

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops is how many elements of a header are read. More proxies are not in a row.
const maxHops = 32

// elements reads the elements of a list from its end, where the nearest proxy wrote. What a caller wrote before that cannot
// hide it, not even with a quote that it never closes.
type elements struct {
	text  string
	hop   func(element string) string
	count int
}

func xForwardedFor(r *http.Request) *elements {
	return &elements{text: strings.Join(r.Header.Values("X-Forwarded-For"), ","), hop: func(s string) string { return s }}
}

func forwarded(r *http.Request) *elements {
	return &elements{text: strings.Join(r.Header.Values("Forwarded"), ","), hop: forOf}
}

// next returns the hop of the last element that was not returned yet; false when there is none. Empty elements are skipped
// (RFC 9110, section 5.6.1).
func (e *elements) next() (string, bool) {
	for e.text != "" && e.count < maxHops {
		e.count++
		i := lastOutside(e.text, ',')
		element := strings.Trim(e.text[i+1:], " \t")
		e.text = e.text[:max(i, 0)]
		if element != "" {
			return e.hop(element), true
		}
	}
	return "", false
}

// lastOutside returns the index of the last separator that is in no quoted string, read from the end; -1 when there is none.
func lastOutside(s string, separator byte) int {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !escaped(s, i):
			quoted = !quoted
		case s[i] == separator && !quoted:
			return i
		}
	}
	return -1
}

// escaped says whether an odd number of backslashes stands before a byte.
func escaped(s string, i int) bool {
	n := 0
	for i--; i >= 0 && s[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// forOf returns the parameter for of an element of Forwarded (RFC 7239, section 4). It is empty when there is none, or more
// than one.
func forOf(element string) string {
	found := ""
	for rest := element; rest != ""; {
		i := lastOutside(rest, ';')
		name, value, ok := strings.Cut(strings.Trim(rest[i+1:], " \t"), "=")
		rest = rest[:max(i, 0)]
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "for") {
			continue
		}
		if found != "" {
			return ""
		}
		found = strings.TrimSpace(value)
	}
	return found
}

// parse reads an address as proxies write them: with a port or without one, in brackets, in quotes, with a zone. False stands
// for what is no address, such as unknown and the _names of RFC 7239.
func parse(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t")
	if inner, ok := strings.CutPrefix(text, `"`); ok {
		inner, ok = strings.CutSuffix(inner, `"`)
		if !ok {
			return netip.Addr{}, false
		}
		text = strings.Trim(strings.ReplaceAll(inner, `\`, ""), " \t")
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		address, port, ok := strings.Cut(inner, "]")
		if !ok || port != "" && !isPort(port) || !strings.Contains(address, ":") {
			return netip.Addr{}, false
		}
		return plain(address)
	}
	if a, ok := plain(text); ok {
		return a, true
	}
	if i := strings.LastIndexByte(text, ':'); i >= 0 && isPort(text[i:]) {
		return plain(text[:i])
	}
	return netip.Addr{}, false
}

// isPort says whether text is a colon and a port, or the hidden name of one.
func isPort(text string) bool {
	port, ok := strings.CutPrefix(text, ":")
	if !ok || port == "" || len(port) > 16 {
		return false
	}
	if port[0] == '_' {
		return true
	}
	return !strings.ContainsFunc(port, func(c rune) bool { return c < '0' || c > '9' })
}

// plain reads an address without anything around it. A zone means something to the proxy alone.
func plain(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, false
	}
	return a.WithZone("").Unmap(), true
}
