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
