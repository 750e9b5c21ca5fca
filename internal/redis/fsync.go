package redis

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// fsync is how a server lets us know that a write is on its disk.
type fsync int

const (
	fsyncNone   fsync = iota
	fsyncAlways       // appendfsync always: it answers after the sync
	fsyncWait         // WAITAOF (Redis 7.2 and later)
)

// fsyncKnown is how long what was found out is believed.
const fsyncKnown = 10 * time.Second

// syncs is how a master syncs, as it was found out.
type syncs struct {
	mu  sync.Mutex
	how fsync
	err error
	at  time.Time
}

// fsyncs says how a master syncs; ErrNotDurable when it does not.
func (p *pipe) fsyncs(ctx context.Context, log *slog.Logger) (fsync, error) {
	known := &p.syncs
	known.mu.Lock()
	defer known.mu.Unlock()
	if time.Since(known.at) < fsyncKnown {
		return known.how, known.err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	how, err := syncOf(ctx, p.client)
	if err == nil || errors.Is(err, bus.ErrNotDurable) {
		if err != nil && known.err == nil {
			log.Warn("FSYNCED is refused", slog.String("error", err.Error()))
		}
		known.how, known.err, known.at = how, err, time.Now()
	}
	return how, err
}

func syncOf(ctx context.Context, c *redis.Client) (fsync, error) {
	conf, err := c.ConfigGet(ctx, "append*").Result()
	if forbidden(err) {
		return unasked(ctx, c)
	}
	if err != nil {
		return fsyncNone, bus.ErrStoreUnavailable.Wrap(err)
	}
	if conf["appendonly"] != "yes" {
		return fsyncNone, bus.ErrNotDurable.With("FSYNCED needs a Redis with appendonly yes", map[string]string{"setting": "appendonly"})
	}
	if conf["appendfsync"] == "always" {
		return fsyncAlways, nil
	}
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return fsyncNone, bus.ErrStoreUnavailable.Wrap(err)
	}
	if hasWaitAOF(info) {
		return fsyncWait, nil
	}
	return fsyncNone, bus.ErrNotDurable.With("FSYNCED needs a Redis with appendfsync always, or Redis 7.2 for WAITAOF", map[string]string{"setting": "appendfsync"})
}

// forbidden says whether a server does not let us run a command.
func forbidden(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command")
}

// unasked says how a server syncs that may not be asked for its configuration: WAITAOF, where there is one, does not need it.
func unasked(ctx context.Context, c *redis.Client) (fsync, error) {
	unproved := func(message, setting string) error {
		return bus.ErrNotDurable.With("FSYNCED cannot be proved: "+message, map[string]string{"setting": setting})
	}
	_, err := c.Do(ctx, "waitaof", 1, 0, 1).Result()
	switch {
	case err == nil:
		return fsyncWait, nil
	case forbidden(err):
		return fsyncNone, unproved("the user of Redis may run neither CONFIG GET nor WAITAOF; allow it +config|get", "acl")
	case redis.HasErrorPrefix(err, "WAITAOF cannot be used"):
		return fsyncNone, unproved("it needs a Redis with appendonly yes", "appendonly")
	}
	return fsyncNone, bus.ErrStoreUnavailable.Wrap(err)
}

// hasWaitAOF reads the version out of INFO server.
func hasWaitAOF(info string) bool {
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r")
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a > 7 || a == 7 && b >= 2
}
