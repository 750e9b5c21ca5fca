package e2e_test

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

// Whatever the libraries meet, a log in JSON has nothing but JSON. Sentinels that are away, and bytes that are no protocol, make them
// speak. The variable makes gRPC tell everything to whoever listens.
func TestLog_isJSONWhateverHappens(t *testing.T) {
	away := freePort(t)
	httpAt, grpcAt, internalAt := freePort(t), freePort(t), freePort(t)
	log := &process{tb: t}
	cmd := exec.Command(binary, "serve", "--dev", "--redis", "redis+sentinel://"+away+"/mymaster", "--log-level", "debug", "--set", "log.format=json",
		"--http-listen", httpAt, "--grpc-listen", grpcAt, "--internal-listen", internalAt)
	cmd.Env = append(os.Environ(), "TRUNKLINE_SHUTDOWN_DELAY=0s", "GRPC_GO_LOG_SEVERITY_LEVEL=info")
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	testkit.Check(t, cmd.Start())
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // a line is written whole
	})
	defer kill()
	for _, at := range []string{httpAt, grpcAt} {
		testkit.Eventually(t, at+" answers garbage by closing", func() bool {
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
			if err != nil {
				return false
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, "\x16\x03\x01\x00\x05garbage\r\n\r\n"+strings.Repeat("\x00", 64))
			_ = c.SetReadDeadline(time.Now().Add(8 * time.Second))
			_, err = io.ReadAll(c)
			return err == nil || !os.IsTimeout(err)
		})
	}
	testkit.Eventually(t, "the client of Redis has spoken", func() bool { return strings.Contains(log.text(), "redis client") })
	kill()
	for line := range strings.Lines(log.text()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
}
