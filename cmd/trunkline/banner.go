package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/loopback"
)

// banner is what development mode says at its start.
func banner(r app.Running) string {
	scheme, ws := "http", "ws"
	if r.Config.HTTP.TLS.CertFile != "" {
		scheme, ws = "https", "wss"
	}
	http, reach := local(r.HTTP), "loopback only"
	if !loopback.Peer(r.HTTP) {
		reach = "HTTP at " + r.HTTP + ", reached from elsewhere"
	}
	store := "memory"
	where := "everything in memory"
	if r.Config.Redis.URL != "" {
		store, where = "redis", "on Redis"
	}
	var b strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, "  "+format+"\n", args...) }
	b.WriteByte('\n')
	line("trunkline %s   development mode, %s, %s", r.Config.Version, where, reach)
	b.WriteByte('\n')
	line("➜ Welcome page   %s://%s/          (already subscribed to \"demo\")", scheme, http)
	line("➜ WebSocket      %s://%s/v1/ws", ws, http)
	line("➜ REST           %s://%s/v1        docs: /docs   schema: /openapi.json", scheme, http)
	line("➜ gRPC           %s                  reflection on", local(r.GRPC))
	if r.Internal != "" {
		line("➜ Metrics        http://%s/metrics   health: /livez /readyz", local(r.Internal))
	}
	for _, url := range r.LegacyURLs(local) {
		at := strings.LastIndex(url, " ")
		line("➜ %-14s %s", url[:at], url[at+1:])
	}
	b.WriteByte('\n')
	flags := ""
	if http != "localhost:8080" {
		flags += " --server " + scheme + "://" + http
	}
	if local(r.GRPC) != "localhost:9090" {
		flags += " --grpc " + local(r.GRPC)
	}
	line("Say hello:   trunkline pub%s demo '{\"text\":\"hello\"}'", flags)
	line("or:          curl -sX POST %s://%s/v1/channels/demo:publish -d '{\"data\":{\"text\":\"hello\"}}'", scheme, http)
	line("A token:     trunkline token create%s --user ada --sub 'demo' --ttl 1h", flags)
	line("An API key:  %s (thrown away at the end)", r.DevKey)
	b.WriteByte('\n')
	line("Roles: %s   store: %s   ^C stops, twice to force", strings.Join(r.Config.Roles, " "), store)
	b.WriteByte('\n')
	return b.String()
}

// local is an address as this machine reaches it.
func local(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return "localhost:" + port
}
