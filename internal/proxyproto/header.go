// Package proxyproto reads the PROXY protocol, versions 1 and 2. A proxy that does not speak HTTP begins each connection with a header
// that says whom it connects for. The specification is in haproxy's doc/proxy-protocol.txt.
package proxyproto

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

const (
	// signature begins a header of version 2.
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	// prefix begins a header of version 1, whose longest line has maxLine bytes.
	prefix  = "PROXY "
	maxLine = 107
	// maxV2 is how long the rest of a header of version 2 may be. What proxies add to the addresses is shorter.
	maxV2 = 4096
)

// errHeader is the end of a connection that begins in another way. A guess what else it may be would let its caller choose.
var errHeader = errors.New("the connection does not begin with a header of the PROXY protocol")

// readHeader reads a header and nothing that comes after it. It returns whom the proxy connects for. The address is not valid when
// the proxy speaks for itself, or for a caller without an IP address. The error is io.EOF when nothing came at all.
func readHeader(r io.Reader) (netip.AddrPort, error) {
	first := make([]byte, len(signature)) // the shortest header is longer
	if _, err := io.ReadFull(r, first); err != nil {
		return netip.AddrPort{}, err
	}
	if string(first) == signature {
		return readV2(r)
	}
	if strings.HasPrefix(string(first), prefix) {
		return readV1(r, first)
	}
	return netip.AddrPort{}, errHeader
}

// readV1 reads the rest of a line, byte by byte, because what follows belongs to somebody else.
func readV1(r io.Reader, line []byte) (netip.AddrPort, error) {
	var one [1]byte
	for !strings.HasSuffix(string(line), "\r\n") {
		if len(line) == maxLine {
			return netip.AddrPort{}, errHeader
		}
		if err := readAll(r, one[:]); err != nil {
			return netip.AddrPort{}, err
		}
		line = append(line, one[0])
	}
	words := strings.Split(string(line[:len(line)-2]), " ")
	if words[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return netip.AddrPort{}, errHeader
	}
	from, err := endpoint(words[1], words[2], words[4])
	if err != nil {
		return netip.AddrPort{}, err
	}
	if _, err = endpoint(words[1], words[3], words[5]); err != nil {
		return netip.AddrPort{}, err
	}
	return from, nil
}

// endpoint reads an address of a family, and a port.
func endpoint(family, address, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || strconv.FormatUint(n, 10) != port || a.Is4() != (family == "TCP4") || a.Zone() != "" {
		return netip.AddrPort{}, errHeader
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

// The commands of version 2, and the families that it knows. A family has the kind of address in its high bits and the transport in its
// low ones.
const (
	cmdLocal, cmdProxy   = 0x20, 0x21
	tcp4, tcp6           = 0x11, 0x21
	lastNet, lastCarrier = 0x3, 0x2
)

// readV2 reads what follows the signature.
func readV2(r io.Reader) (netip.AddrPort, error) {
	var fixed [4]byte
	if err := readAll(r, fixed[:]); err != nil {
		return netip.AddrPort{}, err
	}
	command, family, length := fixed[0], fixed[1], binary.BigEndian.Uint16(fixed[2:])
	if command != cmdLocal && command != cmdProxy || length > maxV2 {
		return netip.AddrPort{}, errHeader
	}
	rest := make([]byte, length)
	if err := readAll(r, rest); err != nil {
		return netip.AddrPort{}, err
	}
	if command == cmdLocal { // a check of the proxy's own, whatever else it says
		return netip.AddrPort{}, nil
	}
	// Two addresses, and two ports where there are any. What follows them are additions of the proxy, which nobody here needs.
	sizes := [...]int{0, 2*4 + 4, 2*16 + 4, 2 * 108}
	if family>>4 > lastNet || family&0xf > lastCarrier || len(rest) < sizes[family>>4] {
		return netip.AddrPort{}, errHeader
	}
	var size int
	switch family {
	case tcp4:
		size = 4
	case tcp6:
		size = 16
	default:
		return netip.AddrPort{}, nil // no TCP: the proxy is whom it comes from
	}
	a, _ := netip.AddrFromSlice(rest[:size]) // fails for no such size
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(rest[2*size:])), nil
}

// readAll fills b. A header that has begun and ends there is not complete.
func readAll(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
