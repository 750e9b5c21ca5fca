package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// endpoints finds the programs of docs/tokens.md.
var endpoints = regexp.MustCompile("(?ms)^### (Go|Python|Node)\n\n```[a-z]+\n(.*?)^```$")

// Each token endpoint of the documents gives somebody who is signed in a token, and nobody else.
func TestDocs_tokenEndpoints(t *testing.T) {
	page, err := os.ReadFile("../../docs/tokens.md")
	testkit.Check(t, err)
	found := endpoints.FindAllStringSubmatch(string(page), -1)
	if len(found) != 3 {
		t.Fatalf("docs/tokens.md has %d programs", len(found))
	}
	h := apptest.Start(t)
	for _, f := range found {
		t.Run(f[1], func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, map[string]string{"Go": "main.go", "Python": "main.py", "Node": "main.cjs"}[f[1]])
			testkit.Check(t, os.WriteFile(file, []byte(f[2]), 0o600))
			run := map[string][]string{"Go": {filepath.Join(dir, "endpoint")}, "Python": {"python3", file}, "Node": {"node", file}}[f[1]]
			if f[1] == "Go" {
				out, err := exec.CommandContext(t.Context(), "go", "build", "-o", run[0], file).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			listen := freePort(t)
			var said bytes.Buffer
			cmd := exec.CommandContext(t.Context(), run[0], run[1:]...)
			cmd.Env = append(os.Environ(), "LISTEN="+listen, "TRUNKLINE_URL="+h.HTTP, "API_KEY="+h.AdminKey)
			cmd.Stdout, cmd.Stderr = &said, &said
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			testkit.Check(t, cmd.Start())
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if t.Failed() {
					t.Log(said.String())
				}
			})
			testkit.Eventually(t, "the endpoint answers", func() bool {
				c, err := net.Dial("tcp", listen)
				if err == nil {
					_ = c.Close()
				}
				return err == nil
			})
			if status, _ := tokenFrom(t, listen, ""); status != http.StatusUnauthorized {
				t.Errorf("a stranger is answered with %d", status)
			}
			status, token := tokenFrom(t, listen, "ada")
			if status != http.StatusOK {
				t.Fatalf("ada is answered with %d", status)
			}
			who, err := h.Auth.ValidateToken(t.Context(), &authv1.ValidateTokenRequest{Token: token})
			testkit.Check(t, err)
			if who.GetIdentity().GetUser() != "ada" {
				t.Errorf("the token is of %v", who)
			}
		})
	}
}

// tokenFrom asks a token endpoint as a user.
func tokenFrom(t *testing.T, listen, user string) (status int, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listen+"/token", nil)
	testkit.Check(t, err)
	req.Header.Set("X-Example-User", user)
	res, err := http.DefaultClient.Do(req)
	testkit.Check(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	testkit.Check(t, err)
	var answer struct{ Token string }
	_ = json.Unmarshal(body, &answer) // a refusal has none
	return res.StatusCode, answer.Token
}
