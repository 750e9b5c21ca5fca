// Package e2e_test runs the built binary as its users do: several processes over a real Redis, browsers, and the
// generated clients of other languages.
package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "trunkline")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "trunkline")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/trunkline")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	return m.Run()
}

// process is one running trunkline.
type process struct {
	tb   testing.TB
	name string
	args []string
	env  []string

	mu  sync.Mutex
	cmd *exec.Cmd
	log bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) start() {
	p.tb.Helper()
	cmd := exec.Command(binary, p.args...)
	cmd.Env = append(append(os.Environ(), "TRUNKLINE_SHUTDOWN_DELAY=0s"), p.env...) // a test of it says so
	cmd.Stdout, cmd.Stderr = p, p
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	testkit.Check(p.tb, cmd.Start())
	p.cmd = cmd
}

// end sends a signal and waits.
func (p *process) end(sig syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(sig)
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// given are the ports that freePort has returned: one that nobody listens on yet is free for the kernel.
var given sync.Map

func freePort(tb testing.TB) string {
	tb.Helper()
	for {
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		testkit.Check(tb, err)
		address := l.Addr().String()
		testkit.Check(tb, l.Close())
		if _, known := given.LoadOrStore(address, true); !known {
			return address
		}
	}
}

// get returns the status and body of a URL; status 0 when there is no answer.
func get(url string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// system is auth, publish, gateway and two edges as processes of their own, over one Redis: what
// docker-compose.yml starts.
type system struct {
	tb                     testing.TB
	redis                  *redistest.Server
	dir                    string
	apiKey                 string
	auth, publish, gateway *process
	edges                  [2]*process
	authAt, publishAt      string // gRPC
	rest                   string // URL
	edgeAt                 [2]string
	internalAt             map[*process]string
	edgeArgs               []string // of both edges
	eachArgs               [2][]string
	edgeRedis              [2]string // URLs
}

func (s *system) file(name, text string) string {
	path := filepath.Join(s.dir, name)
	testkit.Check(s.tb, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (s *system) process(name string, args ...string) *process {
	p := &process{tb: s.tb, name: name}
	internal := freePort(s.tb)
	p.args = append([]string{"serve", "--internal-listen", internal}, args...)
	p.env = []string{"TRUNKLINE_INTERNAL_KEY_FILE=" + filepath.Join(s.dir, "internal_key"), "TRUNKLINE_CHANNELS_DEFAULTS_HISTORY_LENGTH=100000"}
	s.internalAt[p] = internal
	p.start()
	s.tb.Cleanup(func() {
		_ = p.end(syscall.SIGKILL)
		if s.tb.Failed() {
			s.tb.Logf("%s:\n%s", name, p.text())
		}
	})
	return p
}

// status is the HTTP status of a process's readiness.
func (s *system) status(p *process) int {
	status, _ := get("http://" + s.internalAt[p] + "/readyz")
	return status
}

func (s *system) waitReady(ps ...*process) {
	s.tb.Helper()
	for _, p := range ps {
		testkit.Within(s.tb, p.name+" is ready", 20*time.Second, func() bool {
			status, body := get("http://" + s.internalAt[p] + "/readyz")
			return status == http.StatusOK && !strings.Contains(body, "degraded")
		})
	}
}

// startSystem starts it; prepare may change what the edges are started with.
func startSystem(tb testing.TB, prepare ...func(*system)) *system {
	tb.Helper()
	s := &system{
		tb: tb, dir: tb.TempDir(), internalAt: make(map[*process]string),
		redis:  redistest.Start(tb, "--appendonly", "yes", "--appendfsync", "always"),
		authAt: freePort(tb), publishAt: freePort(tb), edgeAt: [2]string{freePort(tb), freePort(tb)},
	}
	key, err := auth.NewKey("k1")
	testkit.Check(tb, err)
	s.file("internal_key", "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00\n")
	s.apiKey, _ = rpc.NewAPIKey("backend", rpc.ScopeAll)
	pem := s.file("token_key", string(key.PEM))
	api := s.file("api_key", s.apiKey+"\n")
	keys := fmt.Sprintf("api_keys:\n  - {id: backend, key_file: %s, scopes: [\"*\"]}\n", api)
	authConf := s.file("auth.yaml", fmt.Sprintf("auth:\n  keys:\n    - {id: k1, algorithm: EdDSA, private_key_file: %s}\n", pem)+keys)
	publishConf := s.file("publish.yaml", keys)
	rest := freePort(tb)
	s.rest = "http://" + rest
	url := s.redis.URL()
	s.auth = s.process("auth", "--config", authConf, "--roles", "auth", "--redis", url, "--grpc-listen", s.authAt)
	s.publish = s.process("publish", "--config", publishConf, "--roles", "publish", "--redis", url, "--grpc-listen", s.publishAt, "--upstream", "auth="+s.authAt)
	up := "auth=" + s.authAt + ",publish=" + s.publishAt
	s.edgeRedis = [2]string{url, url}
	for _, f := range prepare {
		f(s)
	}
	s.gateway = s.process("gateway", "--roles", "gateway", "--http-listen", rest, "--upstream", up)
	for i := range s.edges {
		s.edges[i] = s.process(fmt.Sprintf("edge-%d", i+1), append([]string{"--roles", "edge", "--redis", s.edgeRedis[i], "--http-listen", s.edgeAt[i], "--upstream", up}, slices.Concat(s.edgeArgs, s.eachArgs[i])...)...)
	}
	s.waitReady(s.auth, s.publish, s.gateway, s.edges[0], s.edges[1])
	return s
}

// cli runs the command line against the system.
func (s *system) cli(args ...string) string {
	s.tb.Helper()
	cmd := exec.CommandContext(s.tb.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "TRUNKLINE_SERVER="+s.rest, "TRUNKLINE_GRPC="+s.publishAt, "TRUNKLINE_TOKEN="+s.apiKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.tb.Fatalf("trunkline %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
