// Package redistest starts real Redis servers for tests, and ends them with the test. It starts one, a Cluster, or a master with
// a replica and sentinels, on free loopback ports.
package redistest

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
)

// Server is one redis-server process.
type Server struct {
	tb   testing.TB
	dir  string
	port string
	path string   // of the program; redis-server where it is empty
	env  []string // besides the test's own
	args []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended <-chan struct{} // closed when cmd has ended
}

// binary returns the path of redis-server. Without it a test is skipped here and fails in CI.
func binary(tb testing.TB) string {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	testkit.Missing(tb, "redis-server")
	return ""
}

// freePort returns a port that nobody uses, and neither the one 10000 above it, which is the cluster bus's. Both are below those that the
// kernel gives to outgoing connections: one of them would take a port between its choice and its use.
func freePort(tb testing.TB) string {
	tb.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(11_000)
		if free(tb, port) && free(tb, port+10_000) {
			return strconv.Itoa(port)
		}
	}
	tb.Fatal("no port is free")
	return ""
}

func free(tb testing.TB, port int) bool {
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// Start starts a single server with further arguments, such as "--appendonly", "yes".
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return start(tb, nil, args)
}

// StartValkey starts a single server of Valkey. Few systems have it yet, so its test is skipped where it is not there.
func StartValkey(tb testing.TB, args ...string) *Server {
	tb.Helper()
	path, err := exec.LookPath("valkey-server")
	if err != nil {
		tb.Skip("SKIPPED: valkey-server is missing; install it (apt-get install valkey-server)")
	}
	binary(tb) // whose redis-cli asks it
	return (&Server{tb: tb, dir: dir(tb), path: path, args: args}).begin()
}

func start(tb testing.TB, env, args []string) *Server {
	tb.Helper()
	binary(tb)
	return (&Server{tb: tb, dir: dir(tb), env: env, args: args}).begin()
}

// begin starts the process on a free port.
func (s *Server) begin() *Server {
	tb := s.tb
	tb.Helper()
	tb.Cleanup(s.Kill9)
	for range 10 {
		s.port = freePort(tb)
		if s.start() {
			return s
		}
	}
	tb.Fatal("redis-server ends at its start")
	return nil
}

// dir is a short temporary folder.
func dir(tb testing.TB) string {
	tb.Helper()
	d, err := os.MkdirTemp("", "redis") //nolint:usetesting // short enough for the path of a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(d) })
	return d
}

// start starts the process; false when it ended by itself, because another program has taken its port.
func (s *Server) start() bool {
	s.tb.Helper()
	args := append([]string{
		"--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--loglevel", "warning", "--logfile", filepath.Join(s.dir, "log"),
	}, s.args...)
	cmd := exec.Command(cmp.Or(s.path, binary(s.tb)), args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	ended := s.own(cmd)
	answers := false
	testkit.Eventually(s.tb, "redis-server answers", func() bool {
		select {
		case <-ended:
			return true
		default:
		}
		out, err := s.CLI("ping")
		answers = err == nil && (strings.Contains(out, "PONG") || strings.Contains(out, "NOAUTH"))
		return answers
	})
	return answers
}

// own waits for the process in the background and returns what is closed when it has ended.
func (s *Server) own(cmd *exec.Cmd) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.ended = cmd, ended
	return ended
}

// Addr returns host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + s.port }

