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
	t.Run("plain", func(t *testing.T) { everyLineIsJSON(t) })
	t.Run("TLS", func(t *testing.T) {
		cert, key := certificate(t, t.TempDir())
		everyLineIsJSON(t, "--set", "http.tls.cert_file="+cert, "--set", "http.tls.key_file="+key, "--set", "grpc.tls.cert_file="+cert, "--set", "grpc.tls.key_file="+key)
	})
}

// garbage is what comes to a port that speaks something else.
var garbage = []string{
	"\x16\x03\x01\x00\x05garbage\r\n\r\n" + strings.Repeat("\x00", 64),
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\xff\x99" + strings.Repeat("\xff", 300),
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x01", 508), // a handshake of the right length
	"\x15\x03\x03\x00\x02\x02\x28",
}

func everyLineIsJSON(t *testing.T, more ...string) {
	t.Helper()
	away := freePort(t)
	httpAt, grpcAt, internalAt := freePort(t), freePort(t), freePort(t)
	log := &process{tb: t}
	cmd := exec.Command(binary, "serve", "--dev", "--redis", "redis+sentinel://"+away+"/mymaster", "--log-level", "debug", "--set", "log.format=json",
		"--http-listen", httpAt, "--grpc-listen", grpcAt, "--internal-listen", internalAt)
	cmd.Args = append(cmd.Args, more...)
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
		for _, text := range garbage {
			testkit.Eventually(t, at+" takes garbage", func() bool {
				c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
				if err != nil {
					return false
				}
				defer func() { _ = c.Close() }()
				_, _ = io.WriteString(c, text) // it may be closed within it
				_ = c.(*net.TCPConn).CloseWrite()
				_ = c.SetReadDeadline(time.Now().Add(8 * time.Second))
				_, err = io.ReadAll(c)
				return err == nil || !os.IsTimeout(err)
			})
		}
	}
	testkit.Eventually(t, "the client of Redis has spoken", func() bool { return strings.Contains(log.text(), "redis client") })
	kill()
	for line := range strings.Lines(log.text()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
}
