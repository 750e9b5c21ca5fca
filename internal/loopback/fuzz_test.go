package loopback_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/loopback"
)

// FuzzHost says that a host is this machine by name, or by an address that another reader takes for one of it.
func FuzzHost(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		if loopback.Host(text) {
			host := text
			if h, _, err := net.SplitHostPort(text); err == nil {
				host = h
			}
			host, _, _ = strings.Cut(strings.Trim(host, "[]"), "%")
			if ip := net.ParseIP(host); !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
				t.Errorf("%q is this machine", text)
			}
			if u, err := url.Parse("http://" + text); err == nil && !loopback.Host(u.Host) {
				t.Errorf("%q is this machine, and not in a URL", text)
			}
		}
		if loopback.Peer(text) && !loopback.Host(text) {
			t.Errorf("%q is a peer of this machine, and no host of it", text)
		}
	})
}
