package e2e_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// needs ends the test when a tool is missing.
func needs(tb testing.TB, files ...string) {
	tb.Helper()
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			continue
		}
		testkit.Missing(tb, f)
	}
}

const (
	chromium = "/usr/bin/chromium-headless-shell"
	python   = "/usr/bin/python3"
	modules  = "../../node_modules"
)

// script runs a program and hands each line that it prints to the function.
func script(tb testing.TB, line func(string), name string, args ...string) {
	tb.Helper()
	feed(tb, nil, line, name, args...)
}

// feed is script for a program that reads its input.
func feed(tb testing.TB, input io.Reader, line func(string), name string, args ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH=../../gen/python", "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var errs strings.Builder
	cmd.Stdin, cmd.Stderr = input, &errs
	out, err := cmd.StdoutPipe()
	testkit.Check(tb, err)
	testkit.Check(tb, cmd.Start())
	done := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		done = done || lines.Text() == "DONE"
		if line != nil {
			line(lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil || !done {
		tb.Fatalf("%s %v: %v\n%s", name, args, err, errs.String())
	}
}

func TestTypeScriptClient(t *testing.T) {
	needs(t, modules)
	h := apptest.Start(t)
	script(t, nil, "node", "testdata/client.mjs", "http://"+h.GRPC, h.AdminKey)
}

// The client of the pages comes back when a server that stops has asked it to.
func TestPageClient_waitsAsLongAsItIsTold(t *testing.T) {
	script(t, nil, "node", "testdata/wait.mjs")
}

// It ends the subscriptions of a channel that is deleted.
func TestPageClient_endsWithItsChannel(t *testing.T) {
	script(t, nil, "node", "testdata/gone.mjs")
	script(t, nil, "node", "testdata/forks.mjs")
}

// Its subscriptions are by address, which messages say in one form.
func TestPageClient_spellings(t *testing.T) {
	script(t, nil, "node", "testdata/names.mjs")
}

func TestPythonClient(t *testing.T) {
	needs(t, python)
	h := apptest.Start(t)
	script(t, nil, python, "testdata/client.py", h.GRPC, h.AdminKey)
}

// The quick start: serve --dev, open the page, publish from a second shell, see it there.
func TestQuickStart_inChromium(t *testing.T) {
	needs(t, modules, chromium)
	http, grpc, internal := freePort(t), freePort(t), freePort(t)
	start := time.Now()
	p := &process{tb: t, name: "dev", args: []string{"serve", "--dev", "--http-listen", http, "--grpc-listen", grpc, "--internal-listen", internal}}
	p.start()
	defer func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("serve --dev ended with %v\n%s", err, p.text())
		}
	}()
	testkit.Within(t, "the banner is printed", 5*time.Second, func() bool { return strings.Contains(p.text(), "Welcome page") })
	var seen time.Duration
	script(t, func(line string) {
		switch line {
		case "CONNECTED":
			cmd := exec.CommandContext(t.Context(), binary, "pub", "demo", `{"text":"hello from outside"}`)
			cmd.Env = append(os.Environ(), "TRUNKLINE_SERVER=http://"+http, "TRUNKLINE_GRPC="+grpc)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("pub: %v\n%s", err, out)
			}
		case "RECEIVED":
			seen = time.Since(start)
		}
	}, "node", "testdata/welcome.mjs", "http://"+http+"/")
	t.Logf("from a cold start to the message on the page: %s", seen)
}

// Two unmodified pages of the older relay exchange messages, are reached by a native publish, and by an old producer on Redis.
func TestRelayPage_inChromium(t *testing.T) {
	needs(t, modules, chromium)
	redis := redistest.Start(t)
	for name, store := range map[string]string{"memory": "", "redis": redis.URL()} {
		t.Run(name, func(t *testing.T) {
			h := apptest.Start(t, apptest.Redis(store), apptest.With(func(c *config.Config) {
				c.Legacy.Dialects = []string{"relay"}
				c.Legacy.Open = true
			}))
			script(t, func(line string) {
				uuid, ok := strings.CutPrefix(line, "UUID ")
				if !ok {
					return
				}
				if name == "memory" {
					_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "clients/" + uuid, Data: []byte(`"natively"`)})
					testkit.Check(t, err)
					return
				}
				old := goredis.NewClient(&goredis.Options{Addr: redis.Addr()})
				defer func() { testkit.Check(t, old.Close()) }()
				for _, rubbish := range []string{"{", "null", "[]", `{"uuid_remote":7}`} { // used to crash the older edge
					testkit.Check(t, old.Publish(t.Context(), "article", rubbish).Err())
				}
				testkit.Check(t, old.Publish(t.Context(), "article", `{"uuid_remote":"`+uuid+`","uuid_local":"x","message":"by an old producer"}`).Err())
			}, "node", "testdata/relay.mjs", h.Legacy["relay.http"], h.Legacy["relay.websocket"])
		})
	}
}

// What an older relay program sees: known and unknown tokens, and closed doors unless they were opened.
func TestRelay_doors(t *testing.T) {
	h := apptest.Start(t, apptest.With(func(c *config.Config) { c.Legacy.Dialects = []string{"relay"}; c.Legacy.Open = true }))
	status, body := get("http://" + h.Legacy["relay.http"] + "/token")
	token := strings.TrimSuffix(strings.TrimPrefix(body, `{"token":"`), `"}`)
	if status != http.StatusOK || len(token) != 36 {
		t.Fatalf("/token: %d %s", status, body)
	}
	for path, want := range map[string]string{
		"/auth/" + token: `{"auth":true}`, "/AUTH/" + token + "/": `{"auth":true}`, "/auth/a%2Fb": `{"auth":false}`, "/auth/x": `{"auth":false}`,
	} {
		if status, body := get("http://" + h.Legacy["relay.http"] + path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	closed := apptest.Start(t, apptest.With(func(c *config.Config) { c.Legacy.Dialects = []string{"relay"} }))
	if status, body := get("http://" + closed.Legacy["relay.http"] + "/token"); status != http.StatusUnauthorized || !strings.Contains(body, "legacy-open") {
		t.Errorf("closed /token: %d %s", status, body)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+closed.Legacy["relay.http"]+"/token", nil)
	req.Header.Set("Authorization", "Bearer "+closed.AdminKey)
	res, err := http.DefaultClient.Do(req)
	testkit.Check(t, err)
	testkit.Check(t, res.Body.Close())
	if res.StatusCode != http.StatusOK {
		t.Errorf("closed /token with an API key: %s", res.Status)
	}
}
