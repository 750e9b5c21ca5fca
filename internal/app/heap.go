package app

import (
	"cmp"
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/config"
)

const (
	// gcNormal is what Go does by itself, in percent: it collects when the heap has doubled.
	gcNormal = 100
	// gcMost is the most that a heap may grow instead, in percent.
	gcMost = 800
	// gcLeast is what may always be allocated, in bytes, so that a process that begins to be busy does not collect at every turn.
	gcLeast = 16 << 20
	// gcHeadroom is the most that is allocated between two collections by this rule, in bytes.
	gcHeadroom = 64 << 20
)

// gcPercent is how much the heap may grow between collections. The process allocated so many bytes in the last second, and keeps
// so many. Its heap may grow by as much as it allocates in half a second, within bounds. Connections here are small, so the heap
// of a busy edge is small, too. By Go's own rule it is collected dozens of times a second, which a publish feels. A process with
// little to do gets Go's rule, and stays small.
func gcPercent(allocated, live uint64) int {
	headroom := min(max(allocated/2, gcLeast), gcHeadroom)
	return int(min(max(100*headroom/max(live, 1), gcNormal), gcMost))
}

// tuneGC keeps to gcPercent until ctx ends, unless the user has decided with GOGC.
func tuneGC(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer debug.SetGCPercent(gcNormal)
	metrics.Read(samples)
	before, percent := samples[0].Value.Uint64(), gcPercent(0, samples[1].Value.Uint64())
	debug.SetGCPercent(percent)
	var rest quiet
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(samples)
		now := samples[0].Value.Uint64()
		if rest.comes(now-before, samples[1].Value.Uint64()) {
			debug.FreeOSMemory()
		}
		next := gcPercent(now-before, samples[1].Value.Uint64())
		before = now
		if next > percent+percent/4 || next < percent-percent/4 { // each change stops the world for a moment
			percent = next
			debug.SetGCPercent(percent)
		}
	}
}

const (
	// restAfter is for how many seconds a process has next to nothing to do before it gives memory back.
	restAfter = 3
	// restAllocates is what it may allocate in each, in bytes.
	restAllocates = 4 << 20
	// restWorth is how much must have been allocated since the last time, and restMost how large the heap may be. A larger one takes
	// long to be collected, and Go gives its memory back by itself.
	restWorth, restMost = 32 << 20, 512 << 20
)

// quiet notices when a process has become quiet: after a storm the heap has garbage that nobody would collect for minutes.
type quiet struct {
	calm int
	used uint64
}

// comes says, once a second, whether now is the time to give memory back.
func (r *quiet) comes(allocated, live uint64) bool {
	r.used += allocated
	r.calm++
	if allocated > restAllocates {
		r.calm = 0
	}
	if r.calm < restAfter || r.used < restWorth || live > restMost {
		return false
	}
	r.used = 0
	return true
}

// fallbackMemory is what a process may use where nothing says how much, in bytes.
const fallbackMemory = 4 << 30

// memoryLimit is how many bytes the store in memory may keep. Go collects when the heap has doubled, and connections need memory too.
func memoryLimit(cfg config.Memory) int64 {
	return cmp.Or(int64(cfg.Limit), usableMemory()/4)
}

// usableMemory is what the process may use: the least of what the machine has, its control group allows, and GOMEMLIMIT says.
func usableMemory() int64 {
	least := int64(math.MaxInt64)
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file) //nolint:gosec // one of the two above
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			least = min(least, n)
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		least = min(least, totalMemory(string(text)))
	}
	least = min(least, debug.SetMemoryLimit(-1))
	if least == math.MaxInt64 {
		return fallbackMemory
	}
	return least
}

// totalMemory reads how much memory the machine has.
func totalMemory(meminfo string) int64 {
	for line := range strings.Lines(meminfo) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "MemTotal:" {
			continue
		}
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			return n << 10
		}
	}
	return math.MaxInt64
}
