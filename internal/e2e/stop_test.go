package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/trunkline/trunkline/internal/testkit"
)

// stopDelay is how long the processes of these tests serve after SIGTERM.
const stopDelay = 2 * time.Second

// knocker calls one door again and again. What fails before the delay is over has hit a door that closed too early.
type knocker struct {
	name string
	// knock makes one call; what it returns is the error of a call without an answer.
	knock func() error
}

// knock calls every door until the process has ended, and fails the test when a door is shut before the delay is over.
func knock(t *testing.T, p *process, ready string, doors ...knocker) {
	t.Helper()
	over := make(chan struct{})
	var began atomic.Pointer[time.Time]
	var calls atomic.Int64
	var g sync.WaitGroup
	for _, d := range doors {
		testkit.Check(t, d.knock())
		g.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				err := d.knock()
				calls.Add(1)
				if err == nil {
					continue
				}
				if start := began.Load(); start == nil || time.Since(*start) < stopDelay {
					t.Errorf("%s: %v", d.name, err)
					return
				}
				if !errors.Is(err, syscall.ECONNREFUSED) && !strings.Contains(err.Error(), "refused") {
					t.Logf("%s, after the delay: %v", d.name, err)
				}
				return
			}
		})
	}
	red := make(chan time.Duration, 1)
	start := time.Now()
	began.Store(&start)
	g.Go(func() {
		for {
			if status, _ := get(ready); status == http.StatusServiceUnavailable {
				red <- time.Since(start)
				return
			} else if status == 0 {
				red <- stopDelay
				return
			}
		}
	})
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v", err)
	}
	took := time.Since(start)
	close(over)
	g.Wait()
	if late := <-red; late > time.Second {
		t.Errorf("not ready after %s", late)
	}
	if took < stopDelay {
		t.Errorf("the process ended after %s", took)
	}
	t.Logf("%d calls, ended after %s", calls.Load(), took.Round(10*time.Millisecond))
}

// rest returns a door of REST; kept keeps its connection, as proxies do.
func rest(name, url, key string, kept bool) knocker {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: !kept}}
	return knocker{name, func() error {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader([]byte(`{"data":1}`)))
		if err != nil {
			return err
		}
		req.GetBody = nil // nothing sends it twice
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s %s", resp.Status, body)
		}
		return err
	}}
}

// socket returns a door that takes WebSockets.
func socket(name, url string) knocker {
	return knocker{name, func() error {
		ws, resp, err := websocket.DefaultDialer.DialContext(context.Background(), url, nil)
		if err != nil {
			if resp != nil {
				err = fmt.Errorf("%w: %s", err, resp.Status)
			}
			return err
		}
		_ = resp.Body.Close()
		return ws.Close()
	}}
}

// health returns a door of gRPC that is called on a new connection each time.
func health(name, address string) knocker {
	return knocker{name, func() error {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err
	}}
}

// After SIGTERM every role serves on until load balancers have noticed: nobody is refused, and nothing is left without an answer.
func TestStop_refusesNobodyWithinTheDelay(t *testing.T) {
	s := startSystem(t)
	restart := func(p *process) {
		_ = p.end(syscall.SIGKILL)
		p.env = append(p.env, "TRUNKLINE_SHUTDOWN_DELAY="+stopDelay.String())
		p.start()
		s.waitReady(p)
	}
	for _, p := range []*process{s.gateway, s.edges[0], s.publish, s.auth} {
		restart(p)
	}
	s.waitReady(s.gateway, s.edges[0], s.publish, s.auth)
	ready := func(p *process) string { return "http://" + s.internalAt[p] + "/readyz" }
	publish := s.rest + "/v1/channels/demo:publish"
	knock(t, s.gateway, ready(s.gateway), rest("REST", publish, s.apiKey, false), rest("REST on kept connections", publish, s.apiKey, true))
	knock(t, s.edges[0], ready(s.edges[0]), socket("WebSocket", "ws://"+strings.TrimPrefix(s.edgeAt[0], "http://")+"/v1/ws"))
	knock(t, s.publish, ready(s.publish), health("gRPC of publish", s.publishAt))
	knock(t, s.auth, ready(s.auth), health("gRPC of auth", s.authAt))
}

// One process with everything, the older protocols included, does the same at each of its doors.
func TestStop_ofOneProcess(t *testing.T) {
	at := map[string]string{"http.listen": freePort(t), "grpc.listen": freePort(t), "internal.listen": freePort(t)}
	for _, key := range []string{"legacy.relay.http_listen", "legacy.relay.websocket_listen", "legacy.rooms.listen", "legacy.pushserver.http_listen"} {
		at[key] = freePort(t)
	}
	p := &process{tb: t, name: "all", args: []string{"serve", "--dev", "--legacy", "relay,rooms"}}
	for key, address := range at {
		p.args = append(p.args, "--set", key+"="+address)
	}
	p.env = []string{"TRUNKLINE_SHUTDOWN_DELAY=" + stopDelay.String()}
	p.start()
	t.Cleanup(func() { _ = p.end(syscall.SIGKILL) })
	ready := "http://" + at["internal.listen"] + "/readyz"
	testkit.Within(t, "the process is ready", 20*time.Second, func() bool { status, _ := get(ready); return status == http.StatusOK })
	defer func() {
		if t.Failed() {
			t.Log(p.text())
		}
	}()
	knock(t, p, ready,
		rest("REST", "http://"+at["http.listen"]+"/v1/channels/demo:publish", "", false),
		socket("WebSocket", "ws://"+at["http.listen"]+"/v1/ws"),
		health("gRPC", at["grpc.listen"]),
		socket("older rooms", "ws://"+at["legacy.rooms.listen"]+"/ws/1"),
		knocker{"older relay", func() error {
			if status, body := get("http://" + at["legacy.relay.http_listen"] + "/token"); status != http.StatusOK {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		}},
	)
}

// The log has no lines but ours, whatever the environment asks of libraries.
func TestLog_isOursAlone(t *testing.T) {
	ready := freePort(t)
	p := &process{tb: t, name: "all", env: []string{"GRPC_GO_LOG_SEVERITY_LEVEL=info", "GRPC_GO_LOG_VERBOSITY_LEVEL=99"}}
	p.args = []string{"serve", "--dev", "--http-listen", freePort(t), "--grpc-listen", freePort(t), "--internal-listen", ready}
	p.start()
	t.Cleanup(func() { _ = p.end(syscall.SIGKILL) })
	testkit.Within(t, "the process is ready", 20*time.Second, func() bool { status, _ := get("http://" + ready + "/readyz"); return status == http.StatusOK })
	for line := range strings.Lines(p.text()) {
		if strings.Contains(line, "[core]") || strings.Contains(line, "INFO:") {
			t.Errorf("a library wrote %q", line)
		}
	}
}
