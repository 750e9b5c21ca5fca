package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/app/apptest"
)

var update = flag.Bool("update", false, "write testdata and docs/cli.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell runs command lines against a deployment.
type shell struct {
	deployment *apptest.Deployment
	env        []string
}

func newShell(tb testing.TB, opts ...apptest.Option) *shell {
	tb.Helper()
	h := apptest.Start(tb, opts...)
	return &shell{deployment: h, env: []string{
		"TRUNKLINE_SERVER=" + h.HTTP, "TRUNKLINE_GRPC=" + h.GRPC, "TRUNKLINE_TOKEN=" + h.AdminKey, "TRUNKLINE_INTERNAL=" + h.Internal,
	}}
}

type result struct {
	code     int
	out, err string
}

func (s *shell) run(ctx context.Context, input string, args ...string) result {
	var out, err bytes.Buffer
	code := run(ctx, stream{in: strings.NewReader(input), out: &out, err: &err, env: s.env}, args)
	return result{code: code, out: out.String(), err: err.String()}
}

// changing are members whose values differ from run to run.
var changing = map[string]bool{
	"id": true, "epoch": true, "publishTime": true, "createTime": true, "joinTime": true, "revokeTime": true, "issueTime": true, "expireTime": true,
	"token": true, "tokenId": true, "channelToken": true, "connection": true, "refreshToken": true, "refreshExpireTime": true, "nextPageToken": true,
	"iat": true, "ims": true, "exp": true, "jti": true,
}

// steady replaces what changes by dots.
func steady(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = steady(v[i])
		}
	case map[string]any:
		for name, child := range v {
			if changing[name] {
				v[name] = "…"
			} else {
				v[name] = steady(child)
			}
		}
	}
	return v
}

