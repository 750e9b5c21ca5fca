package docs_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// unrun are the commands that are not run, each with the reason. What they stand for is checked elsewhere, and their syntax here.
var unrun = []struct{ page, command, reason string }{
	{"README.md", "make test ", "runs this test"},
	{"first-change.md", "go test -race ./services/publish ", "make test runs it"},
	{"first-change.md", "make fmt lint", ".ci/run runs it"},
	{"first-change.md", "make test", "runs this test"},
	{"reliability.md", "make faults ", "takes an hour"},
	{"reliability.md", "make faults-quick", "takes 4 minutes"},
	{"reliability.md", "make soak ", "takes an hour"},
	{"reliability.md", "make simulate ", "takes as long as it is told"},
	{"reliability.md", "make simulate-controls", "builds the product once for each control"},
	{"sizing.md", "make bench-scale", "takes 5 minutes, and measures"},
	{"sizing.md", "go -C bench run . -sizing", "reads what the command above it measured"},
	{"benchmarks.md", "go -C bench run . ", "takes minutes, and measures"},
	{"benchmarks.md", "mv bench/results/micro.txt.new", "accepts what a run of minutes measured"},
	{"operations.md", "trunkline verify --server https://push.example.com", "looks at the deployment of its reader"},
	{"migrating.md", "docker compose", "needs a Docker daemon; make check-deploy reads its files"},
}

// listens are the settings with a port that a page may name. Each is given another one, in the commands as in the programs.
var listens = map[string]string{
	"8080": "TRUNKLINE_HTTP_LISTEN",
	"9090": "TRUNKLINE_GRPC_LISTEN",
	"9091": "TRUNKLINE_INTERNAL_LISTEN",
	"5000": "TRUNKLINE_LEGACY_RELAY_HTTP_LISTEN TRUNKLINE_LEGACY_ROOMS_LISTEN",
	"7071": "TRUNKLINE_LEGACY_RELAY_WEBSOCKET_LISTEN",
	"5222": "TRUNKLINE_LEGACY_PUSHSERVER_WEBSOCKET_LISTEN",
	"5223": "TRUNKLINE_LEGACY_PUSHSERVER_HTTP_LISTEN",
	"8000": "TRUNKLINE_LEGACY_FACILITY_LISTEN",
	"3000": "",
}

// ports are the ports of one page, by those that it names.
type ports map[string]string

// portsOf takes free ports for a page.
func portsOf(tb testing.TB, redis *redistest.Server) ports {
	tb.Helper()
	all := ports{}
	for named := range listens {
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		testkit.Check(tb, err)
		defer func() { _ = l.Close() }()
		_, all[named], err = net.SplitHostPort(l.Addr().String())
		testkit.Check(tb, err)
	}
	_, port, err := net.SplitHostPort(redis.Addr())
	testkit.Check(tb, err)
	all["6379"] = port
	return all
}

// environment tells the programs of a page where they listen and whom they call.
func (p ports) environment() []string {
	env := []string{
		"TRUNKLINE_SERVER=http://localhost:" + p["8080"], "TRUNKLINE_GRPC=localhost:" + p["9090"],
		"TRUNKLINE_SHUTDOWN_DELAY=0s",
	}
	for named, settings := range listens {
		for setting := range strings.FieldsSeq(settings) {
			env = append(env, setting+"=localhost:"+p[named])
		}
	}
	return env
}

var aPort = regexp.MustCompile(`\b(localhost|127\.0\.0\.1):([0-9]{4})\b`)

// in replaces the ports in a text.
func (p ports) in(text string) string {
	return aPort.ReplaceAllStringFunc(text, func(s string) string {
		m := aPort.FindStringSubmatch(s)
		if other := p[m[2]]; other != "" {
			return m[1] + ":" + other
		}
		return s
	})
}

// back replaces the ports in what programs print by those that the page names.
func (p ports) back(text string) string {
	for named, other := range p {
		text = strings.ReplaceAll(text, ":"+other, ":"+named)
	}
	return text
}

// story is a page as one session of a shell.
type story struct {
	page  string
	at    map[int]string // what is typed, by its line of the page
	shows map[int]string // what the page shows of that
}

// read returns the story of a page. Files that it shows before a command are written at their place.
func read(tb testing.TB, page string, p ports, dir string) story {
	tb.Helper()
	s := story{page: page, at: map[int]string{}, shows: map[int]string{}}
	for i, f := range fences(tb, page) {
		text := p.in(f.text)
		switch {
		case f.kind() == "sh":
			parses(tb, f)
			left := false // a command of several lines is left out as a whole
			for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
				if left = left || listed(page, line); !left {
					s.at[f.line+n] = line
				}
				left = left && strings.HasSuffix(line, "\\")
			}
		case f.kind() == "console":
			s.console(f, text)
		case f.file() != "":
			// The file is made by the line above the block, in the folder of the session.
			kept := filepath.Join(dir, strconv.Itoa(i))
			testkit.Check(tb, os.WriteFile(kept, []byte(text), 0o600))
			verb := "cat >"
			if f.kind() == "diff" {
				verb = "python3 \"$TREE/docs/testdata/apply.py\" "
			}
			s.at[f.line-1] = fmt.Sprintf("%s%s <%s", verb, f.file(), kept)
		}
	}
	return s
}

// console takes a block of commands behind $, with their output.
func (s story) console(f fence, text string) {
	last := 0
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			last = f.line + n
			s.at[last], s.shows[last] = command, ""
		} else if last != 0 {
			s.shows[last] += line + "\n"
		}
	}
}

// used are the rows of unrun that a page has.
var used = map[int]bool{}

// listed says whether a command is one of those that are not run.
func listed(page, line string) bool {
	for i, u := range unrun {
		if u.page == filepath.Base(page) && strings.HasPrefix(line+" ", u.command) {
			used[i] = true
			return true
		}
	}
	return false
}

// parses holds a block to be what bash can read, run or not.
func parses(tb testing.TB, f fence) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "bash", "-n")
	cmd.Stdin = strings.NewReader(f.text)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Errorf("%s:%d: %s", f.page, f.line, out)
	}
}

// script has each command on its line of the page, so that bash names that line.
func (s story) script(state string) string {
	last := 0
	for n := range s.at {
		last = max(last, n)
	}
	var b strings.Builder
	for n := 1; n <= last; n++ {
		command := s.at[n]
		if _, ok := s.shows[n]; ok {
			command = fmt.Sprintf("{ %s; } >%s/%d 2>&1 </dev/null || true", command, state, n)
		}
		b.WriteString(command + "\n")
	}
	b.WriteString("__end\n")
	return b.String()
}
