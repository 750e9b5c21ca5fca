// Package origin says which web pages and apps may connect. It is the one reader of origins, in settings and in what
// browsers send (RFC 6454). So a check and every surface agree on each of them.
package origin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// Every stands in a list for every origin.
	Every = "*"
	// Opaque is the origin of pages that have none, such as those in a sandbox. It is allowed where it is named.
	Opaque = "null"
	// maxOrigin is the longest origin that is read, in bytes: a scheme, the longest host name and a port.
	maxOrigin = 512
	// anyLabel begins the host of a pattern: exactly one label stands in its place.
	anyLabel = "*."
)

// Origin is one origin, or a pattern of some. Two values are equal when they mean the same.
type Origin struct {
	scheme string
	// host is in lower case and in the letters of the DNS. It is empty for the whole of a scheme such as file://.
	host string
	port string // never empty for http and https
	wild bool   // one label before the host is any
}

// Opaque origins are no scheme and host: this one value stands for them.
var opaque = Origin{scheme: Opaque}

// String returns the origin as browsers spell it.
func (o Origin) String() string {
	if o == opaque {
		return Opaque
	}
	host := o.host
	if o.wild {
		host = anyLabel + host
	}
	if o.port == "" || o.port == standardPorts[o.scheme] {
		return o.scheme + "://" + bracket(host)
	}
	return o.scheme + "://" + net.JoinHostPort(host, o.port)
}

func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// Hostname returns the host without its port; empty for an origin without one.
func (o Origin) Hostname() string { return o.host }

// IsWeb says whether it is an origin of http or https, and no app's.
func (o Origin) IsWeb() bool { return standardPorts[o.scheme] != "" }

var standardPorts = map[string]string{"http": "80", "https": "443"}

// errShape is the answer to what has no form of an origin.
var errShape = errors.New("is not an origin, write scheme://host or scheme://host:port, such as https://app.example.com")

// Of reads the origin that a browser or an app sends; false for anything else. A pattern is none.
func Of(text string) (Origin, bool) {
	o, err := parse(text)
	return o, err == nil && !o.wild
}

// Parse reads an origin of a setting, which may be a pattern. Its errors say what to write.
func Parse(text string) (Origin, error) {
	o, err := parse(text)
	switch {
	case err != nil:
		return Origin{}, fmt.Errorf("%.128q %w", text, err)
	case o.wild && !strings.Contains(o.host, ".") && !ownDomains[o.host]:
		return Origin{}, fmt.Errorf("%.128q allows everybody who has a domain below .%s; name the domain", text, o.host)
	}
	return o, nil
}

// ownDomains are top-level domains that nobody can buy a name in (RFC 6761, RFC 6762, RFC 9476 and what ICANN keeps for
// private use).
var ownDomains = map[string]bool{"localhost": true, "test": true, "local": true, "internal": true, "alt": true, "lan": true}

// parse reads an origin byte by byte: a parser of URLs would forgive what is no origin.
func parse(text string) (Origin, error) {
	if text == Opaque {
		return opaque, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || len(text) > maxOrigin || !isScheme(scheme) || !utf8.ValidString(text) {
		return Origin{}, errShape
	}
	o := Origin{scheme: strings.ToLower(scheme)}
	switch {
	case strings.Contains(rest, "@"):
		return Origin{}, errors.New("is not an origin: it has a user; an origin is scheme://host or scheme://host:port")
	case strings.ContainsAny(rest, "/?#\\"):
		return Origin{}, errors.New("is not an origin; leave out what follows the host and port, a last slash too")
	case o.scheme == "ws" || o.scheme == "wss":
		return Origin{}, errors.New("is not an origin of a page, write http:// or https://")
	}
	host, port, err := split(rest)
	if err != nil {
		return Origin{}, err
	}
	if o.host, o.wild, err = hostOf(host); err != nil {
		return Origin{}, err
	}
	o.port = port
	if standard := standardPorts[o.scheme]; standard != "" {
		if o.host == "" {
			return Origin{}, errShape
		}
		if o.port == "" {
			o.port = standard
		}
	}
	return o, nil
}

func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// split takes the port off, and the brackets of an IPv6 address.
func split(s string) (host, port string, err error) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '+' {
			return "", "", fmt.Errorf("is not an origin: its port is %q, allowed are 1 to 65535", port)
		}
		port = strconv.FormatUint(n, 10)
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		ip, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", errShape
		}
		return ip.String(), port, nil
	}
	if strings.ContainsAny(host, "[]:") || host == "" && port != "" {
		return "", "", errShape
	}
	return host, port, nil
}

// dns spells names as browsers do: other alphabets in Punycode (UTS 46).
var dns = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// hostOf spells a host in lower case and in the letters of the DNS, and says whether any label may stand before it.
func hostOf(text string) (host string, wild bool, err error) {
	if strings.Contains(text, ":") {
		return text, false, nil // an IPv6 address
	}
	text, wild = strings.CutPrefix(text, anyLabel)
	if strings.Contains(text, "*") || wild && text == "" {
		return "", false, errors.New("is not an origin: its * stands for no whole label; write it first, as in https://*.example.com")
	}
	if text == "" || text == "." { // app:// and app://. are origins of apps
		return text, wild, nil
	}
	if host, err = dns.ToASCII(text); err != nil || strings.Contains("."+strings.TrimSuffix(host, ".")+".", "..") || !isHost(host) {
		return "", false, errShape
	}
	if wild && isAddress(host) {
		return "", false, errors.New("is not an origin: its * is before an address; it stands for a label of a name")
	}
	return host, wild, nil
}

// isHost says whether a host has only bytes that a name in an origin can have.
func isHost(host string) bool {
	return !strings.ContainsFunc(host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != '~' && c != '%' && c != '+' && c != '='
	})
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