// normal is JSON values, one or several, with what changes replaced.
func normal(tb testing.TB, out string) string {
	tb.Helper()
	var b strings.Builder
	dec := json.NewDecoder(strings.NewReader(out))
	for dec.More() {
		var v any
		if err := dec.Decode(&v); err != nil {
			tb.Fatalf("stdout is not JSON: %v\n%s", err, out)
		}
		line, err := json.MarshalIndent(steady(v), "", "  ")
		if err != nil {
			tb.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

// golden compares with testdata/NAME.json; go test ./cmd/trunkline -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestVerbs runs every verb with -o json against one deployment, in this order.
func TestVerbs(t *testing.T) {
	s := newShell(t)
	ctx := t.Context()
	for _, c := range []struct {
		name  string
		input string
		args  []string
		code  int
	}{
		{name: "version", args: []string{"version"}},
		{name: "pub", args: []string{"pub", "demo", `{"text":"hello"}`, "--attr", "lang=en"}},
		{name: "pub-text", args: []string{"pub", "channels/demo", "plain words"}},
		{name: "pub-stdin", input: "from stdin\n", args: []string{"pub", "demo", "-"}},
		{name: "pub-lines", input: "1\n\n{\"two\":2}\n", args: []string{"pub", "demo", "--each-line", "--key", "batch", "-o", "jsonl"}},
		{name: "pub-again", input: "1\n\n{\"two\":2}\n", args: []string{"pub", "demo", "--each-line", "--key", "batch", "-o", "jsonl"}},
		{name: "pub-live", args: []string{"pub", "users/42", "hi", "--ttl", "1m", "--count", "2", "--rate", "1000"}},
		{name: "pub-partly", input: "1\nnot json\n", args: []string{"pub", "demo", "--each-line", "--content-type", "json"}, code: exitPartly},
		{name: "history", args: []string{"history", "demo", "--limit", "2"}},
		{name: "history-jsonl", args: []string{"history", "demo", "--newest-first", "-o", "jsonl"}},
		{name: "sub", args: []string{"sub", "demo", "--from-beginning", "--count", "3", "-o", "jsonl"}},
		{name: "presence", args: []string{"presence", "demo:empty"}},
		{name: "channels-create", args: []string{"channels", "create", "orders:eu", "--label", "team=a"}},
		{name: "channels-list", args: []string{"channels", "list"}},
		{name: "channels-delete", args: []string{"channels", "delete", "orders:eu"}},
		{name: "token-create", args: []string{"token", "create", "--client", "c1", "--user", "ada", "--sub", "demo", "--pub", "demo,orders:*", "--refreshable"}},
		{name: "token-revoke", args: []string{"token", "revoke", "--user", "nobody"}},
		{name: "health", args: []string{"health"}},
		{name: "health-live", args: []string{"health", "live"}},
		{name: "config-check", args: []string{"config", "check", "--dev"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			if !strings.Contains(strings.Join(args, " "), "-o jsonl") {
				args = append(args, "-o", "json")
			}
			r := s.run(ctx, c.input, args...)
			if r.code != c.code {
				t.Fatalf("exit %d, want %d\n%s%s", r.code, c.code, r.out, r.err)
			}
			golden(t, c.name, normal(t, r.out))
		})
	}
}

func TestTokenInspect(t *testing.T) {
	s := newShell(t)
	token := strings.TrimSpace(s.run(t.Context(), "", "token", "create", "--client", "c1", "--user", "ada", "--sub", "demo").out)
	r := s.run(t.Context(), token+"\n", "token", "inspect", "-", "-o", "json")
	if r.code != exitDone {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	golden(t, "token-inspect", normal(t, r.out))
	forged := token[:strings.LastIndex(token, ".")+1] + strings.Repeat("A", 86)
	if r := s.run(t.Context(), forged+"\n", "token", "inspect", "-", "-o", "json"); r.code != exitDenied || !strings.Contains(r.out, `"check":"signature"`) && !strings.Contains(r.out, `"check": "signature"`) {
		t.Errorf("a forged one is code %d, %s%s", r.code, r.out, r.err)
	}
	if r := s.run(t.Context(), "", "token", "revoke", token); r.code != exitDone {
		t.Fatalf("revoke: exit %d\n%s", r.code, r.err)
	}
	if r := s.run(t.Context(), "", "token", "inspect", token, "-o", "json"); r.code != exitDenied || !strings.Contains(r.out, `"TOKEN_REVOKED"`) {
		t.Errorf("inspect after revoke: exit %d\n%s%s", r.code, r.out, r.err)
	}
}

func TestConfigShow(t *testing.T) {
	s := &shell{env: []string{"TRUNKLINE_REDIS_URL=redis://:hunter2@redis:6379"}}
	r := s.run(t.Context(), "", "config", "show", "--origin", "--dev", "--set", "edge.ping_interval=7s", "-o", "jsonl")
	if r.code != exitDone || strings.Contains(r.out, "hunter2") {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	for _, want := range []string{
		`{"key":"edge.ping_interval","env":"TRUNKLINE_EDGE_PING_INTERVAL","value":"7s","origin":"--set edge.ping_interval"}`,
		`"value":"••••","origin":"env TRUNKLINE_REDIS_URL"`,
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %s in\n%s", want, r.out)
		}
	}
	if r := s.run(t.Context(), "", "config", "env", "-o", "json"); r.code != exitDone || !json.Valid([]byte(r.out)) {
		t.Errorf("config env: exit %d\n%s", r.code, r.err)
	}
}

// TestExitCodes has a row for every way to fail; nothing of it may print a secret.
func TestExitCodes(t *testing.T) {
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("edge:\n  ping_intervall: 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"unknown verb", []string{"publsh"}, exitUsage, []string{`unknown command "publsh"`}},
		{"unknown flag", []string{"pub", "demo", "1", "--fly"}, exitUsage, []string{"unknown flag: --fly", "fix: trunkline pub --help"}},
		{"flag without value", []string{"pub", "demo", "1", "--ttl"}, exitUsage, []string{"--ttl"}},
		{"stray argument", []string{"version", "2"}, exitUsage, nil},
		{"no data", []string{"pub", "demo"}, exitUsage, []string{"no DATA"}},
		{"output", []string{"version", "-o", "xml"}, exitUsage, []string{"allowed are table, json and jsonl"}},
		{"content type", []string{"pub", "demo", "1", "--content-type", "xml"}, exitUsage, []string{"allowed are json, text and binary"}},
		{"position", []string{"sub", "demo", "--since-position", "12"}, exitUsage, []string{"EPOCH:OFFSET"}},
		{"configuration", []string{"serve", "--config", file}, exitConfig, []string{`bad.yaml:2:3  unknown key "edge.ping_intervall"   did you mean "edge.ping_interval"?`, "1 problem, exit 3."}},
		{"config check", []string{"config", "check", "--set", "edge.ping_interval=banana", "--dev"}, exitConfig, []string{`"banana" is not a duration`}},
		{"key", []string{"pub", "demo", "1", "--token", "tlk_nobody_0123456789abcdef0123456789abcdef"}, exitDenied, []string{"API_KEY_INVALID", "fix: "}},
		{"token", []string{"pub", "demo", "1", "--token", "nonsense"}, exitDenied, []string{"TOKEN_INVALID"}},
		{"address", []string{"pub", "queues/1", "1"}, exitUsage, []string{"an address is clients/ID"}},
		{"no channel", []string{"channels", "delete", "nothing"}, exitFailed, []string{"CHANNEL_NOT_FOUND"}},
		{"nobody there", []string{"pub", "demo", "1", "--grpc", "127.0.0.1:1"}, exitUnreachable, []string{"no server answers at 127.0.0.1:1", "fix: start one with"}},
		{"no WebSocket", []string{"sub", "demo", "--server", "http://127.0.0.1:1"}, exitUnreachable, []string{"no WebSocket at http://127.0.0.1:1"}},
		{"unhealthy", []string{"health", "--internal", "127.0.0.1:1"}, exitFailed, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.run(t.Context(), "", c.args...)
			if r.code != c.code {
				t.Errorf("exit %d, want %d\n%s%s", r.code, c.code, r.out, r.err)
			}
			for _, want := range c.want {
				if !strings.Contains(r.err, want) {
					t.Errorf("no %q in\n%s", want, r.err)
				}
			}
			if strings.Contains(r.out+r.err, s.deployment.AdminKey) {
				t.Error("the API key is printed")
			}
		})
	}
	for _, args := range [][]string{{"--help"}, {"pub", "--help"}, {"--version"}, {"token"}} {
		if r := s.run(t.Context(), "", args...); r.code != exitDone || r.out == "" {
			t.Errorf("%v: exit %d, %q", args, r.code, r.out)
		}
	}
}

// TestSub_FollowsWhatComes subscribes before it publishes.
func TestSub_FollowsWhatComes(t *testing.T) {
	s := newShell(t)
	said := &watched{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var out bytes.Buffer
	go func() {
		done <- run(ctx, stream{in: strings.NewReader(""), out: &out, err: said, env: s.env}, []string{"sub", "demo", "broadcast", "--raw", "--count", "2"})
	}()
	said.wait(t, "subscribed to channels/demo, broadcast")
	for _, to := range []string{"demo", "broadcast"} {
		if r := s.run(ctx, "", "pub", to, `"to `+to+`"`); r.code != exitDone {
			t.Fatal(r.err)
		}
	}
	if code := <-done; code != exitDone || out.String() != "\"to demo\"\n\"to broadcast\"\n" {
		t.Errorf("exit %d, %q", code, out.String())
	}
	go func() {
		done <- run(ctx, stream{in: strings.NewReader(""), out: &out, err: said, env: s.env}, []string{"sub", "other"})
	}()
	said.wait(t, "subscribed to channels/other")
	cancel()
	if code := <-done; code != exitInterrupted {
		t.Errorf("interrupted: exit %d", code)
	}
}

// watched is a stderr that a test waits on.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
	return len(p), nil
}

func (w *watched) wait(tb testing.TB, want string) {
	tb.Helper()
	timeout := time.After(20 * time.Second)
	for {
		w.mu.Lock()
		text := w.text.String()
		if w.more == nil {
			w.more = make(chan struct{})
		}
		more := w.more
		w.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-more:
		case <-timeout:
			tb.Fatalf("no %q in\n%s", want, text)
		}
	}
}

func TestServe_Development(t *testing.T) {
	s := &shell{}
	ctx, cancel := context.WithCancel(t.Context())
	out, said := &watched{}, &watched{}
	done := make(chan int, 1)
	dir := t.TempDir() // its log and nothing else belongs to this process
	go func() {
		done <- run(ctx, stream{in: strings.NewReader(""), out: out, err: said, env: s.env}, []string{
			"serve", "--dev", "--config", writeFile(t, dir, "dev.yaml", "log: {format: text}\n"),
			"--http-listen", "127.0.0.1:" + freePort(t), "--grpc-listen", "127.0.0.1:" + freePort(t), "--internal-listen", "127.0.0.1:" + freePort(t),
		})
	}()
	out.wait(t, "^C stops, twice to force")
	cancel()
	if code := <-done; code != exitDone {
		t.Errorf("exit %d\n%s", code, said.text.String())
	}
	for _, want := range []string{
		"development mode, everything in memory, loopback only", "➜ Welcome page   http://localhost:", "Say hello:   trunkline pub", "Roles: auth publish gateway edge   store: memory",
	} {
		if !strings.Contains(out.text.String(), want) {
			t.Errorf("no %q in\n%s", want, out.text.String())
		}
	}
}
