package badinput_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
)

// commandTime is about how long the program takes for what it refuses at once.
const commandTime = time.Second

// build makes the program once.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "trunkline")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/trunkline").CombinedOutput()
	return path + "\n" + string(out), err
})

// program returns the path of the program.
func program(t *testing.T) string {
	t.Helper()
	said, err := build()
	if err != nil {
		t.Fatal(said, err)
	}
	return said[:len(said)-1]
}

// lines are command lines that are wrong, and the word that the answer has to name.
var lines = []struct{ line, names string }{
	{"fly", "fly"},
	{"--nope", "--nope"},
	{"-z", "-z"},
	{"pub", "arg"},
	{"pub a 1 2", "arg"},
	{"pub a 1 --nope", "--nope"},
	{"pub a 1 --ttl", "--ttl"},
	{"pub a 1 --ttl x", "--ttl"},
	{"pub a 1 --ttl 10", "--ttl"},
	{"pub a 1 --count x", "--count"},
	{"pub a 1 --rate x", "--rate"},
	{"pub a 1 --attr x", "--attr"},
	{"pub a 1 --ack=maybe", "--ack"},
	{"pub a 1 --content-type xml", "--content-type"},
	{"pub a 1 --ack --max-deliveries -1", "--max-deliveries"},
	{"pub a 1 --retain x", "--retain"},
	{"pub a/b 1", "ADDRESS"},
	{"pub a: 1", "ADDRESS"},
	{"pub channels/ 1", "ADDRESS"},
	{"pub system/revoked 1", "ADDRESS"},
	{"pub users/ 1", "ADDRESS"},
	{"pub a* 1", "ADDRESS"},
	{"pub ../x 1", "ADDRESS"},
	{"pub {x} 1", "ADDRESS"},
	{"sub", "arg"},
	{"sub a/b", "ADDRESS"},
	{"sub a b/c", "ADDRESS"},
	{"sub a --count x", "--count"},
	{"sub a --since-position x", "position"},
	{"sub a --nope", "--nope"},
	{"history", "arg"},
	{"history a b", "arg"},
	{"history a/b", "ADDRESS"},
	{"history a --limit x", "--limit"},
	{"history a --limit 0", "--limit"},
	{"history a --limit 1001", "--limit"},
	{"history a --limit -1", "--limit"},
	{"history a --since-position x:y", "position"},
	{"presence", "arg"},
	{"presence a/b", "ADDRESS"},
	{"presence a --nope", "--nope"},
	{"inbox", "arg"},
	{"inbox nope/x", "ADDRESS"},
	{"inbox users/ada --nope", "--nope"},
	{"receipt", "arg"},
	{"receipt users/ada", "arg"},
	{"receipt nope/x y", "ADDRESS"},
	{"receipt users/ada x --nope", "--nope"},
	{"state get", "arg"},
	{"state get a/b", "ADDRESS"},
	{"state merge a", "arg"},
	{"state merge a/b {}", "ADDRESS"},
	{"state merge a {} --revision x", "--revision"},
	{"state delete a/b", "delete"},
	{"state fly", "fly"},
	{"explain", "arg"},
	{"explain a/b x", "ADDRESS"},
	{"channels create", "arg"},
	{"channels delete", "arg"},
	{"channels list --nope", "--nope"},
	{"channels fly", "fly"},
	{"events --nope", "--nope"},
	{"health sick", "sick"},
	{"health --internal x", "--internal"},
	{"token create --ttl x", "--ttl"},
	{"token create --nope", "--nope"},
	{"token inspect", "arg"},
	{"token revoke --nope", "--nope"},
	{"token fly", "fly"},
	{"config fly", "fly"},
	{"config check --nope", "--nope"},
	{"legacy fly", "fly"},
	{"legacy session add", "arg"},
	{"version x", "x"},
	{"serve x", "x"},
	{"serve --nope", "--nope"},
	{"serve --config", "--config"},
	{"pub a 1 --server ::::", "--server"},
	{"pub a 1 --server ftp://x", "ftp"},
	{"pub a 1 --grpc :::", "--grpc"},
	{"pub a 1 -o xml", "xml"},
	{"pub a 1 --timeout x", "--timeout"},
	{"pub a 1 --timeout -1s", "timeout"},
}

// TestCommandLine gives every verb wrong words. Nothing is sent for them.
func TestCommandLine(t *testing.T) {
	s := start(t, "command line")
	var sent atomic.Int64
	listen, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listen.Accept()
			if err != nil {
				return
			}
			sent.Add(1)
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = listen.Close(); accepting.Wait() })
	env := []string{"PATH=" + os.Getenv("PATH"), "TRUNKLINE_SERVER=http://" + listen.Addr().String(), "TRUNKLINE_GRPC=" + listen.Addr().String(), "TRUNKLINE_TOKEN=" + s.AdminKey}
	path := program(t)
	for _, l := range lines {
		s.row(l.line, "exit 2, names "+l.names+", nothing sent", func(t *testing.T) string {
			ctx, cancel := context.WithTimeout(t.Context(), 20*commandTime)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, strings.Fields(l.line)...)
			var out, said bytes.Buffer
			cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &said
			before := sent.Load()
			_ = cmd.Run() // the exit code says how it went
			s.told(t, out.String()+said.String())
			answer := fmt.Sprintf("exit %d", cmd.ProcessState.ExitCode())
			first, rest, _ := strings.Cut(said.String(), "\n")
			if !strings.HasPrefix(first, "error: ") || out.Len() > 0 || !strings.Contains(rest, "fix: ") {
				return answer + ", said " + out.String() + said.String()
			}
			for _, inner := range []string{"strconv.", "time: ", "pflag", "%!"} {
				if strings.Contains(first, inner) {
					return answer + ", in words of the program: " + first
				}
			}
			if !strings.Contains(first, l.names) {
				return answer + ", " + first
			}
			answer += ", names " + l.names
			if sent.Load() > before {
				return answer + ", and was sent"
			}
			return answer + ", nothing sent"
		})
	}
}
