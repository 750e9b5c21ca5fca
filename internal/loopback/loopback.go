// Package loopback tells what is on this machine from what is not.
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Host says whether a host, as a URL or a Host header spells it, with a port or without one, is this machine.
func Host(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() // a socket of both families shows 127.0.0.1 as ::ffff:127.0.0.1
}

// Peer says whether the address of a connection's other end, or one that a listener has, is on this machine.
func Peer(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
