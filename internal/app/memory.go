package app

import (
	"cmp"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/trunkline/trunkline/internal/config"
)

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
