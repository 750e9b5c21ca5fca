// Package proc runs real processes: the product in its roles, and Redis alone, with Sentinel and as a Cluster. Everything listens on
// free ports of the loopback, and ends with the system that it belongs to.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one program that may be killed, stopped and started again.
type Process struct {
	Name string

	program string
	args    []string
	env     []string
	log     string
	ready   func(ctx context.Context) error // nil when it is at once
	limits  string                          // of the shell's ulimit

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	code  int
}

// Start starts the process and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	return p.Ready(ctx)
}

// Launch starts the process and waits for nothing.
func (p *Process) Launch() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer func() { _ = log.Close() }()
	program, args := p.program, p.args
	if p.limits != "" {
		program, args = "sh", append([]string{"-c", p.limits + `; exec "$0" "$@"`, p.program}, p.args...)
	}
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // our own words; ended by Kill
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	ended := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait()
		p.mu.Lock()
		p.code = cmd.ProcessState.ExitCode()
		p.mu.Unlock()
		close(ended)
	}()
	return nil
}

// Ready waits until the process is ready, at most 30 s.
func (p *Process) Ready(ctx context.Context) error {
	if p.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Ended():
			return fmt.Errorf("%s ended at its start with %d: %s", p.Name, p.Code(), p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s", p.Name, err, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail returns the end of the log.
func (p *Process) tail() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-600):])
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// Code returns how the process ended.
func (p *Process) Code() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}

// PID returns the process id.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(s)
	}
}

// Kill kills the process and waits for its end.
func (p *Process) Kill() {
	if p.PID() == 0 {
		return
	}
	p.Signal(syscall.SIGKILL)
	<-p.Ended()
}

// Stop stops the process for a time.
func (p *Process) Stop(ctx context.Context, d time.Duration) error {
	p.Signal(syscall.SIGSTOP)
	defer p.Signal(syscall.SIGCONT)
	return Wait(ctx, d)
}

// Terminate sends SIGTERM, waits for the end, and returns the exit code and how long it took.
func (p *Process) Terminate(ctx context.Context) (code int, took time.Duration, err error) {
	start := time.Now()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Ended():
		return p.Code(), time.Since(start), nil
	case <-ctx.Done():
		return -1, time.Since(start), ctx.Err()
	}
}

// CPU returns the time that the process has worked.
func (p *Process) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}

// RSS returns the resident memory of the process in bytes.
func (p *Process) RSS() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// Wait waits for a time, or until ctx ends.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// freePort returns a port that nobody uses, and neither the one 10000 above it, which is the bus of a Cluster. Both are below those
// that the kernel gives to outgoing connections.
func freePort() (string, error) {
	for range 1000 {
		port := 10_000 + rand.IntN(11_000) //nolint:gosec // no secret
		if free(port) && free(port+10_000) {
			return strconv.Itoa(port), nil
		}
	}
	return "", errors.New("no port is free")
}

func free(port int) bool {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

func freeAddr() (string, error) {
	port, err := freePort()
	return "127.0.0.1:" + port, err
}
