package badinput_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

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
