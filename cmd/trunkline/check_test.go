package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"
)

// pemKey is a new private key, as a block of YAML that is indented so far.
func pemKey(t *testing.T, indent string) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return strings.ReplaceAll(text, "\n", "\n"+indent)
}

// refusals are configurations whose values are each of the right form, and which no process can run with. KEY stands for a private
// key. Each says the line that it is refused at, and what is said.
var refusals = map[string]struct {
	yaml string
	line int
	says string
}{
	"algorithms without the key's":  {"auth:\n  keys: [KEY]\n  algorithms: [RS256]\n", 2, "auth.keys: "},
	"a private key that is none":    {"auth:\n  keys: [{id: k, algorithm: EdDSA, private_key: nonsense}]\n", 2, "auth.keys: "},
	"a key of another kind":         {"auth:\n  keys: [{id: k, algorithm: RS256, private_key: \"PEM\"}]\n", 2, "auth.keys: "},
	"trust without an audience":     {"auth:\n  keys: [KEY]\n  trust: [{issuer: https://a.example, jwks_url: https://a.example/jwks}]\n", 3, "auth.trust"},
	"trust twice":                   {"auth:\n  keys: [KEY]\n  trust: [TRUST, TRUST]\n", 3, "auth.trust"},
	"an algorithm of trust":         {"auth:\n  keys: [KEY]\n  trust: [{issuer: https://a.example, audience: a, jwks_url: https://a.example/jwks, algorithms: [HS256]}]\n", 3, "auth.trust"},
	"the id of an API key":          {"auth: {keys: [KEY]}\napi_keys:\n  - {id: a_b, digest: DIGEST, scopes: [publish]}\n", 2, "API key id"},
	"the path of facilities":        {"auth: {keys: [KEY]}\nlegacy:\n  dialects: [facility]\n  facility: {path: ws}\n", 4, "legacy.facility.path: "},
	"the cookie of facilities":      {"auth: {keys: [KEY]}\nlegacy:\n  dialects: [facility]\n  facility: {cookie: a;b}\n", 4, "legacy.facility.cookie: "},
	"the prefix of facilities":      {"auth: {keys: [KEY]}\nlegacy:\n  dialects: [facility]\n  facility: {prefix: a b}\n", 4, "legacy.facility.prefix: "},
	"the resolver of facilities":    {"auth: {keys: [KEY]}\nlegacy:\n  dialects: [facility]\n  facility:\n    resolver: {url: \"ftp://ada:hunter2@x\"}\n", 5, "legacy.facility.resolver.url: "},
	"an origin of the edge":         {"auth: {keys: [KEY]}\nedge:\n  allowed_origins: [\"\"]\n", 3, "edge.allowed_origins"},
	"an origin of REST":             {"auth: {keys: [KEY]}\nhttp:\n  allowed_origins: [\"\"]\n", 3, "http.allowed_origins"},
	"a certificate without a file":  {"auth: {keys: [KEY]}\nhttp:\n  tls: {cert_file: /nowhere.pem, key_file: /nowhere.key}\n", 3, "http.tls.cert_file"},
	"a CA without a file":           {"auth: {keys: [KEY]}\ngrpc:\n  ca_file: /nowhere.pem\n", 3, "grpc.ca_file"},
	"a CA of the authorizer":        {"auth: {keys: [KEY]}\nhooks:\n  authorizer: {address: \"a:1\", fail: closed, ca_file: /nowhere.pem}\n", 3, "hooks.authorizer.ca_file"},
	"a CA of Redis":                 {"auth: {keys: [KEY]}\nredis:\n  url: rediss://127.0.0.1:1\n  ca_file: /nowhere.pem\n", 4, "redis.ca_file"},
	"a database of Redis":           {"auth: {keys: [KEY]}\nredis:\n  url: redis://127.0.0.1:1/abc\n", 3, "redis.url"},
	"Sentinel without a master":     {"auth: {keys: [KEY]}\nredis:\n  url: redis+sentinel://127.0.0.1:1\n", 3, "redis.url"},
	"a parameter of Redis":          {"auth: {keys: [KEY]}\nredis:\n  url: redis://127.0.0.1:1?fly=1\n", 3, "redis.url"},
	"a bridge":                      {"auth: {keys: [KEY]}\nredis:\n  url: redis://127.0.0.1:1\n  bridges: [{channel: a, to: nowhere/1}]\n", 4, "redis.bridges"},
	"a webhook at home":             {"auth: {keys: [KEY]}\nhooks:\n  events: {enabled: true}\n  webhooks: [HOOK(https://127.0.0.1/)]\n", 4, "allow_private"},
	"a webhook at a cloud's":        {"auth: {keys: [KEY]}\nhooks:\n  events: {enabled: true}\n  webhooks: [HOOK(https://169.254.169.254/)]\n", 4, "allow_private"},
	"a webhook in a network":        {"auth: {keys: [KEY]}\nhooks:\n  events: {enabled: true}\n  webhooks: [HOOK(https://10.0.0.1/)]\n", 4, "allow_private"},
	"a webhook as a number":         {"auth: {keys: [KEY]}\nhooks:\n  events: {enabled: true}\n  webhooks: [HOOK(https://2130706433/)]\n", 4, "allow_private"},
	"a webhook in octal":            {"auth: {keys: [KEY]}\nhooks:\n  events: {enabled: true}\n  webhooks: [HOOK(https://0177.1/)]\n", 4, "allow_private"},
	"a webhook in IPv6":             {"auth: {keys: [KEY]}\nhooks:\n  events: {enabled: true}\n  webhooks: [HOOK(\"https://[::ffff:127.0.0.1]/\")]\n", 4, "allow_private"},
	"a webhook at localhost":        {"auth: {keys: [KEY]}\nhooks:\n  events: {enabled: true}\n  webhooks: [HOOK(https://LocalHost./)]\n", 4, "allow_private"},
	"two things at once":            {"auth: {keys: [{id: k, algorithm: EdDSA, private_key: nonsense}]}\nedge:\n  ping_interval: 1500ms\n", 3, "edge.ping_interval"},
	"an open older protocol in dev": {"dev: true\nlegacy:\n  dialects: [rooms]\n  rooms: {listen: \"0.0.0.0:5000\"}\n", 4, "legacy.rooms.listen: "},
}

