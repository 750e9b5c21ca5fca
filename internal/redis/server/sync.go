package server

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

// Sync is how a server lets us know that a write is on its disk.
type Sync int

// The ways in which a server lets us know.
const (
	SyncNone   Sync = iota
	SyncAlways      // appendfsync always: it answers after the sync
	SyncWait        // WAITAOF (Redis 7.2 and later)
)

// syncKnown is how long what was found out of a server's disk is believed.
const syncKnown = 10 * time.Second

// Syncs remembers how one server syncs. The zero value is ready to use, by many goroutines at once.
type Syncs struct {
	mu  sync.Mutex // held while the server is asked: others wait for the one answer
	how Sync
	err error
	at  time.Time
}

// Of says how the server syncs, as it was found out lately; ErrNotDurable when it does not. The time to ask it begins with the question.
func (s *Syncs) Of(ctx context.Context, c *redis.Client, within time.Duration, log *slog.Logger) (Sync, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < syncKnown {
		return s.how, s.err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	how, err := syncOf(ctx, c)
	if err == nil || errors.Is(err, bus.ErrNotDurable) { // anything else is not known yet
		// Told at the change, not as often as it is asked.
		if err != nil && s.err == nil {
			log.Warn("FSYNCED is refused", slog.String("error", err.Error()))
		}
		s.how, s.err, s.at = how, err, time.Now()
	}
	return how, err
}

// syncOf says how a server syncs; ErrNotDurable when it does not.
func syncOf(ctx context.Context, c *redis.Client) (Sync, error) {
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
	// A wait of one millisecond shows whether the command is there and permitted.
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
