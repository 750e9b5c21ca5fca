package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/auth"
)

// system is a fresh server, and a fresh Redis when it has one.
type system struct {
	dir            string
	redis, server  *exec.Cmd
	http, grpcAt   string
	internal       string
	conns          []*grpc.ClientConn
	auth           authv1.AuthServiceClient
	publish        []publishv1.PublishServiceClient
	apiKey, tokens string
}

func freeAddr() string {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func startSystem(ctx context.Context, binary, store string) (*system, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &system{dir: dir, http: freeAddr(), grpcAt: freeAddr()}
	args := []string{"serve", "--http-listen", s.http, "--grpc-listen", s.grpcAt, "--log-level", "error"}
	if store == "redis" {
		at := freeAddr()
		_, port, _ := net.SplitHostPort(at)
		s.redis = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no") //nolint:gosec,noctx // ended by stop
		if err := start(s.redis); err != nil {
			return nil, fmt.Errorf("start redis-server: %w", err)
		}
		args = append(args, "--redis", "redis://"+at)
	}
	s.internal = freeAddr()
	config, err := s.configure()
	if err != nil {
		return nil, err
	}
	s.server = exec.Command(binary, append(args, "--internal-listen", s.internal, "--config", config)...) //nolint:gosec,noctx // ended by stop
	s.server.Stderr = os.Stderr
	if err := start(s.server); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	if err := waitReady(ctx, "http://"+s.internal+"/readyz"); err != nil {
		return nil, err
	}
	for range 4 {
		conn, err := grpc.NewClient(s.grpcAt, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				return invoke(s.with(ctx), method, req, reply, cc, opts...)
			}))
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		s.conns = append(s.conns, conn)
		s.publish = append(s.publish, publishv1.NewPublishServiceClient(conn))
	}
	s.auth = authv1.NewAuthServiceClient(s.conns[0])
	return s, nil
}

func (s *system) with(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.apiKey)
}

// configure writes keys and a configuration: a namespace that keeps nothing, and no limit by address.
func (s *system) configure() (string, error) {
	key, err := auth.NewKey("k1")
	if err != nil {
		return "", err
	}
	s.apiKey, _ = rpc.NewAPIKey("bench", rpc.ScopeAll)
	pem, api, config := filepath.Join(s.dir, "key.pem"), filepath.Join(s.dir, "api_key"), filepath.Join(s.dir, "trunkline.yaml")
	text := fmt.Sprintf(`auth: {keys: [{id: k1, algorithm: EdDSA, private_key_file: %s}]}
api_keys: [{id: bench, key_file: %s, scopes: ["*"]}]
edge: {connections_per_ip: 0}
channels: {namespaces: {live: {history_length: 0, presence: false}, kept: {history_length: 1000, history_age: 10m, presence: false}}}
`, pem, api)
	for path, b := range map[string][]byte{pem: key.PEM, api: []byte(s.apiKey), config: []byte(text)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return "", fmt.Errorf("write configuration: %w", err)
		}
	}
	return config, nil
}

func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Start()
}

func waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("ask for readiness: %w", err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the server is not ready after 20 s")
		}
	}
}

// profile records CPU while a scenario runs; the function that it returns waits for that and adds the heap
// as the scenario leaves it.
func (s *system) profile(folder, name string, d time.Duration) func() {
	if folder == "" {
		return func() {}
	}
	base := filepath.Join(folder, strings.NewReplacer(" ", "-", ",", "").Replace(name))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.fetch(fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(d.Seconds()))), base+".cpu.pprof")
	}()
	return func() {
		<-done
		s.fetch("/debug/pprof/heap?gc=1", base+".heap.pprof")
	}
}

func (s *system) fetch(path, file string) {
	resp, err := http.Get("http://" + s.internal + path) //nolint:noctx,gosec // our own server
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return
	}
	defer resp.Body.Close()
	f, err := os.Create(file) //nolint:gosec // the user's own word
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return
	}
	defer f.Close()
	_, _ = io.Copy(f, resp.Body)
}

func (s *system) stop() {
	for _, c := range s.conns {
		_ = c.Close()
	}
	for _, cmd := range []*exec.Cmd{s.server, s.redis} {
		if cmd != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	_ = os.RemoveAll(s.dir)
}

// tick is the unit of times in /proc/PID/stat (USER_HZ, 100 on every Linux).
const tick = 10 * time.Millisecond

// cpu is the user and system time of a process.
func cpu(cmd *exec.Cmd) time.Duration {
	if cmd == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndex(string(b), ")")+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// cpu is that of the server and Redis together.
func (s *system) cpu() time.Duration { return cpu(s.server) + cpu(s.redis) }

// heapNow keeps the heap profile of a moment, when the environment names a file for it.
func (s *system) heapNow() {
	if file := os.Getenv("BENCH_HEAP"); file != "" {
		s.fetch("/debug/pprof/heap", file)
		s.fetch("/metrics", file+".metrics")
		s.fetch("/debug/pprof/goroutine?debug=1", file+".goroutines")
	}
}

// rss is the resident memory of the server, in KiB.
func (s *system) rss() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.server.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n
		}
	}
	return 0
}
