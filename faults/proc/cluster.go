package proc

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Owned says which slots of a Cluster a master has.
func (*System) Owned(ctx context.Context, master *Redis) (func(slot int) bool, error) {
	out, err := master.CLI(ctx, "cluster", "nodes")
	if err != nil {
		return nil, err
	}
	owned := map[int]bool{}
	for line := range strings.SplitSeq(out, "\n") {
		if !strings.Contains(line, "myself") {
			continue
		}
		for _, part := range strings.Fields(line)[8:] {
			from, to, ok := strings.Cut(part, "-")
			if !ok {
				to = from
			}
			first, err1 := strconv.Atoi(from)
			last, err2 := strconv.Atoi(to)
			for i := first; err1 == nil && err2 == nil && i <= last; i++ {
				owned[i] = true
			}
		}
	}
	return func(slot int) bool { return owned[slot] }, nil
}

// Reshard moves slots of a Cluster from one master to another.
func (s *System) Reshard(ctx context.Context, from, to *Redis, slots int) error {
	if err := s.until(ctx, "the nodes agree", func() bool {
		out, _ := exec.CommandContext(ctx, "redis-cli", "--cluster", "check", from.Addr).CombinedOutput() //nolint:gosec // our own words
		return bytes.Contains(out, []byte("All nodes agree"))
	}); err != nil {
		return err
	}
	ids := make([]string, 2)
	for i, r := range []*Redis{from, to} {
		id, err := r.CLI(ctx, "cluster", "myid")
		if err != nil {
			return err
		}
		ids[i] = id
	}
	out, err := exec.CommandContext(ctx, "redis-cli", "--cluster", "reshard", from.Addr, "--cluster-from", ids[0], "--cluster-to", ids[1], //nolint:gosec // our own words
		"--cluster-slots", strconv.Itoa(slots), "--cluster-yes").CombinedOutput()
	if err != nil {
		return fmt.Errorf("reshard: %w: %s", err, bytes.TrimSpace(out[max(0, len(out)-500):]))
	}
	return nil
}

// Replica starts a replica of a single server.
func (s *System) Replica(ctx context.Context) (*Redis, error) {
	master := s.Redis[0]
	r, err := s.newRedis("replica", "--replicaof", strings.ReplaceAll(master.Addr, ":", " "))
	if err != nil {
		return nil, err
	}
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	return r, s.InStep(ctx, master, 1)
}
