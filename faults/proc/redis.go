package proc

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

	"github.com/trunkline/trunkline/faults/proxy"
)

// Shape is how Redis is run.
type Shape string

// The shapes of Redis.
const (
	// Always syncs its file before it answers.
	Always Shape = "always"
	// EverySec syncs its file once a second.
	EverySec Shape = "everysec"
	// NoFile keeps nothing on disk.
	NoFile Shape = "none"
	// Sentinel is a master with two replicas and three sentinels.
	Sentinel Shape = "sentinel"
	// Cluster is three masters with a replica each.
	Cluster Shape = "cluster"
)

// Redis is one redis-server.
type Redis struct {
	Process
	Addr string
	Dir  string

	announced string // where others look for it, when that is elsewhere
}

// CLI runs a command at the server.
func (r *Redis) CLI(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	host, port, _ := net.SplitHostPort(r.Addr)
	out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput() //nolint:gosec // our own words
	if err != nil {
		return "", fmt.Errorf("redis-cli %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// Info returns a value that the server says of itself.
func (r *Redis) Info(ctx context.Context, name string) string {
	out, _ := r.CLI(ctx, "info", "all")
	for line := range strings.SplitSeq(out, "\n") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}

// newRedis prepares a server with further arguments.
func (s *System) newRedis(name string, args ...string) (*Redis, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	r := &Redis{Addr: "127.0.0.1:" + port, Dir: dir}
	r.Process = Process{
		Name: name, program: "redis-server", log: filepath.Join(s.Dir, name+".log"), limits: s.options.Limits[name],
		args: append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--repl-diskless-sync-delay", "0"}, args...),
	}
	r.ready = func(ctx context.Context) error {
		out, err := r.CLI(ctx, "ping")
		if err == nil && out != "PONG" {
			err = errors.New(out)
		}
		return err
	}
	s.all = append(s.all, &r.Process)
	s.Redis = append(s.Redis, r)
	return r, nil
}

// startRedis starts what the options ask for, and says where the product finds it.
func (s *System) startRedis(ctx context.Context) error {
	switch s.options.Redis {
	case Sentinel:
		return s.startSentinel(ctx)
	case Cluster:
		return s.startCluster(ctx)
	}
	args := []string{"--appendonly", "no"}
	if s.options.Redis != NoFile {
		args = []string{"--appendonly", "yes", "--appendfsync", string(s.options.Redis)}
	}
	r, err := s.newRedis("redis", append(args, s.options.RedisArgs...)...)
	if err != nil {
		return err
	}
	if err := r.Start(ctx); err != nil {
		return err
	}
	s.url = func(addr string) string { return "redis://" + addr }
	s.storeAt = r.Addr
	return nil
}

// startSentinel starts a master, two replicas, and three sentinels.
func (s *System) startSentinel(ctx context.Context) error {
	master, err := s.newRedis("master", "--appendonly", "yes")
	if err != nil {
		return err
	}
	if err := master.Start(ctx); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(master.Addr)
	for i := range 2 {
		name := "replica" + strconv.Itoa(i+1)
		r, err := s.newRedis(name, "--appendonly", "yes", "--replicaof", host+" "+port)
		if err != nil {
			return err
		}
		if s.options.Announced {
			if err := s.announce(r); err != nil {
				return err
			}
		}
		if err := r.Start(ctx); err != nil {
			return err
		}
	}
	if err := s.InStep(ctx, master, 2); err != nil {
		return err
	}
	var at []string
	for i := range 3 {
		p, addr, err := s.sentinel("sentinel"+strconv.Itoa(i+1), host, port)
		if err != nil {
			return err
		}
		if err := p.Start(ctx); err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, p)
		at = append(at, addr)
	}
	s.url = func(string) string { return "redis+sentinel://" + strings.Join(at, ",") + "/faults" }
	s.SentinelAt = at
	return s.until(ctx, "sentinels know each other and the replicas", func() bool {
		out, _ := cli(ctx, at[0], "sentinel", "master", "faults")
		lines := strings.Split(out, "\n")
		known := map[string]string{}
		for i := 0; i+1 < len(lines); i += 2 {
			known[strings.TrimSpace(lines[i])] = strings.TrimSpace(lines[i+1])
		}
		return known["num-slaves"] == "2" && known["num-other-sentinels"] == "2"
	})
}

// announce lets a replica say that it is where a proxy is.
func (s *System) announce(r *Redis) error {
	p, err := proxy.Start(r.Addr)
	if err != nil {
		return fmt.Errorf("start a proxy: %w", err)
	}
	host, port, _ := net.SplitHostPort(p.Addr())
	r.args = append(r.args, "--replica-announce-ip", host, "--replica-announce-port", port)
	r.announced = p.Addr()
	s.proxies[r.Name] = p
	return nil
}

func (s *System) sentinel(name, host, port string) (*Process, string, error) {
	own, err := freePort()
	if err != nil {
		return nil, "", err
	}
	conf := filepath.Join(s.Dir, name+".conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor faults %s %s 2\nsentinel down-after-milliseconds faults 1000\n"+
		"sentinel failover-timeout faults 6000\n", own, s.Dir, host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, "", fmt.Errorf("write %s: %w", conf, err)
	}
	addr := "127.0.0.1:" + own
	p := &Process{Name: name, program: "redis-server", args: []string{conf, "--sentinel"}, log: filepath.Join(s.Dir, name+".log")}
	p.ready = func(ctx context.Context) error {
		_, err := cli(ctx, addr, "ping")
		return err
	}
	s.all = append(s.all, p)
	return p, addr, nil
}

// cli runs a command at any server.
func cli(ctx context.Context, addr string, args ...string) (string, error) {
	return (&Redis{Addr: addr}).CLI(ctx, args...)
}

// InStep waits until so many replicas of a master have what it has.
func (s *System) InStep(ctx context.Context, master *Redis, replicas int) error {
	return s.until(ctx, "replicas are in step", func() bool {
		online := 0
		for i := range replicas {
			if strings.Contains(master.Info(ctx, "slave"+strconv.Itoa(i)), "state=online") {
				online++
			}
		}
		return online == replicas
	})
}

// startCluster starts three masters with a replica each.
func (s *System) startCluster(ctx context.Context) error {
	var at []string
	for i := range 6 {
		r, err := s.newRedis("node"+strconv.Itoa(i+1), "--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
			"--cluster-require-full-coverage", "no")
		if err != nil {
			return err
		}
		if err := r.Start(ctx); err != nil {
			return err
		}
		at = append(at, r.Addr)
	}
	args := append(append([]string{"--cluster", "create"}, at...), "--cluster-replicas", "1", "--cluster-yes")
	if out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput(); err != nil { //nolint:gosec // our own words
		return fmt.Errorf("create a cluster: %w: %s", err, bytes.TrimSpace(out))
	}
	s.url = func(string) string { return "redis+cluster://" + strings.Join(at, ",") }
	return s.until(ctx, "the cluster is whole", func() bool {
		for _, r := range s.Redis {
			info, _ := r.CLI(ctx, "cluster", "info")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:6") {
				return false
			}
			if r.Info(ctx, "role") == "slave" && r.Info(ctx, "master_link_status") != "up" {
				return false
			}
		}
		return true
	})
}

// Master returns the server that is the master now, as sentinels or roles say.
func (s *System) Master(ctx context.Context) (*Redis, error) {
	if len(s.SentinelAt) > 0 {
		for _, at := range s.SentinelAt {
			out, err := cli(ctx, at, "sentinel", "get-master-addr-by-name", "faults")
			if err != nil {
				continue
			}
			addr := strings.Join(strings.Fields(out), ":")
			for _, r := range s.Redis {
				if r.Addr == addr || r.announced == addr {
					return r, nil
				}
			}
		}
		return nil, errors.New("no sentinel knows the master")
	}
	for _, r := range s.Redis {
		if r.Info(ctx, "role") == "master" {
			return r, nil
		}
	}
	return nil, errors.New("there is no master")
}

func (*System) until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for !ok() {
		if Wait(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("%s: not within 60 s", what)
		}
	}
	return nil
}

// Failover orders the sentinels to change the master.
func (s *System) Failover(ctx context.Context) error {
	return s.until(ctx, "a failover begins", func() bool {
		for _, at := range s.SentinelAt {
			if out, err := cli(ctx, at, "sentinel", "failover", "faults"); err == nil && out == "OK" {
				return true
			}
		}
		return false
	})
}
