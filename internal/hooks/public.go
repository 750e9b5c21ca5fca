package hooks

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// reserved are networks that no public receiver is in, besides those that netip tells apart (RFC 6890 and what followed).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// CheckPublic refuses an address, host:port, that is not one of the public internet.
func CheckPublic(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the address of the webhook is not one")
	}
	if !public(ap.Addr()) {
		return errPrivate
	}
	return nil
}

// CheckHost refuses a host of a URL that is certainly not one of the public internet. A name is looked up only when somebody connects.
func CheckHost(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return errPrivate
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		var ok bool
		if a, ok = oldAddress(host); !ok {
			return nil
		}
	}
	if !public(a) {
		return errPrivate
	}
	return nil
}

// oldAddress reads an IPv4 address in the forms of inet_aton(3), which resolvers take too. These are one to four numbers, each
// decimal, octal or hexadecimal. The last one fills the rest.
func oldAddress(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if !strings.HasPrefix(part, "0x") && strings.HasPrefix(part, "0") && len(part) > 1 {
			part = "0o" + part[1:]
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil || strings.Contains(part, "_") {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

var errPrivate = errors.New("the webhook is at an address of a private network or of this host, which allow_private is for")

func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("") // an IPv4 address in an IPv6 one is what it is
	refused := !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()
	for _, p := range reserved {
		refused = refused || p.Contains(a)
	}
	return !refused
}
