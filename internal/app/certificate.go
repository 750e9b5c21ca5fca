package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trunkline/trunkline/internal/config"
)

// certificate is a certificate that follows its files. Handshakes may run concurrently with Run.
type certificate struct {
	files config.TLS
	log   *slog.Logger
	now   atomic.Pointer[tls.Certificate]
	// The certificates that callers' are checked against follow their file too; empty and nil for no callers' certificates.
	clientCA string
	clients  atomic.Pointer[x509.CertPool]

	mu    sync.Mutex
	stamp [3]time.Time
}

func newCertificate(files config.TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log}
	c.changed()
	loaded, err := files.Load()
	if err != nil {
		return nil, err
	}
	c.now.Store(loaded)
	if info, err := os.Stat(files.KeyFile); err == nil && info.Mode().Perm()&othersRead != 0 {
		log.Warn("every user of this machine may read the key of a certificate; chmod o-r takes that away", "file", files.KeyFile)
	}
	return c, nil
}

// othersRead is the bit of a file's mode that lets everybody read it.
const othersRead = 0o004

// trustClients lets callers show a certificate of the CA in the file. One that is not of the CA is refused.
func (c *certificate) trustClients(file string) error {
	pool, err := config.LoadPool(file)
	if err != nil {
		return err
	}
	c.clientCA = file
	c.clients.Store(pool)
	c.changed()
	return nil
}

// server returns the TLS configuration of a listener.
func (c *certificate) server() *tls.Config {
	base := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
	if c.clientCA == "" {
		return base
	}
	base.ClientAuth, base.NextProtos = tls.VerifyClientCertIfGiven, []string{"h2"}
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		own := base.Clone()
		own.ClientCAs = c.clients.Load()
		return own, nil
	}
	return outer
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
		c.follow()
	}
}

// fresh returns the certificate for a connection to a server. Such connections are rare, so each of them looks at the files.
func (c *certificate) fresh() (*tls.Certificate, error) {
	c.follow()
	return c.now.Load(), nil
}

// follow reads the files again when they have changed.
func (c *certificate) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed() {
		return
	}
	loaded, err := c.files.Load()
	if err != nil {
		c.log.Error("the certificate was changed and cannot be used; the old one stays", "error", err)
		return
	}
	if c.clientCA != "" {
		pool, err := config.LoadPool(c.clientCA)
		if err != nil {
			c.log.Error("the CA of clients was changed and cannot be used; the old one stays", "error", err)
			return
		}
		c.clients.Store(pool)
	}
	c.now.Store(loaded)
	c.log.Info("certificate reloaded", "file", c.files.CertFile, "ends", loaded.Leaf.NotAfter)
}

// changed says whether a file is another than at the last call. The caller holds the lock, or is alone.
func (c *certificate) changed() bool {
	var stamp [3]time.Time
	for i, path := range []string{c.files.CertFile, c.files.KeyFile, c.clientCA} {
		if info, err := os.Stat(path); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	differs := stamp != c.stamp
	c.stamp = stamp
	return differs
}
