package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Load reads the certificate and its key, and refuses one that has ended.
func (t TLS) Load() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load %s with %s: %w", t.CertFile, t.KeyFile, err)
	}
	if now := time.Now(); now.After(cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("%s ended on %s", t.CertFile, cert.Leaf.NotAfter.Format(time.DateOnly))
	}
	return &cert, nil
}

// LoadPool reads the certificates that others are checked against.
func LoadPool(path string) (*x509.CertPool, error) {
	pem, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

func (c *checking) tls() {
	c.pair("http.tls", c.cfg.HTTP.TLS)
	c.pair("grpc.tls", c.cfg.GRPC.TLS)
	g := c.cfg.GRPC
	if g.ClientCAFile != "" {
		if g.TLS.CertFile == "" {
			c.fail("grpc.client_ca_file", "needs grpc.tls: a caller's certificate comes with TLS")
		}
		if _, err := LoadPool(g.ClientCAFile); err != nil {
			c.fail("grpc.client_ca_file", "%v", err)
		}
	}
	if len(g.ClientScopes) > 0 && g.ClientCAFile == "" {
		c.fail("grpc.client_scopes", "needs grpc.client_ca_file")
	}
	if g.CAFile != "" {
		if _, err := LoadPool(g.CAFile); err != nil {
			c.fail("grpc.ca_file", "%v", err)
		}
	}
}

// pair checks a certificate and its key.
func (c *checking) pair(key string, t TLS) {
	switch {
	case t.CertFile == "" && t.KeyFile != "":
		c.fail(key+".key_file", "cert_file and key_file are set together")
	case t.CertFile != "" && t.KeyFile == "":
		c.fail(key+".cert_file", "cert_file and key_file are set together")
	case t.CertFile != "":
		if _, err := t.Load(); err != nil {
			c.fail(key+".cert_file", "%v", err)
		}
	}
}
