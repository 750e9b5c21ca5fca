package e2e_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/internal/verify"
)

// certificate writes a certificate of this host and its key into a folder, and returns the files.
func certificate(tb testing.TB, dir string) (cert, key string) {
	tb.Helper()
	some := httptest.NewTLSServer(nil)
	defer some.Close()
	pair := some.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	testkit.Check(tb, err)
	cert, key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls_key.pem")
	testkit.Check(tb, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600))
	testkit.Check(tb, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return cert, key
}

// behindTLS starts nginx in front of a system, with TLS. WebSockets go to the edges, gRPC to the services, and the rest to the gateway,
// as deploy/nginx.conf does. It returns the two addresses, and the file of the CA.
func behindTLS(tb testing.TB, s *system) (web, grpc, ca string) {
	tb.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		testkit.Missing(tb, "nginx")
	}
	web, grpc = freePort(tb), freePort(tb)
	ca, key := certificate(tb, s.dir)
	conf := s.file("nginx.conf", fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	ssl_certificate %[2]s; ssl_certificate_key %[3]s;
	proxy_http_version 1.1; proxy_buffering off;
	upstream edges { server %[4]s max_fails=1 fail_timeout=1s; server %[5]s max_fails=1 fail_timeout=1s; }
	map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
	server {
		listen %[6]s ssl;
		proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
		location = /v1/ws { proxy_pass http://edges; proxy_connect_timeout 1s; proxy_next_upstream error timeout http_503; }
		location / { proxy_pass http://%[7]s; proxy_read_timeout 120s; }
	}
	server {
		listen %[8]s ssl http2;
		client_max_body_size 0; client_body_timeout 1h; grpc_read_timeout 1h; grpc_send_timeout 1h; grpc_connect_timeout 1s;
		location /trunkline.auth. { grpc_pass grpc://%[9]s; }
		location / { grpc_pass grpc://%[10]s; }
	}
}
`, s.dir, ca, key, s.edgeAt[0], s.edgeAt[1], web, strings.TrimPrefix(s.rest, "http://"), grpc, s.authAt, s.publishAt))
	cmd := exec.Command(nginx, "-c", conf, "-p", s.dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	testkit.Check(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	testkit.Eventually(tb, "nginx listens", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "nginx.pid"))
		return err == nil
	})
	return "https://" + web, "https://" + grpc, ca
}

// verifies runs the prober as a process of its own, and returns its report.
func verifies(tb testing.TB, key string, during func(), args ...string) (verify.Report, int) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), binary, append([]string{"verify", "-o", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "TRUNKLINE_TOKEN="+key)
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	testkit.Check(tb, cmd.Start())
	during()
	err := cmd.Wait()
	var r verify.Report
	if json.Unmarshal([]byte(out.String()), &r) != nil {
		tb.Fatalf("%v\n%s%s", err, out.String(), said.String())
	}
	for _, p := range r.Promises {
		if p.Verdict != verify.Held {
			tb.Logf("%s %s: %v of %v, %s %q", p.ID, p.Verdict, p.Figure, p.Bound, p.Reason, p.Findings)
		}
	}
	if key != "" && strings.Contains(out.String()+said.String(), key) {
		tb.Error("the API key is printed")
	}
	return r, cmd.ProcessState.ExitCode()
}

// Split roles behind nginx with TLS keep their promises, and go on to do so while an edge and the publish service are killed.
func TestVerify_behindProxy(t *testing.T) {
	s := startSystem(t)
	web, grpc, ca := behindTLS(t, s)
	args := []string{"--server", web, "--grpc", grpc, "--ca-file", ca}
	for name, c := range map[string]struct {
		during func()
		args   []string
	}{
		"all is well": {func() {}, []string{"--for", "5s"}},
		"an edge is killed, and then the publish service": {func() {
			<-time.After(3 * time.Second)
			_ = s.edges[0].end(syscall.SIGKILL)
			<-time.After(2 * time.Second)
			_ = s.publish.end(syscall.SIGKILL)
			s.publish.start()
			s.edges[0].start()
		}, []string{"--for", "10s", "--only", "delivery,repeat"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := verifies(t, s.apiKey, c.during, append(args, c.args...)...)
			for _, p := range r.Promises {
				if p.Verdict != verify.Held && p.Unit != "ms" { // a busy machine has times that nobody can tell
					t.Errorf("%s is %s", p.ID, p.Verdict)
				}
			}
			for _, d := range r.Doors {
				if !d.Used {
					t.Errorf("%s is not used: %s", d.Name, d.Reason)
				}
			}
			if len(r.Left) > 0 || r.Counts.Resumes == 0 {
				t.Errorf("left %v, %+v", r.Left, r.Counts)
			}
		})
	}
}

// A server that is killed in the middle and does not come back keeps no promise that anybody could tell of.
func TestVerify_serverIsKilled(t *testing.T) {
	web, grpc := freePort(t), freePort(t)
	p := &process{tb: t, name: "dev", args: []string{"serve", "--dev", "--http-listen", web, "--grpc-listen", grpc, "--internal-listen", freePort(t)}}
	p.start()
	t.Cleanup(func() { _ = p.end(syscall.SIGKILL) })
	testkit.Eventually(t, "the server is there", func() bool {
		status, _ := get("http://" + web + "/")
		return status == http.StatusOK
	})
	r, code := verifies(t, "", func() {
		<-time.After(3 * time.Second)
		_ = p.end(syscall.SIGKILL)
	}, "--server", "http://"+web, "--grpc", grpc, "--for", "5s", "--timeout", "1s")
	if code != 1 || r.Verdict != verify.Unknown || len(r.Left) == 0 {
		t.Errorf("exit %d, %s, left %v", code, r.Verdict, r.Left)
	}
	for _, p := range r.Promises {
		if strings.HasPrefix(p.ID, "delivery.") && p.Verdict != verify.Unknown || p.Verdict == verify.Broken && p.Unit != "ms" {
			t.Errorf("%s is %s: %q", p.ID, p.Verdict, p.Findings)
		}
	}
}
