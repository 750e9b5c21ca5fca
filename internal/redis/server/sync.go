package server

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// Sync is how a server lets us know that a write is on its disk.
type Sync int

// The ways in which a server lets us know.
const (
	SyncNone   Sync = iota
	SyncAlways      // appendfsync always: it answers after the sync
	SyncWait        // WAITAOF (Redis 7.2 and later)
)

// SyncOf says how a server syncs; ErrNotDurable when it does not.
func SyncOf(ctx context.Context, c *redis.Client) (Sync, error) {
	conf, err := c.ConfigGet(ctx, "append*").Result()
	if Forbidden(err) {
		return syncUnasked(ctx, c)
	}
	if err != nil {
		return SyncNone, bus.ErrStoreUnavailable.Wrap(err)
	}
	if conf["appendonly"] != "yes" {
		return SyncNone, bus.ErrNotDurable.With("FSYNCED needs a Redis with appendonly yes", map[string]string{"setting": "appendonly"})
	}
	if conf["appendfsync"] == "always" {
		return SyncAlways, nil
	}
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return SyncNone, bus.ErrStoreUnavailable.Wrap(err)
	}
	if hasWaitAOF(info) {
		return SyncWait, nil
	}
	return SyncNone, bus.ErrNotDurable.With("FSYNCED needs a Redis with appendfsync always, or Redis 7.2 for WAITAOF", map[string]string{"setting": "appendfsync"})
}

// syncUnasked says how a server syncs that may not be asked for its configuration: WAITAOF, where there is one, does not need it.
func syncUnasked(ctx context.Context, c *redis.Client) (Sync, error) {
	unproved := func(message, setting string) error {
		return bus.ErrNotDurable.With("FSYNCED cannot be proved: "+message, map[string]string{"setting": setting})
	}
	_, err := c.Do(ctx, "waitaof", 1, 0, 1).Result()
	switch {
	case err == nil:
		return SyncWait, nil
	case Forbidden(err):
		return SyncNone, unproved("the user of Redis may run neither CONFIG GET nor WAITAOF; allow it +config|get", "acl")
	case redis.HasErrorPrefix(err, "WAITAOF cannot be used"):
		return SyncNone, unproved("it needs a Redis with appendonly yes", "appendonly")
	}
	return SyncNone, bus.ErrStoreUnavailable.Wrap(err)
}

// hasWaitAOF reads the version out of INFO server.
func hasWaitAOF(info string) bool {
	major, rest, _ := strings.Cut(Field(info, "redis_version"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a > 7 || a == 7 && b >= 2
}
