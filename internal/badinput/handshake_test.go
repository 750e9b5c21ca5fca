package badinput_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// handshake is a WebSocket upgrade as text.
type handshake struct {
	name, want string
	line       string   // "" for GET /v1/ws HTTP/1.1
	without    string   // a header that is left out
	header     []string // in place of those of the same name
	body       string
}

var handshakes = []handshake{
	{name: "as it should be", want: "101"},
	{name: "POST", want: "405", line: "POST /v1/ws HTTP/1.1"},
	{name: "PUT", want: "405", line: "PUT /v1/ws HTTP/1.1"},
	{name: "HEAD", want: "405", line: "HEAD /v1/ws HTTP/1.1"},
	{name: "an invented method", want: "405", line: "GEX /v1/ws HTTP/1.1"},
	{name: "HTTP/1.0", want: "426", line: "GET /v1/ws HTTP/1.0"},
	{name: "HTTP/0.9", want: "400", line: "GET /v1/ws"},
	{name: "HTTP/3.0", want: "505", line: "GET /v1/ws HTTP/3.0"},
	{name: "another path", want: "404", line: "GET /v1/wss HTTP/1.1"},
	{name: "a path with dots", want: "400", line: "GET /v1/ws/../admin HTTP/1.1"},
	{name: "no Upgrade", want: "426", without: "Upgrade"},
	{name: "Upgrade to h2c", want: "426", header: []string{"Upgrade: h2c"}},
	{name: "no Connection", want: "400", without: "Connection"},
	{name: "no version", want: "426", without: "Sec-WebSocket-Version"},
	{name: "version 8", want: "426", header: []string{"Sec-WebSocket-Version: 8"}},
	{name: "version 12", want: "426", header: []string{"Sec-WebSocket-Version: 12"}},
	{name: "no key", want: "400", without: "Sec-WebSocket-Key"},
	{name: "an empty key", want: "400", header: []string{"Sec-WebSocket-Key: "}},
	{name: "a key of 15 bytes", want: "400", header: []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"}},
	{name: "a key of 17 bytes", want: "400", header: []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="}},
	{name: "a key that is no base64", want: "400", header: []string{"Sec-WebSocket-Key: ************************"}},
	{name: "two keys", want: "400", header: []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}},
	{name: "no host", want: "400", without: "Host"},
	{name: "two hosts", want: "400", header: []string{"Host: a", "Host: b"}},
	{name: "a body", want: "400", header: []string{"Content-Length: 2"}, body: "{}"},
	{name: "a header of 64 KiB", want: "431", header: []string{"X-A: " + strings.Repeat("x", 64<<10)}},
	{name: "10,000 headers", want: "431", header: []string{strings.Repeat("X-A: b\r\n", 10_000) + "X-A: b"}},
	{name: "NUL in a header", want: "400", header: []string{"X-A: a\x00"}},
	{name: "another origin", want: "403", header: []string{"Origin: https://evil.example"}},
	{name: "the origin null", want: "403", header: []string{"Origin: null"}},
	{name: "an origin that is none", want: "403", header: []string{"Origin: x"}},
	{name: "an empty origin", want: "403", header: []string{"Origin: "}},
	{name: "an origin with a dot behind", want: "403", header: []string{"Origin: http://localhost."}},
	{name: "an origin that begins like ours", want: "403", header: []string{"Origin: http://localhost.evil.example"}},
	{name: "an origin with a fragment", want: "403", header: []string{"Origin: http://localhost#"}},
	{name: "an origin with a user", want: "403", header: []string{"Origin: http://localhost@evil.example"}},
	{name: "two origins", want: "403", header: []string{"Origin: http://localhost", "Origin: https://evil.example"}},
	{name: "an unknown subprotocol", want: "101", header: []string{"Sec-WebSocket-Protocol: foo"}},
	{name: "an extension that is not spoken", want: "101", header: []string{"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x"}},
	{name: "500 extensions", want: "101", header: []string{"Sec-WebSocket-Extensions: " + strings.Repeat("a, ", 500) + "a"}},
	{name: "an origin in capitals", want: "101", header: []string{"Origin: HTTP://LOCALHOST"}},
	{name: "1,000 subprotocols", want: "101", header: []string{"Sec-WebSocket-Protocol: " + strings.Repeat("a, ", 999) + "b"}},
	{name: "a subprotocol that is no token", want: "101", header: []string{"Sec-WebSocket-Protocol: a b;c"}},
	{name: "a token of 1 MiB as a subprotocol", want: "431", header: []string{"Sec-WebSocket-Protocol: " + strings.Repeat("x", 1<<20)}},
	{name: "two tokens in the query", want: "401", line: "GET /v1/ws?token=x&token=y HTTP/1.1"},
	{name: "another address in a header", want: "101", header: []string{"X-Forwarded-For: 198.51.100.7"}},
	{name: "a token that is none", want: "401", header: []string{"Authorization: Bearer x"}},
	{name: "two tokens", want: "401", header: []string{"Authorization: Bearer x", "Authorization: Bearer y"}},
}

func TestUpgrade(t *testing.T) {
	s := start(t, "WebSocket, upgrade", apptest.Setting(t, "edge.handshake_timeout", "1s"))
	slow := map[string]<-chan string{"silence": s.trickle(t, ""), "a byte of a header each second": s.trickle(t, "GET /v1/ws HTTP/1.1\r\n")}
	for _, h := range handshakes {
		s.row(h.name, h.want, func(t *testing.T) string { return s.upgrade(t, h) })
	}
	for query, want := range map[string]string{
		"token=x": "error TOKEN_INVALID, close 4401", "token=": "error CONNECT_TIMEOUT, close 4408", "token=" + strings.Repeat("x", 9000): "error TOKEN_INVALID, close 4401",
	} {
		s.row("the query "+cut(query), want, func(t *testing.T) string {
			ws := s.socketAt(t, "/v1/ws?"+query)
			return s.farewell(t, ws)
		})
	}
	s.row("no command in time", "error CONNECT_TIMEOUT, close 4408", func(t *testing.T) string {
		ws := s.socket(t, false)
		return s.farewell(t, ws)
	})
	s.row("a frame behind the request, in one segment", "closed", func(t *testing.T) string {
		frame := testkit.ClientFrame(0x81, fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, s.token))
		return s.written(t, handshakeText+"\r\n"+string(frame)) // a client waits for the answer (RFC 6455, section 4.1)
	})
	s.row("TLS on a plain port", "400", func(t *testing.T) string {
		return s.written(t, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"+strings.Repeat("\x00", 160))
	})
	for name, end := range slow {
		s.row(name, "closed within 7 s", func(*testing.T) string { return <-end })
	}
}

// handshakeText is a handshake as it should be, without its last line.
const handshakeText = "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// written writes bytes at once, and returns the status.
func (s *suite) written(t *testing.T, all string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.HTTP, "http://"))
	testkit.Check(t, err)
	defer func() { _ = conn.Close() }()
	testkit.Check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, all)
	testkit.Check(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "closed"
	}
	_ = res.Body.Close()
	return fmt.Sprint(res.StatusCode)
}

