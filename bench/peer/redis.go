package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// folder makes the system's folder, once.
func (g *group) folder() (string, error) {
	if g.dir != "" {
		return g.dir, nil
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	g.dir = dir
	return dir, nil
}

// redis adds a redis-server without persistence.
func (g *group) redis() (addr string, err error) {
	if addr, err = freeAddr(); err != nil {
		return "", err
	}
	return addr, g.redisAt(addr)
}

func (g *group) redisAt(addr string, args ...string) error {
	base, err := g.folder()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	dir := filepath.Join(base, "redis-"+port)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	p, err := start("redis", "redis-server", append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no",
		"--logfile", "redis.log", "--maxclients", "1000",
	}, args...)...)
	if err != nil {
		return err
	}
	g.procs = append(g.procs, p)
	return waitTCP(addr)
}

// masters is how many a Cluster has.
const masters = 3

// cluster adds a Redis Cluster of three masters without replicas, and returns where they are, comma separated.
func (g *group) cluster(ctx context.Context) (string, error) {
	addrs, err := clusterAddrs()
	if err != nil {
		return "", err
	}
	for _, addr := range addrs {
		if err := g.redisAt(addr, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"); err != nil {
			return "", err
		}
	}
	args := append(append([]string{"--cluster", "create"}, addrs...), "--cluster-replicas", "0", "--cluster-yes")
	if out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput(); err != nil { //nolint:gosec // our own words
		return "", fmt.Errorf("create a cluster: %w: %s", err, bytes.TrimSpace(out))
	}
	for _, addr := range addrs {
		if err := waitCluster(ctx, addr); err != nil {
			return "", err
		}
	}
	return strings.Join(addrs, ","), nil
}

// clusterAddrs returns free addresses whose port + 10000, for the bus of the cluster, is a port too.
func clusterAddrs() ([]string, error) {
	var list []string
	for range 100 {
		more, err := freeAddrs(masters)
		if err != nil {
			return nil, err
		}
		for _, addr := range more {
			_, text, _ := net.SplitHostPort(addr)
			if port, _ := strconv.Atoi(text); port < 55_000 && len(list) < masters {
				list = append(list, addr)
			}
		}
		if len(list) == masters {
			return list, nil
		}
	}
	return nil, errors.New("no free ports below 55000 for a cluster")
}

// waitCluster returns when a master knows the others and all slots.
func waitCluster(ctx context.Context, addr string) error {
	host, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		out, _ := exec.CommandContext(ctx, "redis-cli", "-h", host, "-p", port, "cluster", "info").Output() //nolint:gosec // our own words
		if bytes.Contains(out, []byte("cluster_state:ok")) && bytes.Contains(out, fmt.Appendf(nil, "cluster_known_nodes:%d", masters)) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("the cluster is not up after 20 s")
		}
	}
}
