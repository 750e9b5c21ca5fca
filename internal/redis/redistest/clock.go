package redistest

import (
	_ "embed" // the source
	bits "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

//go:embed testdata/clock.c
var clockSource []byte

// Clock is what servers that are started with it take for the time: that of the machine, and what it was moved by.
type Clock struct {
	tb    testing.TB
	env   []string
	file  *os.File
	ahead atomic.Int64 // in µs
}

// NewClock makes a clock that was not moved yet. It needs a C compiler, as the race detector does: without one a test is skipped here
// and fails in CI.
func NewClock(tb testing.TB) *Clock {
	tb.Helper()
	folder := dir(tb)
	source, library, path := filepath.Join(folder, "clock.c"), filepath.Join(folder, "clock.so"), filepath.Join(folder, "ahead")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command("cc", "-O1", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		testkit.Missing(tb, fmt.Sprintf("a cc that works (%v: %s)", err, out))
	}
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = file.Close() })
	c := &Clock{tb: tb, file: file, env: []string{"LD_PRELOAD=" + library, "REDISTEST_CLOCK=" + path}}
	c.Advance(0)
	return c
}

// Now returns the time of the servers.
func (c *Clock) Now() time.Time {
	return time.Now().Add(time.Duration(c.ahead.Load()) * time.Microsecond)
}

// Advance moves the time of the servers.
func (c *Clock) Advance(d time.Duration) {
	var b [8]byte
	bits.NativeEndian.PutUint64(b[:], uint64(c.ahead.Add(d.Microseconds())))
	if _, err := c.file.WriteAt(b[:], 0); err != nil {
		c.tb.Fatal(err)
	}
}

// Start is Start for a server that has this clock.
func (c *Clock) Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return start(tb, c.env, args)
}
