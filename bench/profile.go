package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bench/peer"
)

// record takes profiles of the server from now on; what it returns waits for them and adds the heap.
func record(ctx context.Context, t *peer.Trunkline, folder, name string, d time.Duration) func() {
	base := filepath.Join(folder, strings.NewReplacer(" ", "-", "/", "-").Replace(name))
	seconds := max(1, int(d.Seconds()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		keep(ctx, t, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), base+".cpu.pprof")
	}()
	return func() {
		<-done
		keep(ctx, t, "/debug/pprof/heap?gc=1", base+".heap.pprof")
	}
}

func keep(ctx context.Context, t *peer.Trunkline, path, file string) {
	b, err := t.Get(ctx, path)
	if err == nil {
		err = os.WriteFile(file, b, 0o644) //nolint:gosec // to be read by all
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
	}
}
