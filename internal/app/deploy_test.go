package app_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
	"go.yaml.in/yaml/v3"

	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// override is deploy/legacy.yaml.
type override struct {
	Legacy   map[string]string `yaml:"x-legacy"`
	Services map[string]struct {
		Ports       []string
		Environment map[string]string
	}
}

// olderPorts reads the override, with the port in the container of each listener by the key of its setting.
func olderPorts(tb testing.TB) (o override, ports map[string]string) {
	tb.Helper()
	b, err := os.ReadFile("../../deploy/legacy.yaml")
	testkit.Check(tb, err)
	testkit.Check(tb, yaml.Unmarshal(b, &o))
	ports = map[string]string{}
	for name, value := range o.Legacy {
		if rest, ok := strings.CutSuffix(strings.TrimPrefix(name, "TRUNKLINE_LEGACY_"), "_LISTEN"); ok {
			protocol, part, _ := strings.Cut(strings.ToLower(rest+"_listen"), "_")
			ports["legacy."+protocol+"."+part] = strings.TrimPrefix(value, ":")
		}
	}
	return o, ports
}

// published says whether a service has a port of the same number on this machine.
func (o override) published(service, port string) bool {
	return slices.ContainsFunc(o.Services[service].Ports, func(p string) bool { return strings.HasSuffix(p, ":"+port+":"+port) })
}

// The override for Docker Compose gives each listener of the older protocols its port, and Redis the one that producers know.
func TestDeploy_olderPortsArePublished(t *testing.T) {
	o, ports := olderPorts(t)
	h := apptest.Start(t, apptest.Legacy("all"))
	for key := range h.Processes[0].Legacy {
		if port := ports[key]; port == "" || !o.published("lb", port) {
			t.Errorf("deploy/legacy.yaml: %s has the port %q, which is not published", key, port)
		}
	}
	if !o.published("redis", "6379") {
		t.Error("deploy/legacy.yaml does not publish the port of Redis")
	}
	for _, name := range []string{"auth", "publish", "gateway", "edge-1", "edge-2"} {
		if len(o.Services[name].Environment) != len(o.Legacy) {
			t.Errorf("deploy/legacy.yaml: %s does not have the settings of the older protocols", name)
		}
	}
}

var (
	upstream = regexp.MustCompile(`server ([a-z]+)(?:-([12]))?:([0-9]+) resolve[^;]*;`)
	listen   = regexp.MustCompile(`listen (?:127\.0\.0\.1:)?([0-9]+)([^;]*);`)
	notHere  = regexp.MustCompile(`(?m)^\s*(?:pid|access_log|error_log) [^;]*;`)
)

// balance runs nginx with the configuration of the deployment, in front of processes of this test. It returns where it listens, by port.
func balance(tb testing.TB, h *apptest.Deployment, ports map[string]string) map[string]string {
	tb.Helper()
	nginx, err := exec.LookPath("/usr/sbin/nginx")
	if err != nil {
		testkit.Missing(tb, "nginx")
	}
	at, dir := map[string]string{}, tb.TempDir()
	for _, name := range []string{"nginx.conf", "legacy.nginx.conf"} {
		b, err := os.ReadFile("../../deploy/" + name)
		testkit.Check(tb, err)
		text := upstream.ReplaceAllStringFunc(string(b), func(s string) string {
			m := upstream.FindStringSubmatch(s)
			return "server " + process(tb, h, ports, m[1]+m[2], m[3]) + ";"
		})
		text = listen.ReplaceAllStringFunc(text, func(s string) string {
			m := listen.FindStringSubmatch(s)
			l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
			testkit.Check(tb, err)
			defer func() { _ = l.Close() }()
			at[m[1]] = l.Addr().String()
			return "listen " + at[m[1]] + m[2] + ";"
		})
		if name == "legacy.nginx.conf" {
			name = "more/legacy.conf"
		}
		for _, folder := range []string{"more", "logs"} {
			testkit.Check(tb, os.MkdirAll(filepath.Join(dir, folder), 0o700))
		}
		testkit.Check(tb, os.WriteFile(filepath.Join(dir, name), []byte(notHere.ReplaceAllString(text, "")), 0o600))
	}
	cmd := exec.CommandContext(tb.Context(), nginx, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-g",
		fmt.Sprintf("daemon off; master_process off; pid %s/pid; error_log stderr;", dir))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	testkit.Check(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	testkit.Eventually(tb, "nginx listens", func() bool {
		conn, err := net.Dial("tcp", at["8080"])
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return at
}

// process returns where a process listens, by the name of its container and its port there.
func process(tb testing.TB, h *apptest.Deployment, ports map[string]string, name, port string) string {
	tb.Helper()
	of := map[string]int{"auth": 0, "publish": 1, "gateway": 2, "edge1": 3, "edge2": 4}
	i, ok := of[name]
	if !ok {
		tb.Fatalf("nginx names the container %s, which is none", name)
	}
	p := h.Processes[i]
	switch port {
	case "8080":
		return p.HTTP
	case "9090":
		return p.GRPC
	}
	for key, address := range p.Legacy {
		if ports[key] == port {
			return address
		}
	}
	tb.Fatalf("nginx leads to port %s of %s, where nothing listens: %v", port, name, p.Legacy)
	return ""
}

// Behind the load balancer of the deployment each older client finds its server on the port that it knows.
func TestDeploy_olderClientsFindTheirServers(t *testing.T) {
	_, ports := olderPorts(t)
	h := apptest.Start(t, apptest.Redis(redistest.Start(t).URL()), apptest.Split(2), apptest.Legacy("all"),
		apptest.With(func(c *config.Config) { c.HTTP.TrustedProxies = []string{"127.0.0.0/8"} }))
	at := balance(t, h, ports)
	for url, want := range map[string]string{
		"5000/token": `"token"`, "5000/roomid": "1", "5000/unknown": "METHOD_UNKNOWN", "5223/js/pushserver.js": "PushServer", "5223/sysadmin": "SERVER_SYSADMIN",
	} {
		port, path, _ := strings.Cut(url, "/")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at[port]+"/"+path, nil)
		testkit.Check(t, err)
		if status, body := do(t, req); !strings.Contains(body, want) || (status == http.StatusOK) == (path == "unknown") {
			t.Errorf("%s: %d %.200s, want %s", url, status, body, want)
		}
	}
	for _, url := range []string{"5000/ws/1", "5222/", "8000/ws/f?subscribe-broadcast", "7071/ws?token=none"} {
		port, path, _ := strings.Cut(url, "/")
		ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+at[port]+"/"+path, nil)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		testkit.Check(t, resp.Body.Close())
		testkit.Check(t, ws.Close())
	}
}
