package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// loadCertificate reads a certificate and its key, and refuses one that has ended.
func loadCertificate(t TLS) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load %s with %s: %w", t.CertFile, t.KeyFile, err)
	}
	if now := time.Now(); now.After(cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("%s ended on %s", t.CertFile, cert.Leaf.NotAfter.Format(time.DateOnly))
	}
	return &cert, nil
}

func loadPool(path string) (*x509.CertPool, error) {
	pem, err := readFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// certificate is a certificate that follows its files. Handshakes may run concurrently with Run.
type certificate struct {
	files TLS
	log   *slog.Logger
	now   atomic.Pointer[tls.Certificate]
	stamp [2]time.Time // owned by Run once it runs
}

func newCertificate(files TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log}
	c.changed()
	loaded, err := loadCertificate(files)
	if err != nil {
		return nil, err
	}
	c.now.Store(loaded)
	return c, nil
}

// server returns the TLS configuration of a listener.
func (c *certificate) server() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}

// certificateCheck is how often the files are looked at.
const certificateCheck = 2 * time.Second

// Run looks at the files until ctx ends. A pair that cannot be read is logged, and the old one stays.
func (c *certificate) Run(ctx context.Context) error {
	tick := time.NewTicker(certificateCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !c.changed() {
			continue
		}
		loaded, err := loadCertificate(c.files)
		if err != nil {
			c.log.Error("the certificate was changed and cannot be used; the old one stays", "error", err)
			continue
		}
		c.now.Store(loaded)
		c.log.Info("certificate reloaded", "file", c.files.CertFile, "ends", loaded.Leaf.NotAfter)
	}
}

// changed says whether a file is another than at the last call.
func (c *certificate) changed() bool {
	var stamp [2]time.Time
	for i, path := range []string{c.files.CertFile, c.files.KeyFile} {
		if info, err := os.Stat(path); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	differs := stamp != c.stamp
	c.stamp = stamp
	return differs
}
