package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// upgrade sends a WebSocket handshake as it is written, and returns the status of the answer. The connection stays open until
// the test ends.
func upgrade(tb testing.TB, url, version string, header ...string) (int, string) {
	tb.Helper()
	return upgradeBehind(tb, "", url, version, header...)
}

// upgradeBehind is upgrade over a connection that begins with something else.
func upgradeBehind(tb testing.TB, before, url, version string, header ...string) (int, string) {
	tb.Helper()
	address := strings.TrimPrefix(url, "http://")
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", address)
	testkit.Check(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	lines := append([]string{
		"GET /v1/ws " + version, "Host: " + address, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, header...)
	_, err = io.WriteString(conn, before+strings.Join(lines, "\r\n")+"\r\n\r\n")
	testkit.Check(tb, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	testkit.Check(tb, err)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	testkit.Check(tb, err)
	return resp.StatusCode, string(body)
}

const http11 = "HTTP/1.1"

// Pages and apps connect from the origins of the settings, and those of no other spelling.
func TestDoors_origins(t *testing.T) {
	const list = "https://app.example,https://*.shop.example,capacitor://localhost,tauri://localhost,ionic://,file://"
	h := apptest.Start(t, apptest.Setting(t, "edge.allowed_origins", list), apptest.Setting(t, "http.allowed_origins", list))
	for origin, want := range map[string]bool{
		"https://app.example": true, "https://APP.example:443": true, "https://eu.shop.example": true,
		"capacitor://localhost": true, "tauri://localhost": true, "ionic://": true, "file://": true,
		"https://app.example#": false, "https://a.b.shop.example": false, "https://shop.example": false, "https://x/.shop.example": false,
		"http://app.example": false, "null": false, "ionic://localhost": false, "https://app.example.evil": false,
	} {
		status, body := upgrade(t, h.HTTP, http11, "Origin: "+origin)
		if want != (status == http.StatusSwitchingProtocols) || !want && !strings.Contains(body, "ORIGIN_REFUSED") {
			t.Errorf("WebSocket from %s: %d %s", origin, status, body)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.HTTP+"/v1/keys", nil)
		testkit.Check(t, err)
		req.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(req)
		testkit.Check(t, err)
		testkit.Check(t, resp.Body.Close())
		if got := resp.Header.Get("Access-Control-Allow-Origin"); want && got != origin || !want && got != "" {
			t.Errorf("REST from %s: allowed %q", origin, got)
		}
	}
}

// What libraries add to a request is allowed in a preflight, whatever it is; the methods and the time to remember are said.
func TestDoors_preflight(t *testing.T) {
	h := apptest.Start(t, apptest.Setting(t, "http.allowed_origins", "https://app.example"))
	for _, headers := range []string{
		"authorization,cache-control,last-event-id", "authorization,content-type,x-requested-with", "baggage,sentry-trace,traceparent",
		"x-user-agent,x-grpc-web,pragma,expires,accept-language",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, h.HTTP+"/v1/channels/a/stream", nil)
		testkit.Check(t, err)
		req.Header.Set("Origin", "https://app.example")
		req.Header.Set("Access-Control-Request-Method", "GET")
		req.Header.Set("Access-Control-Request-Headers", headers)
		resp, err := http.DefaultClient.Do(req)
		testkit.Check(t, err)
		testkit.Check(t, resp.Body.Close())
		got := resp.Header
		if got.Get("Access-Control-Allow-Origin") != "https://app.example" || got.Get("Access-Control-Allow-Headers") != headers ||
			got.Get("Access-Control-Max-Age") != "7200" || got.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(got.Get("Vary"), "Origin") {
			t.Errorf("%s: %v", headers, got)
		}
	}
}

// Behind a proxy each person is counted alone, however the proxy writes addresses; a network of IPv6 is one person.
func TestDoors_countsPeople(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		people       [3]string // of which the third is one connection too many for the first two
		want         [3]int
	}{
		{"ports", "X-Forwarded-For: %s", [3]string{"198.51.100.1:40001", "198.51.100.2:40002", "198.51.100.3:40003"}, [3]int{101, 101, 101}},
		{"one person", "X-Forwarded-For: %s", [3]string{"198.51.100.1:40001", "198.51.100.1", "[::ffff:198.51.100.1]:3"}, [3]int{101, 101, 429}},
		{"one network", "X-Forwarded-For: %s", [3]string{"2001:db8::1", "[2001:db8::2]:1", "2001:db8::ffff:0:3"}, [3]int{101, 101, 429}},
		{"three networks", "X-Forwarded-For: %s", [3]string{"2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"}, [3]int{101, 101, 101}},
	} {
		h := apptest.Start(t, apptest.Setting(t, "http.trusted_proxies", "127.0.0.0/8"), apptest.Setting(t, "edge.connections_per_ip", "2"))
		for i, person := range tt.people {
			if status, body := upgrade(t, h.HTTP, http11, fmt.Sprintf(tt.header, person)); status != tt.want[i] {
				t.Errorf("%s: connection %d: %d %s", tt.name, i, status, body)
			}
		}
	}
}

// The header that counts is a setting.
func TestDoors_forwarded(t *testing.T) {
	h := apptest.Start(t, apptest.Setting(t, "http.trusted_proxies", "127.0.0.0/8"), apptest.Setting(t, "edge.connections_per_ip", "1"),
		apptest.Setting(t, "http.client_address_header", "forwarded"))
	for i, tt := range []struct {
		header string
		want   int
	}{
		{`Forwarded: for="198.51.100.1:40001";proto=https`, 101},
		{`Forwarded: for="[2001:db8::1]:40001"`, 101},
		{"X-Forwarded-For: 198.51.100.9", 101}, // the proxy itself
		{`Forwarded: for=203.0.113.1, for=198.51.100.1`, 429},
		{"X-Forwarded-For: 198.51.100.10", 429},
	} {
		if status, body := upgrade(t, h.HTTP, http11, tt.header); status != tt.want {
			t.Errorf("connection %d: %d %s", i, status, body)
		}
	}
}

// A handshake is refused that no client of today sends, or that says two things.
func TestDoors_oddHandshakes(t *testing.T) {
	h := apptest.Start(t)
	if status, body := upgrade(t, h.HTTP, "HTTP/1.0"); status != http.StatusUpgradeRequired || !strings.Contains(body, "HTTP/1.1") {
		t.Errorf("HTTP/1.0: %d %s", status, body)
	}
	token := "Authorization: Bearer " + h.Token(t, nil, "channels/*")
	if status, body := upgrade(t, h.HTTP, http11, token); status != http.StatusSwitchingProtocols {
		t.Errorf("a token: %d %s", status, body)
	}
	if status, body := upgrade(t, h.HTTP, http11, token, token); status != http.StatusUnauthorized || !strings.Contains(body, "more than once") {
		t.Errorf("two tokens: %d %s", status, body)
	}
}

// A page sees why its token is refused: the handshake is taken and closed with the code. Other programs are told by status when
// they send a header.
func TestDoors_refusedTokenIsSeen(t *testing.T) {
	h := apptest.Start(t)
	ended := h.Token(t, nil, "channels/*")
	_, err := h.Auth.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: ended}})
	testkit.Check(t, err)
	for token, code := range map[string]int{"x": 4401, ended: 4401} {
		ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), strings.Replace(h.HTTP, "http", "ws", 1)+"/v1/ws?token="+token, nil)
		if err != nil {
			t.Errorf("the handshake is refused: %v", err)
			continue
		}
		testkit.Check(t, resp.Body.Close())
		testkit.Check(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
		for err = nil; err == nil; {
			_, _, err = ws.ReadMessage()
		}
		if !websocket.IsCloseError(err, code) {
			t.Errorf("closed with %v, want %d", err, code)
		}
		testkit.Check(t, ws.Close())
	}
	if status, body := upgrade(t, h.HTTP, http11, "Authorization: Bearer x"); status != http.StatusUnauthorized || !strings.Contains(body, "TOKEN_INVALID") {
		t.Errorf("by header: %d %s", status, body)
	}
}