// URL returns the URL for a store.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// PID returns the process id.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// CLI runs redis-cli against the server.
func (s *Server) CLI(args ...string) (string, error) {
	cmd := exec.Command("redis-cli", append([]string{"-p", s.port}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// Kill9 kills the process, as a crash does.
func (s *Server) Kill9() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// Restart starts a killed server again on the same port with the same data.
func (s *Server) Restart() {
	s.tb.Helper()
	testkit.Eventually(s.tb, "redis-server has its port again", s.start)
}

// FileSize is how many bytes the newest append-only file has.
func (s *Server) FileSize() int64 {
	s.tb.Helper()
	_, size := s.file()
	return size
}

// file is the path of the newest append-only file, and its size.
func (s *Server) file() (path string, size int64) {
	s.tb.Helper()
	names, err := filepath.Glob(filepath.Join(s.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(names) == 0 {
		s.tb.Fatalf("there is no file: %v", err)
	}
	path = names[len(names)-1]
	info, err := os.Stat(path)
	if err != nil {
		s.tb.Fatal(err)
	}
	return path, info.Size()
}

// CutFile removes the end of the append-only file of a killed server.
func (s *Server) CutFile(bytes int64) {
	s.tb.Helper()
	path, size := s.file()
	if err := os.Truncate(path, max(size-bytes, 0)); err != nil {
		s.tb.Fatal(err)
	}
}

// Cluster is three masters.
type Cluster struct{ Servers []*Server }

// StartCluster starts a Cluster of three masters.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{}
	create := []string{"--cluster", "create"}
	for range 3 {
		s := Start(tb, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no", "--cluster-config-file", "nodes.conf")
		c.Servers = append(c.Servers, s)
		create = append(create, s.Addr())
	}
	create = append(create, "--cluster-replicas", "0", "--cluster-yes")
	if out, err := c.Servers[0].CLI(create...); err != nil {
		tb.Fatalf("create cluster: %v\n%s", err, out)
	}
	for _, s := range c.Servers {
		testkit.Eventually(tb, "the cluster is up", func() bool {
			out, _ := s.CLI("cluster", "info")
			return strings.Contains(out, "cluster_state:ok") && strings.Contains(out, "cluster_known_nodes:3")
		})
	}
	return c
}

// AddReplicas gives every master a replica that has caught up. They are ended with the test.
func (c *Cluster) AddReplicas() {
	for _, master := range c.Servers {
		tb := master.tb
		tb.Helper()
		id, err := master.CLI("cluster", "myid")
		if err != nil {
			tb.Fatal(id, err)
		}
		r := Start(tb, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no", "--cluster-config-file", "nodes.conf", "--repl-diskless-sync-delay", "0")
		if out, err := r.CLI("cluster", "meet", "127.0.0.1", master.port); err != nil {
			tb.Fatal(out, err)
		}
		testkit.Eventually(tb, "the replica is taken", func() bool {
			out, _ := r.CLI("cluster", "replicate", strings.TrimSpace(id))
			return strings.HasPrefix(out, "OK")
		})
		testkit.Eventually(tb, "the replica has caught up", func() bool {
			out, _ := r.CLI("info", "replication")
			return strings.Contains(out, "master_link_status:up")
		})
	}
}

// URL returns the URL for a store.
func (c *Cluster) URL() string {
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = s.Addr()
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// Sentinel is a master, a replica and three sentinels.
type Sentinel struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// StartSentinel starts a master with a replica that has caught up, watched by three sentinels.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	s := &Sentinel{Master: Start(tb, "--repl-diskless-sync-delay", "0", "--appendonly", "yes")}
	s.Replica = Start(tb, "--replicaof", "127.0.0.1 "+s.Master.port, "--repl-diskless-sync-delay", "0", "--appendonly", "yes")
	testkit.Eventually(tb, "the replica has caught up", func() bool {
		out, _ := s.Replica.CLI("info", "replication")
		return strings.Contains(out, "master_link_status:up")
	})
	for range 3 {
		conf := filepath.Join(dir(tb), "sentinel.conf")
		text := fmt.Sprintf("sentinel monitor main 127.0.0.1 %s 2\nsentinel down-after-milliseconds main 1000\n"+
			"sentinel failover-timeout main 6000\nsentinel parallel-syncs main 1\n", s.Master.port)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		one := &Server{tb: tb, dir: filepath.Dir(conf), port: freePort(tb)}
		one.startSentinel(conf)
		tb.Cleanup(one.Kill9)
		s.Sentinels = append(s.Sentinels, one)
	}
	for _, one := range s.Sentinels {
		testkit.Eventually(tb, "the sentinels know each other", func() bool {
			out, _ := one.CLI("sentinel", "master", "main")
			return strings.Contains(out, "num-other-sentinels\n2") && strings.Contains(out, "num-slaves\n1")
		})
	}
	return s
}

func (s *Server) startSentinel(conf string) {
	cmd := exec.Command(binary(s.tb), conf, "--sentinel", "--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.own(cmd)
	testkit.Eventually(s.tb, "the sentinel answers", func() bool {
		out, err := s.CLI("ping")
		return err == nil && strings.Contains(out, "PONG")
	})
}

// Cut ends replication: what the master takes from now on is on the master alone.
func (s *Sentinel) Cut() {
	s.Master.tb.Helper()
	for _, args := range [][]string{{"acl", "setuser", "default", "-psync", "-sync"}, {"client", "kill", "type", "replica"}} {
		if out, err := s.Master.CLI(args...); err != nil {
			s.Master.tb.Fatal(out, err)
		}
	}
	testkit.Eventually(s.Master.tb, "the replica is cut off", func() bool {
		out, _ := s.Replica.CLI("info", "replication")
		return strings.Contains(out, "master_link_status:down")
	})
}

// URL returns the URL for a store.
func (s *Sentinel) URL() string {
	addrs := make([]string, len(s.Sentinels))
	for i, one := range s.Sentinels {
		addrs[i] = one.Addr()
	}
	return "redis+sentinel://" + strings.Join(addrs, ",") + "/main"
}
