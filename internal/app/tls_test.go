package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// authority signs certificates for a test.
type authority struct {
	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{tb: tb, dir: tb.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	a.key = key
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.tb.Helper()
	// In one step, as a certificate manager does it.
	temporary := a.path(name + ".new")
	if err := os.WriteFile(temporary, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.tb.Fatal(err)
	}
	if err := os.Rename(temporary, a.path(name)); err != nil {
		a.tb.Fatal(err)
	}
}

// issue writes file.pem and file.key for 127.0.0.1 and the name.
func (a *authority) issue(file, name string, serial int64, ends time.Time) config.TLS {
	a.tb.Helper()
	return a.issueNamed(file, []string{name}, serial, ends)
}

// issueNamed is issue for several common names, or none.
func (a *authority) issueNamed(file string, names []string, serial int64, ends time.Time) config.TLS {
	a.tb.Helper()
	subject := pkix.Name{Organization: []string{"test"}}
	for _, name := range names {
		subject.ExtraNames = append(subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: name})
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: ends,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	a.write(file+".key", "PRIVATE KEY", raw)
	a.write(file+".pem", "CERTIFICATE", der)
	return config.TLS{CertFile: a.path(file + ".pem"), KeyFile: a.path(file + ".key")}
}

func (a *authority) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func TestRun_TLS(t *testing.T) {
	ca := newAuthority(t)
	server := ca.issue("server", "server", 10, time.Now().Add(time.Hour))
	h := apptest.Start(t, apptest.With(func(c *config.Config) {
		c.HTTP.TLS, c.GRPC.TLS = server, server
		c.GRPC.ClientCAFile = ca.path("ca.pem")
		c.GRPC.ClientScopes = map[string][]string{"billing": {"publish"}}
	}))
	address := strings.TrimPrefix(h.HTTP, "http://")
	serial := func() int64 {
		conn, err := (&tls.Dialer{Config: ca.trust()}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 10 {
		t.Fatalf("the certificate has serial %d", got)
	}
	t.Run("a caller is who its certificate says", func(t *testing.T) {
		files := ca.issue("billing", "billing", 20, time.Now().Add(time.Hour))
		pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		secured := ca.trust()
		secured.Certificates = []tls.Certificate{pair}
		conn, err := grpc.NewClient(h.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(secured)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := publishv1.NewPublishServiceClient(conn).Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte("1")}); err != nil {
			t.Errorf("publish: %v", err)
		}
		if _, err := authv1.NewAuthServiceClient(conn).IssueToken(t.Context(), &authv1.IssueTokenRequest{}); err == nil {
			t.Error("billing may issue tokens")
		}
	})
	t.Run("a certificate that speaks for nobody is told so", func(t *testing.T) {
		for _, c := range []struct {
			names []string
			says  string
		}{
			{[]string{"shipping"}, `"shipping" has no scopes`}, {[]string{"unknown", "billing"}, "2 common names"}, {nil, "no common name"},
		} {
			err := ca.publish(t, h.GRPC, ca.issueNamed("odd", c.names, 30, time.Now().Add(time.Hour)))
			if reason(err) != "PERMISSION_DENIED" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v: %v", c.names, err)
			}
		}
	})
	t.Run("a new certificate is served without a restart", func(t *testing.T) {
		ca.issue("server", "server", 11, time.Now().Add(time.Hour))
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(15 * time.Second); serial() != 11; {
			select {
			case <-tick.C:
			case <-end:
				t.Fatal("the old certificate is still served")
			}
		}
	})
}

// The CA of callers is read again, as certificates are. A caller of the new one is let in then, and one of the old one is not.
func TestRun_followsTheCAOfClients(t *testing.T) {
	ca, next := newAuthority(t), newAuthority(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	use := func(a *authority) {
		pem, err := os.ReadFile(a.path("ca.pem"))
		testkit.Check(t, err)
		testkit.Check(t, os.WriteFile(file, pem, 0o600))
	}
	use(ca)
	h := apptest.Start(t, apptest.With(func(c *config.Config) {
		c.GRPC.TLS = ca.issue("server", "server", 10, time.Now().Add(time.Hour))
		c.GRPC.ClientCAFile, c.GRPC.ClientScopes = file, map[string][]string{"billing": {"publish"}}
	}))
	old, fresh := ca.issue("old", "billing", 20, time.Now().Add(time.Hour)), next.issue("fresh", "billing", 21, time.Now().Add(time.Hour))
	testkit.Check(t, ca.publish(t, h.GRPC, old))
	if err := ca.publish(t, h.GRPC, fresh); err == nil {
		t.Error("a caller of another CA is let in")
	}
	use(next)
	testkit.Eventually(t, "a caller of the new CA is let in", func() bool { return ca.publish(t, h.GRPC, fresh) == nil })
	if err := ca.publish(t, h.GRPC, old); err == nil {
		t.Error("a caller of the old CA is let in")
	}
}

// publish publishes with a certificate to a server of the authority.
func (a *authority) publish(t *testing.T, server string, files config.TLS) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	testkit.Check(t, err)
	secured := a.trust()
	secured.Certificates = []tls.Certificate{pair}
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(credentials.NewTLS(secured)))
	testkit.Check(t, err)
	defer func() { _ = conn.Close() }()
	_, err = publishv1.NewPublishServiceClient(conn).Publish(t.Context(), &publishv1.PublishRequest{To: "channels/demo", Data: []byte("1")})
	return err
}

// A key that everybody may read is warned of once, and served with.
func TestRun_WarnsOfAKeyThatEverybodyMayRead(t *testing.T) {
	a := newAuthority(t)
	files := a.issue("open", "edge", 2, time.Now().Add(time.Hour))
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		testkit.Check(t, os.Chmod(files.KeyFile, mode))
		d := apptest.Start(t, apptest.With(func(c *config.Config) { c.HTTP.TLS = files }))
		if n := strings.Count(d.Processes[0].Log(), "may read the key of a certificate"); n != want {
			t.Errorf("%o: %d warnings, want %d", mode, n, want)
		}
	}
}

func TestRun_RefusesACertificateThatHasEnded(t *testing.T) {
	ca := newAuthority(t)
	old := ca.issue("old", "server", 1, time.Now().Add(-time.Minute))
	_, err := app.Load(config.Sources{Flags: []config.Flag{
		{Name: "--dev", Key: "dev", Text: "true"},
		{Name: "--set", Key: "http.tls.cert_file", Text: old.CertFile},
		{Name: "--set", Key: "http.tls.key_file", Text: old.KeyFile},
	}})
	if err == nil || !strings.Contains(err.Error(), "ended on") {
		t.Errorf("Load = %v", err)
	}
}