// Callers keep their connections for longer than the proxies that keep them for 600 s.
func TestDoors_idleTimeout(t *testing.T) {
	h := apptest.Start(t, apptest.Setting(t, "http.idle_timeout", "1s"))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(h.HTTP, "http://"))
	testkit.Check(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET /v1/keys HTTP/1.1\r\nHost: a\r\n\r\n")
	testkit.Check(t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	testkit.Check(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	testkit.Check(t, errors.Join(err, resp.Body.Close()))
	testkit.Check(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection ended with %v", err)
	}
	if d := app.Default().HTTP.IdleTimeout; d <= 600*time.Second {
		t.Errorf("the default is %s", d)
	}
}

// The PROXY protocol says whom a connection comes from, at each listener that is named; a socket goes on behind it.
func TestDoors_proxyProtocol(t *testing.T) {
	h := apptest.Start(t, apptest.Setting(t, "http.trusted_proxies", "127.0.0.0/8,10.0.0.0/8"), apptest.Setting(t, "edge.connections_per_ip", "1"),
		apptest.Setting(t, "proxy_protocol", "http.listen,legacy.rooms.listen"), apptest.Setting(t, "legacy.dialects", "rooms"), apptest.Setting(t, "legacy.open", "true"))
	from := func(address string) string { return "PROXY TCP4 " + address + " 10.0.0.9 40001 443\r\n" }
	for i, tt := range []struct {
		before, header string
		want           int
	}{
		{from("198.51.100.1"), "X-A: b", 101},
		{from("198.51.100.2"), "X-A: b", 101},
		{from("198.51.100.1"), "X-A: b", 429},
		{from("198.51.100.2"), "X-Forwarded-For: 198.51.100.3", 429}, // a client is not believed
		{from("10.0.0.1"), "X-Forwarded-For: 198.51.100.3", 101},     // a proxy behind the proxy is
		{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x04\x0a\x00\x00\x01\x9c\x41\x01\xbb", "X-A: b", 101},
	} {
		if status, body := upgradeBehind(t, tt.before, h.HTTP, http11, tt.header); status != tt.want {
			t.Errorf("connection %d: %d %s", i, status, body)
		}
	}
	token := h.Token(t, nil, "channels/*")
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			_, err = io.WriteString(c, from("198.51.100.7"))
		}
		return c, err
	}}
	ws, resp, err := dialer.DialContext(t.Context(), strings.Replace(h.HTTP, "http", "ws", 1)+"/v1/ws?token="+token, nil)
	testkit.Check(t, err)
	testkit.Check(t, resp.Body.Close())
	defer func() { _ = ws.Close() }()
	testkit.Check(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, connected, err := ws.ReadMessage()
	testkit.Check(t, err)
	testkit.Check(t, ws.WriteMessage(websocket.TextMessage, []byte(`{"id":7,"ping":{}}`)))
	_, pong, err := ws.ReadMessage()
	testkit.Check(t, err)
	if !strings.Contains(string(connected), "connected") || !strings.Contains(string(pong), "pong") {
		t.Errorf("got %s and %s", connected, pong)
	}
	testkit.Check(t, ws.Close())
	testkit.Eventually(t, "the connection is gone", func() bool { return h.Processes[0].Connections() == 4 })
	rooms, resp, err := dialer.DialContext(t.Context(), "ws://"+h.Legacy["rooms.listen"]+"/ws/1", nil)
	if err != nil {
		t.Fatalf("rooms at %v: %v", h.Legacy, err)
	}
	testkit.Check(t, errors.Join(resp.Body.Close(), rooms.Close()))
}

// gRPC reads it too, before TLS and without. The port of HTTP does with TLS.
func TestDoors_proxyProtocolBeforeTLS(t *testing.T) {
	ca := newAuthority(t)
	files := ca.issue("server", "127.0.0.1", 2, time.Now().Add(time.Hour))
	for name, secured := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			h := apptest.Start(t, apptest.Setting(t, "http.trusted_proxies", "127.0.0.0/8"),
				apptest.Setting(t, "proxy_protocol", "grpc.listen,http.listen"), apptest.Setting(t, "streams.per_ip", "1"), apptest.With(func(c *config.Config) {
					if secured {
						c.GRPC.TLS, c.HTTP.TLS = files, files
					}
				}))
			from := "2001:db8::1"
			dial := func(ctx context.Context, _, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if err == nil {
					_, err = io.WriteString(c, "PROXY TCP6 "+from+" 2001:db8::2 40001 443\r\n")
				}
				return c, err
			}
			identity, url := insecure.NewCredentials(), h.HTTP+"/v1/keys"
			if secured {
				identity, url = credentials.NewTLS(ca.trust()), strings.Replace(url, "http", "https", 1)
			}
			for i, caller := range []struct {
				from    string
				limited bool
			}{{"2001:db8::1", false}, {"2001:db8:1::1", false}, {"2001:db8::2", true}} { // the last is in the network of the first
				from = caller.from
				conn, err := grpc.NewClient("passthrough:///"+h.GRPC, grpc.WithTransportCredentials(identity),
					grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) }))
				testkit.Check(t, err)
				defer func() { _ = conn.Close() }()
				bearer := func(credential string) context.Context {
					return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+credential)
				}
				issued, err := authv1.NewAuthServiceClient(conn).IssueToken(bearer(h.AdminKey), &authv1.IssueTokenRequest{User: fmt.Sprint(i)})
				testkit.Check(t, err)
				stream, err := publishv1.NewPublishServiceClient(conn).Consume(bearer(issued.GetToken()), &publishv1.ConsumeRequest{Address: "broadcast"})
				if err := opened(stream, err); isLimit(err, "streams.per_ip") != caller.limited || !caller.limited && err != nil {
					t.Errorf("stream %d: %v", i, err)
				}
			}
			transport := &http.Transport{DialContext: dial, TLSClientConfig: ca.trust()}
			defer transport.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			testkit.Check(t, err)
			resp, err := transport.RoundTrip(req)
			testkit.Check(t, err)
			testkit.Check(t, resp.Body.Close())
			if resp.StatusCode != http.StatusOK {
				t.Errorf("got %s", resp.Status)
			}
		})
	}
}
