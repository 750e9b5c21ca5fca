// Package app puts the rooms together: it reads the configuration, opens the store, and runs the roles of one
// process. It is the only place that knows everyone.
package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/telemetry"
)

// Options is what a caller of Run may want besides the configuration.
type Options struct {
	// Log is where logs go; stderr by default.
	Log io.Writer
	// Started is called once everything listens.
	Started func(Running)
}

// Running says where a process listens; empty where it does not.
type Running struct {
	Config config.Config
	// HTTP, GRPC and Internal are host:port as bound.
	HTTP, GRPC, Internal string
	// Legacy is where the older protocols listen, by the key of the setting that says so.
	Legacy map[string]string
	// DevKey is the throw-away API key of development mode.
	DevKey string
	// Connections returns how many WebSocket connections there are.
	Connections func() int64
}

// TakeLogs makes libraries speak in the log of Run. A program calls it before anything else.
func TakeLogs() { telemetry.TakeLibraries() }

// Run runs the roles of the configuration until ctx ends, then stops: clients are told to move, open calls
// finish, the store is closed last. It returns nil after a clean stop, and an error that says what was cut off when the
// grace was over.
func Run(ctx context.Context, cfg config.Config, options Options) (err error) {
	cfg = complete(cfg)
	tel, err := newTelemetry(cfg, options.Log)
	if err != nil {
		return err
	}
	m, end := newMoments(ctx)
	defer end()
	p, err := newProcess(m, cfg, tel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.closers.close()) }()
	if err := p.listen(m.front); err != nil {
		return err
	}
	b, back := errgroup.WithContext(m.back)
	f, front := errgroup.WithContext(m.front)
	// When a service fails, clients are told to move; when anything of theirs fails, readiness says that the process stops.
	defer context.AfterFunc(back, m.stopFront)()
	defer context.AfterFunc(front, m.stop)()
	f.Go(func() error { m.delay(front, cfg.ShutdownDelay, tel.Log); return nil })
	p.runBack(m.stopping, back, b)
	p.runFront(m.stopping, front, f)
	running := p.running()
	if options.Started != nil {
		options.Started(running)
	}
	tel.Log.Info("started", "roles", cfg.Roles, "node", cfg.Node, "store", cfg.Store(), "version", cfg.Version,
		"http", running.HTTP, "grpc", running.GRPC, "internal", running.Internal)
	err = f.Wait()
	tel.Log.Info("stopping")
	m.stopBack()
	return errors.Join(err, b.Wait())
}

// newTelemetry returns the log, which goes to output or to stderr, and the metrics.
func newTelemetry(cfg config.Config, output io.Writer) (*telemetry.Telemetry, error) {
	return telemetry.New(telemetry.Config{Level: cfg.Log.Level, Format: cfg.Log.Format, Output: output, Version: cfg.Version})
}

// complete fills in what a process makes for itself.
func complete(c config.Config) config.Config {
	if len(c.Roles) == 0 {
		c.Roles = config.Roles()
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Node == "" {
		host, _ := os.Hostname()
		if !config.IsName(host) || len(host) > 40 {
			host = "node"
		}
		c.Node = host + "-" + random(4)
	}
	if c.InternalKey == "" {
		c.InternalKey = config.Secret(random(32))
	}
	return c
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
