package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// workshop is what the sessions of all pages share.
type workshop struct {
	tree   string // this checkout
	remote string // a repository with the same files, which is what git clones
	bin    string // a folder with trunkline
	redis  *redistest.Server
}

// open builds the program as it is shipped, and makes a repository of the files as they are now.
func open(tb testing.TB) *workshop {
	tb.Helper()
	tree, err := filepath.Abs("..")
	testkit.Check(tb, err)
	w := &workshop{tree: tree, remote: tb.TempDir(), bin: tb.TempDir(), redis: redistest.Start(tb)}
	w.do(tb, `"$TREE/.ci/build" "$BIN/trunkline" docs
		git -C "$TREE" ls-files -zco --exclude-standard | (cd "$TREE" && tar --null --ignore-failed-read -T - -cf - 2>/dev/null) | tar -xf - -C "$REMOTE"
		cd "$REMOTE" && git init -q && git add -A && git commit -qm tree`)
	return w
}

// environment is what every session has. Git asks nobody, and takes what it would clone from the network from the repository of open.
func (w *workshop) environment() []string {
	return append(os.Environ(),
		"TREE="+w.tree, "REMOTE="+w.remote, "BIN="+w.bin, "PATH="+w.bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url."+w.remote+".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/trunkline/trunkline")
}

func (w *workshop) do(tb testing.TB, commands string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Env = w.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
}

// folder is where a session begins: in a fresh clone, unless its page makes one.
func (w *workshop) folder(tb testing.TB, s story) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, command := range s.at {
		if strings.HasPrefix(command, "git clone ") {
			return dir
		}
	}
	w.do(tb, `git clone -q "$REMOTE" `+dir+"/trunkline")
	return filepath.Join(dir, "trunkline")
}

// run runs a page, and returns what it said when it failed.
func (w *workshop) run(tb testing.TB, s story, p ports) error {
	tb.Helper()
	state := tb.TempDir()
	file := filepath.Join(tb.TempDir(), filepath.Base(s.page))
	testkit.Check(tb, os.WriteFile(file, []byte(s.script(state)), 0o600))
	ctx, cancel := context.WithTimeout(tb.Context(), 4*time.Minute) // compilers may wait for other tests
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", file)
	cmd.Dir = w.folder(tb, s)
	cmd.Env = append(append(w.environment(), p.environment()...), "STATE="+state, "BASH_ENV="+filepath.Join(w.tree, "docs/testdata/session.sh"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	endAll(state)
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.ReplaceAll(said.String(), file, s.page))
	}
	for line, want := range s.shows {
		got, err := os.ReadFile(filepath.Join(state, strconv.Itoa(line)))
		testkit.Check(tb, err)
		if text := p.back(string(got)); !shown(p.back(want), text) {
			tb.Errorf("%s:%d: %s\nprints\n%s\nand the page shows\n%s", s.page, line, s.at[line], text, want)
		}
	}
	return nil
}

// endAll ends what a session that failed has left running.
func endAll(state string) {
	list, err := os.ReadFile(filepath.Join(state, "started"))
	if err != nil {
		return // it started nothing
	}
	for line := range strings.Lines(string(list)) {
		if pid, err := strconv.Atoi(strings.SplitN(line, " ", 2)[0]); err == nil && pid > 1 {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
}

// differs is what each run makes anew: ids, and times.
var differs = regexp.MustCompile(`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`)

// trailing are spaces at the end of a line, which nobody sees.
var trailing = regexp.MustCompile(`(?m)[ \t]+$`)

// shown says whether a page shows what a command prints, but for ids and times. In the page … stands for anything, and a line that is … for any lines.
func shown(want, got string) bool {
	same := func(s string) string {
		return strings.TrimSpace(trailing.ReplaceAllString(differs.ReplaceAllString(s, "ANEW"), ""))
	}
	pattern := regexp.QuoteMeta(same(want))
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(pattern, "(?s:.*)")
	pattern = regexp.MustCompile(`(?m)^…$`).ReplaceAllString(pattern, "(?s:.*)")
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(same(got))
}

// Each page is one session of a shell, in a fresh clone, with its own ports. Its commands do what the page says: they succeed, servers get
// ready, subscriptions hear something, and what they print is what the page shows.
func TestPages_doWhatTheySay(t *testing.T) {
	needs(t, "git", "curl", "jq", "python3", "make", "openssl", "setsid", "redis-server")
	w := open(t)
	ran := 0
	for _, page := range pages(t) {
		if inLanguages(page) {
			continue // TestPrograms of the clients runs them
		}
		p := portsOf(t, w.redis)
		s := read(t, page, p, t.TempDir())
		if len(s.at) == 0 {
			continue
		}
		ran++
		t.Run(filepath.Base(page), func(t *testing.T) {
			if err := w.run(t, s, p); err != nil {
				t.Error(err)
			}
		})
	}
	if ran < 5 {
		t.Errorf("%d pages have commands", ran)
	}
	for i, u := range unrun {
		if !used[i] {
			t.Errorf("%s has no command %q any more, which is listed because it %s", u.page, u.command, u.reason)
		}
	}
}

// needs ends the test when a program is missing: skipped loudly here, failed in CI.
func needs(tb testing.TB, programs ...string) {
	tb.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		testkit.Missing(tb, name)
	}
}
