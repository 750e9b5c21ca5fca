package peer

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// Deployment starts Trunkline in several processes over one Redis: edges, and one with the other roles.
func Deployment(ctx context.Context, env Env, edges int) (*Trunkline, error) {
	sys, err := startEdges(ctx, env, edges, false)
	if err != nil {
		return nil, err
	}
	return sys.(*Trunkline), nil
}

// Edges are host:port of the edges.
func (t *Trunkline) Edges() []string { return t.edges }

// Key is an API key with every scope.
func (t *Trunkline) Key() string { return t.key }

// Token is the token of client i.
func (t *Trunkline) Token(i int) string { return t.tokens[i] }

// Conn is a connection to gRPC.
func (t *Trunkline) Conn(i int) *grpc.ClientConn { return t.conns[i%len(t.conns)] }

// Edge is the process of an edge. The others follow the edges in Processes.
func (t *Trunkline) Edge(i int) *Process { return t.procs[len(t.edges)-1-i] }

// Shared is the process with the other roles.
func (t *Trunkline) Shared() *Process { return t.procs[len(t.edges)] }

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as a crash does.
func (p *Process) Kill() { p.stop() }

// Restart starts a process again that has ended.
func (p *Process) Restart() error {
	again, err := start(p.Name, p.cmd.Path, p.cmd.Args[1:]...)
	if err != nil {
		return err
	}
	p.cmd = again.cmd
	return nil
}

// Terminate asks the process to end, and returns how long it took, and its error if it ended with another code than 0.
func (p *Process) Terminate() (time.Duration, error) {
	begun := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("end %s: %w", p.Name, err)
	}
	err := p.cmd.Wait()
	return time.Since(begun), err
}

// PeakRSS is the most memory that the process had resident, in KiB.
func (p *Process) PeakRSS() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n := 0.0
			_, _ = fmt.Sscanf(rest, "%f", &n)
			return n
		}
	}
	return 0
}
