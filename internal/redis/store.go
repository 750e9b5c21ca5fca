// Package redis is the store on Redis: a single server, Sentinel or Cluster, from 7.0 on, and
// what speaks the same. Every verb is one script and one round trip; every key has a bound.
package redis

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/links"
	"github.com/trunkline/trunkline/internal/redis/pipes"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// The verbs.
var (
	publishScript       = script("publish", publishPreludes()...)
	pushScript          = pushing("publish")
	readScript          = script("read", source("young"))
	topScript           = script("top")
	beginScript         = script("begin", source("epoch"), source("beginning"))
	beginSetScript      = script("begin_set", source("epoch"), source("beginning"))
	deleteChannelScript = script("delete_channel")
	listChannelScript   = script("list_channel")
	showScript          = script("show", source("entry"))
	proveLifeScript     = script("prove_life")
	beatScript          = script("beat")
	nodesScript         = script("nodes")
	saveTokenScript     = script("save_token")
	saveFamilyScript    = script("save_family")
	exchangeScript      = script("exchange")
	revokeScript        = appending("revoke")
	countScript         = script("count")
	inboxPublishScript  = script("inbox_publish", source("epoch"), source("tight"), source("entry"))
	inboxReadScript     = script("inbox_read", source("device"), source("entry"))
	inboxAckScript      = script("inbox_ack", source("device"))
	inboxSentScript     = script("inbox_sent", source("device"))
	inboxDeniedScript   = script("inbox_denied", source("device"))
	inboxSettleScript   = script("inbox_settle", source("device"))
	inboxJudgeScript    = script("inbox_judge", source("device"))
	dueScript           = script("due", source("device"))
	dueAddScript        = script("due_add", source("device"))
	dueMoveScript       = script("due_move")
	dueStatsScript      = script("due_stats", source("device"))
	watchScript         = script("watch")
	stateScript         = calling("state")
	deleteStateScript   = script("delete_state", source("created"))
	rosterJoinScript    = script("roster_join")
	rosterLoseScript    = script("roster_lose")
	rosterRemoveScript  = script("roster_remove")
	rosterPageScript    = script("roster_page")
	rosterTouchScript   = script("roster_touch")
	silentNodesScript   = script("silent_nodes")
	forgetNodeScript    = script("forget_node")
	valueScript         = script("value", source("values"))
	valueReadScript     = script("value_read", source("values"))
	valueFreeScript     = script("value_free", source("values"))
	aliveScript         = script("alive")
	deadRunsScript      = script("dead_runs")
	takeRunScript       = script("take_run")
	forgetRunScript     = script("forget_run")
	claimScript         = script("cursor_claim")
	advanceScript       = script("cursor_advance")
	releaseScript       = script("cursor_release")
	retainedScript      = script("retained")
)

// Store is a bus.Store on Redis. It connects by itself, again and again; calls made while it
// cannot return ErrStoreUnavailable.
type Store struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil unless it is one
	keys    keys
	cfg     Config
	log     *slog.Logger
	pipes   *pipes.Pipes
	clock   *clock
	heldUp  *heldUp
	foreign *foreign
	garbage *garbage
	lives   server.Lives

	confirmed confirmed

	subscriptions *links.Metrics

	complete atomic.Bool // it was asked since when revocations are complete

	unasked sync.Once // the warning of a server that does not say whether it evicts
}

var (
	_ bus.Store  = (*Store)(nil)
	_ bus.Bridge = (*Store)(nil)
)

// quiet gives go-redis its logger, which is one for the whole process. newest is the log of the store that was opened last.
var (
	quiet  sync.Once
	newest atomic.Pointer[slog.Logger]
)

// libraryLog takes what go-redis says of its connections, which is news only to a reader that looks for it. What a caller has to
// know is in the errors.
type libraryLog struct{}

// Printf logs at the level debug.
func (libraryLog) Printf(ctx context.Context, format string, v ...any) {
	newest.Load().DebugContext(ctx, "redis client", slog.String("said", fmt.Sprintf(format, v...)))
}