// trickle writes a request that never gets ready, a byte each second, and says whether the server ends it.
func (s *suite) trickle(t *testing.T, begin string) <-chan string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.HTTP, "http://"))
	testkit.Check(t, err)
	_, err = io.WriteString(conn, begin)
	testkit.Check(t, err)
	ended := make(chan string, 1)
	go func() {
		defer func() { _ = conn.Close() }()
		for range 7 {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
				ended <- "closed within 7 s"
				return
			}
			if begin != "" {
				_, _ = io.WriteString(conn, "x") // it may have been closed
			}
		}
		ended <- "open"
	}()
	return ended
}

func (s *suite) upgrade(t *testing.T, h handshake) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.HTTP, "http://"))
	testkit.Check(t, err)
	defer func() { _ = conn.Close() }()
	testkit.Check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	line := h.line
	if line == "" {
		line = "GET /v1/ws HTTP/1.1"
	}
	text := line + "\r\n"
	for _, header := range []string{
		"Host: localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	} {
		name, _, _ := strings.Cut(header, ":")
		replaced := slices.ContainsFunc(h.header, func(o string) bool { return strings.HasPrefix(o, name+":") })
		if name != h.without && !replaced {
			text += header + "\r\n"
		}
	}
	for _, header := range h.header {
		text += header + "\r\n"
	}
	sentWith(text)
	go func() { _, _ = io.WriteString(conn, text+"\r\n"+h.body) }()
	method, _, _ := strings.Cut(line, " ")
	var heard strings.Builder
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &heard)), &http.Request{Method: method})
	if err != nil {
		return "closed"
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(res.Body)
		s.agrees(t, res.StatusCode, body)
	}
	s.told(t, heard.String())
	return fmt.Sprint(res.StatusCode)
}

