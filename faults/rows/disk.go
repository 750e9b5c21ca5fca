package rows

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/trunkline/trunkline/faults/proc"
)

// unkilled lets a write beyond the limit of a file fail, as it does on a disk without room. Otherwise the signal would end Redis.
var unkilled = map[string]string{"redis": `trap "" XFSZ`}

// disks are faults of what Redis writes to.
func disks() []Row {
	return []Row{
		{
			ID: "F20t", Fault: "the disk of Redis is full", How: "no file may grow, for 6 s, twice, and kill -9 after it", Promises: "P1, P6, P18, P23",
			System: proc.Options{Redis: proc.EverySec, Limits: unkilled}, Inject: fullDisk,
		},
		{
			ID: "F21", Fault: "the disk of Redis fails", How: "no file may grow, AOF always, so that Redis ends by itself, 3 times", Promises: "P1-P7",
			System: proc.Options{Limits: unkilled}, Inject: func(ctx context.Context, r *Run) error {
				redis := r.Sys.Redis[0]
				for range r.times(3) {
					if err := room(ctx, redis, "1"); err != nil {
						return err
					}
					select {
					case <-redis.Ended():
					case <-time.After(10 * time.Second):
						return fmt.Errorf("redis goes on, though it cannot write: %w", context.DeadlineExceeded)
					}
					if err := begun(ctx, r, redis); err != nil {
						return err
					}
				}
				return nil
			},
		},
	}
}

// room says how many bytes a file of Redis may have.
func room(ctx context.Context, redis *proc.Redis, most string) error {
	out, err := exec.CommandContext(ctx, "prlimit", "--pid", strconv.Itoa(redis.PID()), "--fsize="+most).CombinedOutput() //nolint:gosec // our own words
	if err != nil {
		return fmt.Errorf("prlimit: %w: %s", err, out)
	}
	return nil
}

func fullDisk(ctx context.Context, r *Run) error {
	redis := r.Sys.Redis[0]
	for range r.times(2) {
		if err := room(ctx, redis, "1:unlimited"); err != nil {
			return err
		}
		start := time.Now()
		if err := r.turnsRed(ctx, "publish", start); err != nil {
			return err
		}
		if err := r.Wait(ctx, 6*time.Second); err != nil {
			return err
		}
		if err := room(ctx, redis, "unlimited"); err != nil {
			return err
		}
		if err := r.again(ctx, "room again", 5); err != nil {
			return err
		}
		if err := r.Wait(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	redis.Kill()
	return begun(ctx, r, redis)
}