// Open returns a store. It fails only when the configuration is wrong: a server that is away is
// reported by Ping and by every call.
func Open(cfg Config, log *slog.Logger) (*Store, error) {
	cfg.Prefix = cmp.Or(cfg.Prefix, DefaultPrefix)
	if strings.ContainsAny(cfg.Prefix, "{}*?[] \n") {
		return nil, fmt.Errorf("redis.prefix: %q may not have braces, spaces or wildcards", cfg.Prefix)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MetaTTL <= 0 {
		cfg.MetaTTL = 30 * 24 * time.Hour
	}
	client, where, err := cfg.open(log)
	if err != nil {
		return nil, err
	}
	newest.Store(log)
	quiet.Do(func() { redis.SetLogger(libraryLog{}) })
	s := &Store{client: client, keys: keys{cfg.Prefix, where.DB}, cfg: cfg, log: log, garbage: newGarbage(cfg.Metrics, log)}
	s.cluster, _ = client.(*redis.ClusterClient)
	if s.cluster != nil {
		// Programs that share channels with addresses know only single servers.
		s.cfg.Aliases = nil
	}
	s.subscriptions = links.NewMetrics(cfg.Metrics)
	s.foreign = newForeign(s)
	s.pipes = pipes.New(pipes.Config{
		Client: client, Timeout: cfg.Timeout, Never: s.keys.never, Script: func(hash string) string { return texts[hash] }, Answered: s.foreign.answered,
		Metrics: cfg.Metrics, Log: log,
	})
	s.heldUp = newHeldUp(s)
	s.clock = &clock{local: cfg.Now, ask: s.askTime, timeout: cfg.Timeout}
	return s, nil
}

// Close ends the store after the calls that are under way.
func (s *Store) Close() error {
	// What runs in the background uses the pipes, and these use the client. They end in this order.
	s.heldUp.close()
	s.foreign.close()
	s.pipes.Close()
	s.clock.close()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// failure gives an error of Redis its reason. The detail is for the log, never for a caller.
func failure(err error) error {
	switch {
	case err == nil:
		return nil
	// A script is refused before it runs, so nothing of it was done.
	case redis.HasErrorPrefix(err, "OOM"):
		return bus.ErrStorageFull.With("Redis uses as much memory as its maxmemory allows; nothing was done", map[string]string{"setting": "maxmemory"}).Wrap(err)
	case redis.HasErrorPrefix(err, "MISCONF"):
		return bus.ErrStorageFull.With("Redis cannot write to its disk and refuses writes; nothing was done", map[string]string{"setting": "dir"}).Wrap(err)
	case redis.HasErrorPrefix(err, "NOREPLICAS"):
		return bus.ErrReplicasMissing.Wrap(err)
	case isForeign(err):
		return bus.ErrStoredForeign.Wrap(err)
	}
	return bus.ErrStoreUnavailable.Wrap(err)
}

// run carries out one script.
func (s *Store) run(ctx context.Context, sc *redis.Script, names []string, args ...any) (*redis.Cmd, error) {
	cmds, err := s.runAll(ctx, []call{{sc, names, args}})
	if err != nil {
		return nil, err
	}
	return cmds[0], cmds[0].Err()
}

// call is a script with its keys and arguments.
type call struct {
	script *redis.Script
	keys   []string
	args   []any
}

// command returns the command of a call, with the script's hash or its text.
func (s *Store) command(ctx context.Context, c *call, verb, first string) *redis.Cmd {
	// A script that goes through all of its KEYS would take the extra name for one of them.
	never := ""
	if s.cluster != nil && len(c.keys) > 0 && !countsKeys(c.script) {
		never = s.keys.never(c.keys[0])
	}
	n := len(c.keys)
	if never != "" {
		n++
	}
	// One list of the right size: this is on the way of every message.
	args := make([]any, 0, 3+n+len(c.args))
	args = append(args, verb, first, n)
	for _, k := range c.keys {
		args = append(args, k)
	}
	if never != "" {
		args = append(args, never)
	}
	args = append(args, c.args...)
	cmd := redis.NewCmd(ctx, args...)
	if len(c.keys) > 0 {
		cmd.SetFirstKeyPos(3)
	}
	return cmd
}

// runAll carries out scripts in one pipeline, through which calls of others go too. The error comes from the whole pipeline's
// context; each command has its own. Where a log is of another life of its server, it is proved first.
func (s *Store) runAll(ctx context.Context, calls []call) ([]*redis.Cmd, error) {
	cmds, err := s.runOnce(ctx, calls)
	if err != nil {
		return nil, err
	}
	return cmds, s.proveLives(ctx, calls, cmds)
}

// runOnce is runAll without asking about lives.
func (s *Store) runOnce(ctx context.Context, calls []call) ([]*redis.Cmd, error) {
	cmds := make([]*redis.Cmd, len(calls))
	todo := make([]redis.Cmder, len(calls))
	for i, c := range calls {
		cmds[i] = s.command(ctx, &c, "evalsha", c.script.Hash())
		todo[i] = cmds[i]
	}
	if err := s.pipes.Do(ctx, todo); err != nil {
		return nil, err
	}
	// A server that does not know a script has not run it: sending its text is no repetition.
	var again []redis.Cmder
	var places []int
	for i, cmd := range cmds {
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			text, err := sourceOf(calls[i].script) // a command for each call
			if err != nil {
				return nil, err
			}
			cmds[i] = s.command(ctx, &calls[i], "eval", text) // a command for each call
			again = append(again, cmds[i])
			places = append(places, i)
		}
	}
	if len(places) > 0 {
		if err := s.pipes.Do(ctx, again); err != nil {
			return nil, err
		}
	}
	return cmds, nil
}
