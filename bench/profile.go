package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bench/peer"
)

// record takes CPU and block profiles of the server from now on. The function that it returns waits for them, adds the heap, and
// writes a table of the top of each.
func record(ctx context.Context, t *peer.Trunkline, folder, name string, d time.Duration) func() {
	base := filepath.Join(folder, strings.NewReplacer(" ", "-", "/", "-").Replace(name))
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // to be read by all
		fmt.Fprintln(os.Stderr, "profile:", err)
		return nil
	}
	seconds := max(1, int(d.Seconds()))
	var wg sync.WaitGroup
	for kind, path := range map[string]string{"cpu": "profile", "block": "block"} {
		wg.Go(func() { keep(ctx, t, fmt.Sprintf("/debug/pprof/%s?seconds=%d", path, seconds), base+"."+kind) })
	}
	return func() {
		keep(ctx, t, "/debug/pprof/heap?gc=1", base+".heap")
		wg.Wait()
	}
}

// keep writes a profile and its table.
func keep(ctx context.Context, t *peer.Trunkline, path, base string) {
	b, err := t.Get(ctx, path)
	if err == nil {
		err = os.WriteFile(base+".pprof", b, 0o644) //nolint:gosec // to be read by all
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return
	}
	text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=40", base+".pprof").Output() //nolint:gosec // our own file
	if err == nil {
		err = os.WriteFile(base+".top.txt", text, 0o644) //nolint:gosec // to be read by all
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
	}
}
