package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of times in /proc (USER_HZ, 100 on every Linux).
const tick = 10 * time.Millisecond

// Process is one server. It dies with this program.
type Process struct {
	Name string // the part it plays; those with one name are counted together
	cmd  *exec.Cmd
}

// start starts a program whose errors go to ours.
func start(name, program string, args ...string) (*Process, error) {
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // ended by stop
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &Process{Name: name, cmd: cmd}, nil
}

func (p *Process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// CPU is the user and system time of the process.
func (p *Process) CPU() time.Duration { return CPU(p.cmd.Process.Pid) }

// CPU is the user and system time of a process, in steps of 10 ms.
func CPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// RSS is the resident memory of the process, in KiB.
func (p *Process) RSS() float64 { return RSS(p.cmd.Process.Pid) }

// RSS is the resident memory of a process, in KiB; 0 when it has ended.
func RSS(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
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

// MachineCPU is the time that all processors worked since the start.
func MachineCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var sum int
	for i, f := range strings.Fields(line)[1:] {
		n, _ := strconv.Atoi(f)
		if i != 3 && i != 4 && i < 8 { // not idle, not waiting for disks; guest time is in user time
			sum += n
		}
	}
	return time.Duration(sum) * tick
}

// group is the processes of a system and its folder.
type group struct {
	dir   string
	procs []*Process
}

func (g *group) Processes() []*Process { return g.procs }

func (g *group) Stop() {
	for _, p := range g.procs {
		p.stop()
	}
	if g.dir != "" {
		_ = os.RemoveAll(g.dir)
	}
}

// waitTCP returns when something listens.
func waitTCP(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New(addr + " does not answer after 20 s")
		}
	}
}