// certificate writes a certificate for a name, which it signs itself, and its key.
func certificate(t *testing.T, name string) config.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	testkit.Check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	testkit.Check(t, err)
	files := config.TLS{CertFile: filepath.Join(t.TempDir(), "tls.pem"), KeyFile: filepath.Join(t.TempDir(), "tls.key")}
	testkit.Check(t, os.WriteFile(files.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	testkit.Check(t, os.WriteFile(files.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return files
}

// secure shakes hands, and returns the connection or what was said in place of it.
func (s *suite) secure(t *testing.T, cfg *tls.Config) (*tls.Conn, string) {
	t.Helper()
	plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.HTTP, "http://"))
	testkit.Check(t, err)
	t.Cleanup(func() { _ = plain.Close() })
	testkit.Check(t, plain.SetDeadline(time.Now().Add(10*time.Second)))
	conn := tls.Client(plain, cfg)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		return nil, err.Error()
	}
	return conn, ""
}

func TestTLS(t *testing.T) {
	files := certificate(t, "push.example")
	s := start(t, "TLS", apptest.With(func(c *config.Config) { c.HTTP.TLS = files }))
	for name, row := range map[string]struct {
		cfg  *tls.Config
		want string
	}{
		"TLS 1.1":                      {&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "remote error: tls: protocol version not supported"},
		"a cipher without secrecy":     {&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, "remote error: tls: handshake failure"},
		"another name":                 {&tls.Config{ServerName: "other.example"}, "tls: failed to verify certificate: x509: certificate is valid for push.example, not other.example"},
		"a protocol that nobody talks": {&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"spdy/3"}}, "remote error: tls: no application protocol"},
	} {
		s.row(name, row.want, func(t *testing.T) string {
			_, said := s.secure(t, row.cfg)
			return said
		})
	}
	s.row("HTTP on a TLS port", "400", func(t *testing.T) string { return s.written(t, "GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n") })
	s.row("bytes that are no TLS", "closed", func(t *testing.T) string { return s.written(t, strings.Repeat("\xff", 100)) })
	s.row("a record longer than TLS has", "closed", func(t *testing.T) string { return s.written(t, "\x16\x03\x01\xff\xff"+strings.Repeat("x", 100)) })
	s.row("a handshake over HTTP/2, without CONNECT", "HTTP/2.0 426", func(t *testing.T) string {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+strings.TrimPrefix(s.HTTP, "http://")+"/v1/ws", http.NoBody)
		testkit.Check(t, err)
		req.Header.Set("Sec-Websocket-Version", "13")
		res, err := transport.RoundTrip(req)
		testkit.Check(t, err)
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		testkit.Check(t, err)
		s.told(t, string(body))
		return fmt.Sprint(res.Proto, " ", res.StatusCode)
	})
	s.row("a handshake as it should be", "101", func(t *testing.T) string {
		conn, said := s.secure(t, &tls.Config{InsecureSkipVerify: true})
		if conn == nil {
			return said
		}
		defer func() { _ = conn.Close() }()
		_, err := io.WriteString(conn, handshakeText+"\r\n")
		testkit.Check(t, err)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		testkit.Check(t, err)
		_ = res.Body.Close()
		return fmt.Sprint(res.StatusCode)
	})
}
