package load

import (
	"context"
	"runtime"
	"syscall"
	"time"
)

// Pace calls each of the channels in turn, rate times a second, for as long as d; then it closes them. A call carries the time at
// which it was due. Pace waits in a thread of its own. Go's timers wake an idle process up to 1 ms late (netpoll waits in
// whole milliseconds), which would be most of what a message takes. Pace returns the number of calls, or the error of ctx. A
// channel's reader may be late by its capacity.
func Pace(ctx context.Context, rate float64, d time.Duration, to ...chan<- int64) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() {
		for _, c := range to {
			close(c)
		}
	}()
	start := Now()
	for k := 0; ; k++ {
		due := start + int64(float64(k)/rate*float64(time.Second))
		if due-start > int64(d) {
			return k, nil
		}
		for wait := due - Now(); wait > 0; wait = due - Now() {
			ts := syscall.NsecToTimespec(wait)
			_ = syscall.Nanosleep(&ts, nil) // it may be interrupted
		}
		select {
		case to[k%len(to)] <- due:
		case <-ctx.Done():
			return k, ctx.Err()
		}
	}
}
