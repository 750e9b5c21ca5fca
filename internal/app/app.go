// Package app puts the rooms together: it reads the configuration, opens the store, and runs the roles of one
// process. It is the only place that knows everyone.
package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
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

// Run runs the roles of the configuration until ctx ends, then stops: clients are told to move, open calls
// finish, the store is closed last. It returns nil after a clean stop, and an error that says what was cut off when the
// grace was over.
func Run(ctx context.Context, cfg config.Config, options Options) (err error) {
	cfg = complete(cfg)
	tel, err := telemetry.New(telemetry.Config{
		Level: cfg.Log.Level, Format: cfg.Log.Format, Output: options.Log, Version: cfg.Version,
	})
	if err != nil {
		return err
	}
	if err := checkFiles(cfg); err != nil {
		return err
	}
	h := &process{cfg: cfg, tel: tel, started: time.Now(), run: bus.RunName(cfg.Node, random(6))}
	if cfg.Dev {
		h.devKey, h.devAPIKey = rpc.NewAPIKey("dev", rpc.ScopeAll)
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if h.store, err = openStore(ctx, cfg, tel); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	// The services and what they need outlive the listeners of clients.
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	b, back := errgroup.WithContext(back)
	f, front := errgroup.WithContext(ctx)
	front, stopFront := context.WithCancel(front)
	defer context.AfterFunc(back, stopFront)()
	defer func() {
		stopFront()
		_ = f.Wait()
		stopBack()
		_ = b.Wait()
	}()

	if err := h.buildServices(back, b); err != nil {
		return err
	}
	if err := h.buildFront(front, f); err != nil {
		return err
	}
	if err := h.listen(front); err != nil {
		return err
	}
	h.runBack(back, b)
	h.runFront(front, f)
	if options.Started != nil {
		options.Started(h.running())
	}
	tel.Log.Info("started", "roles", cfg.Roles, "node", cfg.Node, "store", cfg.Store(), "version", cfg.Version,
		"http", h.http.address(), "grpc", h.grpcAddress(), "internal", h.internal.address())
	err = f.Wait()
	tel.Log.Info("stopping")
	stopBack()
	return errors.Join(err, b.Wait())
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

// beat says that this node is alive until ctx ends.
func (h *process) beat(ctx context.Context) error {
	tick := time.NewTicker(bus.NodeTTL / 3)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := h.store.Beat(call, h.node())
		cancel()
		if err != nil && ctx.Err() == nil {
			h.tel.Log.Warn("cannot say that this node is alive", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := h.store.Gone(call, h.run); err != nil {
				h.tel.Log.Warn("cannot say that this node has gone", "error", err.Error())
			}
			return nil
		case <-tick.C:
		}
	}
}

func (h *process) node() bus.Node {
	return bus.Node{Name: h.run, Roles: h.cfg.Roles, Version: h.cfg.Version, Started: h.started, Connections: h.connections()}
}

func (h *process) connections() int64 {
	if h.edge == nil {
		return 0
	}
	return h.edge.Connections()
}
