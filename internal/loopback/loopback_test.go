package loopback_test

import (
	"testing"

	"github.com/trunkline/trunkline/internal/loopback"
)

func TestHost_isThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:8080": true, "127.0.0.1": true, "127.9.9.9:80": true, "[::1]": true, "[::1]:443": true, "::1": true,
		"::ffff:127.0.0.1": true, "[::ffff:127.0.0.1]:80": true,
		"": false, "example.com": false, "localhost.example.com": false, "10.0.0.1:80": false, "0.0.0.0": false, "[2001:db8::1]:80": false,
	} {
		if got := loopback.Host(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

func TestPeer_isThisMachine(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true, "localhost:1": false, "127.0.0.1": false, "10.0.0.1:1": false, "bufconn": false,
	} {
		if got := loopback.Peer(addr); got != want {
			t.Errorf("%q: %t", addr, got)
		}
	}
}
