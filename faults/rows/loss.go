package rows

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
	"github.com/trunkline/trunkline/faults/workload"
	"github.com/trunkline/trunkline/internal/judge"
)

// destroyed is what is right when history is destroyed on purpose. There are gaps, and publishes are repeated after their key was
// lost. Messages come again after their ack was lost.
var destroyed = map[judge.Count]int{judge.Declared: Any, judge.Moved: Any, judge.Inverted: Any, judge.Missing: Any, judge.AfterAck: Any}

// loss are faults that destroy what Redis keeps.
func loss() []Row {
	return []Row{
		{
			ID: "F11", Fault: "Redis loses the end of its file", How: "kill -9, the last 64 KiB of the AOF are cut off, start", Promises: "P2, P7",
			Allow: destroyed, Inject: func(ctx context.Context, r *Run) error {
				redis := r.Sys.Redis[0]
				redis.Kill()
				if err := cutFile(redis.Dir, 64<<10); err != nil {
					return err
				}
				return begun(ctx, r, redis)
			},
		},
		{
			ID: "F12", Fault: "Redis is emptied", How: "FLUSHALL, 3 times", Promises: "P2, P7", Allow: destroyed,
			Inject: func(ctx context.Context, r *Run) error {
				for range r.times(3) {
					if _, err := r.Sys.Redis[0].CLI(ctx, "flushall"); err != nil {
						return err
					}
					if err := r.Wait(ctx, 3*time.Second); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			ID: "F12s", Fault: "Redis is emptied while all resume", How: "FLUSHALL, 8 times", Promises: "P2-P4", Allow: destroyed,
			Load: stormy, Inject: func(ctx context.Context, r *Run) error {
				for range r.times(8) {
					if _, err := r.Sys.Redis[0].CLI(ctx, "flushall"); err != nil {
						return err
					}
					if err := r.Wait(ctx, 1500*time.Millisecond); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			ID: "F12n", Fault: "Redis without a file crashes", How: "kill -9, start", Promises: "P2, P7", Allow: destroyed,
			System: proc.Options{Redis: proc.NoFile}, Inject: func(ctx context.Context, r *Run) error {
				r.Sys.Redis[0].Kill()
				return begun(ctx, r, r.Sys.Redis[0])
			},
		},
		{
			ID: "F10s", Fault: "Redis crashes, synced each second", How: "kill -9, start, 3 times", Promises: "P1 or a gap", Allow: destroyed,
			System: proc.Options{Redis: proc.EverySec}, Inject: restarts(3),
		},
	}
}

// redisStates are states that Redis gets into, in which it loses nothing.
func redisStates() []Row {
	return []Row{
		{
			ID: "F37", Fault: "Redis crashes while it rewrites its file", How: "BGREWRITEAOF, kill -9, 3 times", Promises: "P1",
			Inject: func(ctx context.Context, r *Run) error {
				for range r.times(3) {
					if _, err := r.Sys.Redis[0].CLI(ctx, "bgrewriteaof"); err != nil {
						return err
					}
					if err := restart(ctx, r, 500*time.Millisecond); err != nil {
						return err
					}
					if err := r.Wait(ctx, 2*time.Second); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			ID: "F20", Fault: "Redis is full", How: "maxmemory is below what it has, for 4 s, twice", Promises: "P6, P18, P23", Inject: full,
		},
		{
			ID: "F20d", Fault: "connections of Redis are killed", How: "CLIENT KILL of subscribers and of others, 10 times each", Promises: "P1-P5", Inject: killed,
		},
		{
			ID: "F20s", Fault: "Redis forgets its scripts", How: "SCRIPT FLUSH, 40 times", Promises: "P3", Inject: func(ctx context.Context, r *Run) error {
				for range r.times(40) {
					if _, err := r.Sys.Redis[0].CLI(ctx, "script", "flush"); err != nil {
						return err
					}
					if err := r.Wait(ctx, 100*time.Millisecond); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{ID: "F19p", Fault: "Redis stands still", How: "CLIENT PAUSE of all, of writes, and DEBUG SLEEP, 3 s each", Promises: "P3, P18", Inject: still},
	}
}

// stormy lets everybody leave and resume several times a second.
func stormy(o *workload.Options) {
	o.Stay, o.Leave, o.Away, o.Apps, o.Members = 0, 30, 150*time.Millisecond, 4, 0
}

// begun starts Redis again, and waits until messages pass.
func begun(ctx context.Context, r *Run, redis *proc.Redis) error {
	if err := redis.Start(ctx); err != nil {
		return err
	}
	if err := r.again(ctx, "Redis is back", 5); err != nil {
		return err
	}
	return r.Wait(ctx, 4*time.Second)
}

func restarts(n int) func(ctx context.Context, r *Run) error {
	return func(ctx context.Context, r *Run) error {
		for range r.times(n) {
			if err := restart(ctx, r, time.Second); err != nil {
				return err
			}
			if err := r.Wait(ctx, 2*time.Second); err != nil {
				return err
			}
		}
		return nil
	}
}

// cutFile removes the end of the newest part of an AOF.
func cutFile(dir string, n int64) error {
	names, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("there is no AOF in %s: %w", dir, os.ErrNotExist)
	}
	last := names[len(names)-1]
	info, err := os.Stat(last)
	if err != nil {
		return err
	}
	return os.Truncate(last, max(info.Size()-n, 0))
}

func full(ctx context.Context, r *Run) error {
	redis := r.Sys.Redis[0]
	for range r.times(2) {
		if _, err := redis.CLI(ctx, "config", "set", "maxmemory", "1mb"); err != nil {
			return err
		}
		start := time.Now()
		if err := r.turnsRed(ctx, "publish", start); err != nil {
			return err
		}
		if err := r.Wait(ctx, 4*time.Second); err != nil {
			return err
		}
		if _, err := redis.CLI(ctx, "config", "set", "maxmemory", "0"); err != nil {
			return err
		}
		if err := r.again(ctx, "room again", 5); err != nil {
			return err
		}
		if err := r.Wait(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func killed(ctx context.Context, r *Run) error {
	for i := range 2 * r.times(10) {
		if _, err := r.Sys.Redis[0].CLI(ctx, "client", "kill", "type", []string{"pubsub", "normal"}[i%2]); err != nil {
			return err
		}
		if err := r.Wait(ctx, 400*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func still(ctx context.Context, r *Run) error {
	for _, args := range [][]string{{"client", "pause", "3000", "all"}, {"client", "pause", "3000", "write"}, {"debug", "sleep", "3"}} {
		if _, err := r.Sys.Redis[0].CLI(ctx, args...); err != nil {
			return err
		}
		if err := r.again(ctx, args[0]+" "+args[1], 4); err != nil {
			return err
		}
		if err := r.Wait(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}
