package main

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
)

// talking are the verbs that talk to a server, with what they need. The others talk to nobody.
var talking = map[string][]string{
	"pub": {"demo", "1"}, "sub": {"demo"}, "receipt": {"users/ada", "x"}, "inbox": {"users/ada"}, "state get": {"demo"}, "state merge": {"demo", "{}"},
	"explain": {"users/ada", "x", "--client", "c"}, "events": nil, "token create": nil, "token inspect": {"x"}, "token revoke": {"--user", "ada"},
	"history": {"demo"}, "presence": {"demo"}, "channels list": nil, "channels create": {"demo"}, "channels delete": {"demo"},
	"legacy session add": {"k", "ada"}, "legacy session rm": {"k"}, "verify": nil,
}

// talkless are the other ones.
var talkless = []string{"serve", "config check", "config env", "config show", "health", "version", "token keygen", "token apikey"}

// verbs are the command lines of all that talk.
func verbs(t *testing.T) [][]string {
	t.Helper()
	var all [][]string
	known := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			walk(c)
			path := strings.TrimPrefix(c.CommandPath(), "trunkline ")
			if c.HasSubCommands() || c.Hidden || slices.Contains(talkless, path) || strings.HasPrefix(path, "completion") {
				continue
			}
			args, ok := talking[path]
			if !ok {
				t.Errorf("%q is not tried; say what it needs", path)
			}
			known++
			all = append(all, append(strings.Fields(path), args...))
		}
	}
	walk((&program{}).root())
	if known != len(talking) {
		t.Errorf("%d verbs talk, %d are named", known, len(talking))
	}
	return all
}

// A word that names no server ends every verb, before anything goes anywhere. Each used to talk to localhost.
func TestServer_isTheOneNamed(t *testing.T) {
	const key = "tlk_secret_key"
	try := func(t *testing.T, says string, env []string, args ...string) {
		t.Helper()
		s := &shell{env: append([]string{"TRUNKLINE_TOKEN=" + key}, env...)}
		r := s.run(t.Context(), "", args...)
		if r.code != exitUsage || !strings.Contains(r.err, says) || strings.Contains(r.err, key) || strings.Contains(r.err, "hunter2") || r.out != "" {
			t.Errorf("%s %s: exit %d, %q, %q; want %q", env, args, r.code, r.err, r.out, says)
		}
	}
	for _, verb := range verbs(t) {
		try(t, "--server", nil, append(slices.Clone(verb), "--server", "push.example.com")...)
		try(t, "TRUNKLINE_SERVER", []string{"TRUNKLINE_SERVER=push.example.com:8443"}, verb...)
		try(t, "--grpc", nil, append(slices.Clone(verb), "--grpc", "push.example.com")...)
		try(t, "TRUNKLINE_GRPC", []string{"TRUNKLINE_GRPC=grpcs://push.example.com:9090"}, verb...)
	}
	for _, server := range []string{
		"push.example.com:8443", "localhost:8080", "::::", "/x", "", "http://", "http://:8080", "https:///x", "https://push.example.com:0",
		"https://push.example.com:99999", "https://push.example.com:x", "https://push.example.com:", "ftp://push.example.com", "//push.example.com",
		"https://ada:hunter2@push.example.com", "https://push.example.com?x=1", "https://push.example.com#x", "https:push.example.com",
		"ada:hunter2@push.example.com", " https://push.example.com", "https://push example.com", "127.0.0.1",
	} {
		try(t, "--server", nil, "pub", "demo", "1", "--server", server)
	}
	for _, target := range []string{
		"push.example.com", ":9090", "push.example.com:", "push.example.com:0", "push.example.com:99999", "unix:/run/x", "dns:///push.example.com:9090",
		"https://push.example.com", "https://push.example.com:9090/x", "passthrough:///x:1", "ada:hunter2@push.example.com:9090", "", "::1:9090",
	} {
		try(t, "--grpc", nil, "pub", "demo", "1", "--grpc", target)
	}
	try(t, "--server names push.example.com and TRUNKLINE_GRPC names localhost", []string{"TRUNKLINE_GRPC=localhost:9090"}, "pub", "demo", "1", "--server", "https://push.example.com")
	for _, internal := range []string{"push.example.com", "http://127.0.0.1:9091", "127.0.0.1:", "127.0.0.1:x", "x@127.0.0.1:9091/"} {
		try(t, "--internal", nil, "health", "--internal", internal)
	}
}

// What is named is what is reached: gRPC of the server's host, in plain text for no URL of TLS.
func TestServer_isReached(t *testing.T) {
	for server, want := range map[string]endpoint{
		"http://push.example.com": {"push.example.com:9090", false}, "https://push.example.com:8443/": {"push.example.com:9090", true},
		"wss://push.example.com/v1/ws": {"push.example.com:9090", true}, "ws://[::1]:8080": {"[::1]:9090", false}, "HTTPS://push.example.com": {"push.example.com:9090", true},
	} {
		if got, err := (&program{server: named{server, "--server"}}).endpoint(); err != nil || got != want {
			t.Errorf("%s: %v, %v", server, got, err)
		}
	}
	for target, want := range map[string]endpoint{
		"push.example.com:9090": {"push.example.com:9090", false}, "https://push.example.com:9090/": {"push.example.com:9090", true},
		"HTTPS://push.example.com:443": {"push.example.com:443", true}, "http://[::1]:9090": {"[::1]:9090", false},
	} {
		p := &program{server: named{text: "http://localhost:8080"}, grpc: named{target, "--grpc"}}
		if got, err := p.endpoint(); err != nil || got != want {
			t.Errorf("%s: %v, %v", target, got, err)
		}
	}
}

// A server that is named by wss:// is never sent the key in plain text.
func TestServer_keepsTheKey(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var heard sync.WaitGroup
	var plain atomic.Bool
	heard.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			if _, err := io.ReadFull(conn, b); err == nil && b[0] != 0x16 { // the record of a TLS handshake
				plain.Store(true)
			}
			_ = conn.Close()
		}
	})
	s := &shell{env: []string{"TRUNKLINE_TOKEN=tlk_secret_key"}}
	r := s.run(context.WithoutCancel(t.Context()), "", "pub", "demo", "1", "--grpc", "HTTPS://"+l.Addr().String(), "--timeout", "1s")
	_ = l.Close()
	heard.Wait()
	if plain.Load() || r.code == exitDone {
		t.Errorf("exit %d, in plain text %t: %s", r.code, plain.Load(), r.err)
	}
}