// config check refuses what serve refuses: in the same words, at the same place, with the same exit code.
func TestConfigCheck_isServe(t *testing.T) {
	const trust = "{issuer: https://a.example, audience: a, jwks_url: https://a.example/jwks}"
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			text := strings.ReplaceAll(c.yaml, "KEY", `{id: k, algorithm: EdDSA, private_key: "PEM"}`)
			text = strings.ReplaceAll(text, "PEM", strings.ReplaceAll(pemKey(t, ""), "\n", `\n`))
			text = strings.NewReplacer("TRUST", trust, "DIGEST", strings.Repeat("a", 64), "HOOK(", "{name: h, secrets: [whsec_"+strings.Repeat("A", 44)+"], url: ", ")]", "}]").Replace(text)
			file := writeFile(t, t.TempDir(), "c.yaml", text)
			s := &shell{}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			check := s.run(ctx, "", "config", "check", "--config", file)
			if check.code != exitConfig || !strings.Contains(check.err, fmt.Sprintf("%s:%d:", file, c.line)) || !strings.Contains(check.err, c.says) {
				t.Errorf("exit %d, want line %d and %q:\n%s", check.code, c.line, c.says, check.err)
			}
			if serve := s.run(ctx, "", "serve", "--config", file); serve.code != check.code || serve.err != check.err {
				t.Errorf("serve: exit %d\n%s\ncheck: exit %d\n%s", serve.code, serve.err, check.code, check.err)
			}
			for _, secret := range []string{"hunter2", "PRIVATE KEY", "nonsense"} {
				if strings.Contains(check.err, secret) {
					t.Errorf("%q is told:\n%s", secret, check.err)
				}
			}
		})
	}
}

// What a start would do is not done by a check: nobody is asked, and no port is taken.
func TestConfigCheck_touchesNothing(t *testing.T) {
	s := newShell(t)
	_, port, _ := strings.Cut(s.deployment.GRPC, ":")
	file := writeFile(t, t.TempDir(), "c.yaml", "auth:\n  keys:\n    - id: k\n      algorithm: EdDSA\n      private_key: |\n        "+pemKey(t, "        ")+
		"\n  trust: [{issuer: https://a.example, audience: a, jwks_url: https://192.0.2.1/jwks}]\nredis: {url: \"redis://192.0.2.1:6379\"}\n")
	started := time.Now()
	if r := s.run(t.Context(), "", "config", "check", "--config", file, "--grpc-listen", "127.0.0.1:"+port); r.code != exitDone || r.out != "ok\n" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}
