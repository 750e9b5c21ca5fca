package badinput_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/testkit"
	"github.com/trunkline/trunkline/services/auth"
)

// settings are files of settings that are wrong, and where: "2:11 http.listen", line and column and key.
var settings = []struct{ name, text, want string }{
	{"an unknown section", "nope: {}", `1:1 "nope"`},
	{"an unknown key", "http: {port: 80}", `1:8 "http.port"`},
	{"a key in capitals", "HTTP: {listen: ':80'}", `1:1 "HTTP"`},
	{"a key twice", "dev: true\ndev: false", "2:1"},
	{"a section twice", "http: {listen: ':80'}\nhttp: {listen: ':81'}", "2:1"},
	{"no YAML", "http: [", "1"},
	{"a tab", "http:\n\tlisten: ':80'", "2"},
	{"two documents", "dev: true\n---\ndev: false", "2"},
	{"a list", "- dev", "1:1"},
	{"a text", "dev", "1:1"},
	{"NUL", "dev: true\x00", "1:10"},
	{"bytes that are no UTF-8", "node: \"\xff\"", "1:8"},
	{"a section that is text", "http: x", "1:7 http"},
	{"a section that is a list", "http: [a]", "1:7 http"},
	{"maybe for true", "dev: maybe", "1:6 dev"},
	{"two for true", "dev: 2", "1:6 dev"},
	{"a list for a text", "node: [a]", "1:7 node"},
	{"a text for a list", "api_keys: x", "1:11 api_keys"},
	{"a role that is none", "roles: [chef]", "1:9 roles[0]"},
	{"a role twice", "roles: [edge, edge]", "1:1 roles"},
	{"roles without Redis", "roles: [edge]", "1:1 roles"},
	{"port 0", "http: {listen: 'localhost:0'}", "1:16 http.listen"},
	{"port -1", "http: {listen: 'localhost:-1'}", "1:16 http.listen"},
	{"port 65536", "http: {listen: 'localhost:65536'}", "1:16 http.listen"},
	{"a port that is text", "http: {listen: 'localhost:abc'}", "1:16 http.listen"},
	{"no port", "http: {listen: localhost}", "1:16 http.listen"},
	{"a listener twice", "http: {listen: 'localhost:81'}\ngrpc: {listen: 'localhost:81'}", "2:8 grpc.listen"},
	{"a duration without a unit", "shutdown_delay: 10", "1:17 shutdown_delay"},
	{"a negative duration", "shutdown_delay: -1s", "1:17 shutdown_delay"},
	{"a duration in years", "shutdown_delay: 1y", "1:17 shutdown_delay"},
	{"a duration that is too long", "shutdown_delay: 1000h", "1:17 shutdown_delay"},
	{"a size in potatoes", "publish: {max_message: 10 potatoes}", "1:24 publish.max_message"},
	{"a negative size", "publish: {max_message: -1}", "1:24 publish.max_message"},
	{"a size that is too large", "publish: {max_message: 1TiB}", "1:24 publish.max_message"},
	{"a size past 64 bits", "publish: {max_message: 99999999999999999999}", "1:24 publish.max_message"},
	{"a message that no call can carry", "publish: {max_message: 8MiB}\ngrpc: {max_message: 1MiB}", "2:8 grpc.max_message"},
	{"a level that is none", "log: {level: loud}", "1:14 log.level"},
	{"a format that is none", "log: {format: xml}", "1:15 log.format"},
	{"a Redis of another scheme", "redis: {url: 'http://x'}", "1:14 redis.url"},
	{"a Redis without a host", "redis: {url: 'redis://'}", "1:14 redis.url"},
	{"a Redis with a port that is none", "redis: {url: 'redis://x:99999'}", "1:14 redis.url"},
	{"a Redis with a database that is text", "redis: {url: 'redis://x/abc'}", "1:14 redis.url"},
	{"a Redis with database -1", "redis: {url: 'redis://x/-1'}", "1:14 redis.url"},
	{"Sentinel without a master", "redis: {url: 'redis+sentinel://x'}", "1:14 redis.url"},
	{"a Cluster with a database", "redis: {url: 'redis+cluster://x/1'}", "1:14 redis.url"},
	{"a Redis with an unknown parameter", "redis: {url: 'redis://x?nope=1'}", "1:14 redis.url"},
	{"an algorithm that is none", "auth: {algorithms: [none]}", "1:21 auth.algorithms[0]"},
	{"a signing key that is none", "auth: {keys: [{id: a, algorithm: EdDSA, private_key: x}]}", "1:8 auth.keys"},
	{"a signing key without an id", "auth: {keys: [{algorithm: HS256, secret: abcdefghijklmnopqrstuvwxyz0123456789}]}", "1:8 auth.keys"},
	{"a secret that people copy", "auth: {keys: [{id: a, algorithm: HS256, secret: secretsecretsecretsecretsecretsecret}]}", "1:49 auth.keys[0].secret"},
	{"a secret that is short", "auth: {keys: [{id: a, algorithm: HS256, secret: abc}]}", "1:49 auth.keys[0].secret"},
	{"an issuer without an audience", "auth: {trust: [{issuer: 'https://x/', jwks_url: 'https://x/j'}]}", "1:8 auth.trust"},
	{"an issuer over http", "auth: {trust: [{issuer: 'https://x/', jwks_url: 'http://x/j', audience: a}]}", "1:8 auth.trust"},
	{"an API key that is none", "api_keys: [{id: a, key: x, scopes: [publish]}]", "1:25 api_keys[0].key"},
	{"an API key with a scope that is none", "api_keys: [{id: a, digest: " + strings.Repeat("a", 64) + ", scopes: [fly]}]", "1:1 api_keys"},
	{"an API key twice", "api_keys: [{id: a, digest: " + strings.Repeat("a", 64) + ", scopes: [publish]}, {id: a, digest: " + strings.Repeat("b", 64) + ", scopes: [publish]}]", "1:1 api_keys"},
	{"an internal key that is short", "internal_key: abc", "1:15 internal_key"},
	{"an origin that is none", "edge: {allowed_origins: [x]}", "1:26 edge.allowed_origins[0]"},
	{"an empty origin", "edge: {allowed_origins: ['']}", "1:26 edge.allowed_origins[0]"},
	{"an origin with a path", "edge: {allowed_origins: ['https://x/y']}", "1:26 edge.allowed_origins[0]"},
	{"a network that is none", "http: {trusted_proxies: [x]}", "1:26 http.trusted_proxies[0]"},
	{"a certificate that is not there", "http: {tls: {cert_file: /nope, key_file: /nope}}", "1:14 http.tls.cert_file"},
	{"a certificate without a key", "http: {tls: {cert_file: /nope}}", "1:14 http.tls.cert_file"},
	{"a namespace with a name that is none", "channels: {namespaces: {'a b': {}}}", "1:12 channels.namespaces"},
	{"a namespace with an unknown key", "channels: {namespaces: {a: {nope: 1}}}", `1:29 "channels.namespaces.a.nope"`},
	{"a negative length of history", "channels: {defaults: {history_length: -1}}", "1:39 channels.defaults.history_length"},
	{"a webhook to a private address", "hooks: {webhooks: [{id: a, url: 'https://127.0.0.1/'}]}", `1:21 "hooks.webhooks[0].id"`},
	{"a webhook over http", "hooks: {webhooks: [{id: a, url: 'http://x.example/'}]}", `1:21 "hooks.webhooks[0].id"`},
	{"a wait for an ack that is longer than messages are kept", "inbox: {keep: 1s, ack_timeout: 1h}", "1:19 inbox.ack_timeout"},
	{"a ping without a pause", "edge: {ping_interval: 0s}", "1:23 edge.ping_interval"},
	{"a retention of no time", "channels: {defaults: {history_age: 0s}}", "1:36 channels.defaults.history_age"},
	{"a retention of messages for no time", "inbox: {keep: 0s}", "1:15 inbox.keep"},
	{"an older TLS", "http: {tls: {min_version: '1.0'}}", `1:14 "http.tls.min_version"`},
	{"callers by certificate without a CA", "grpc: {client_scopes: {billing: [publish]}}", "1:8 grpc.client_scopes"},
	{"a CA of callers that is empty", "grpc: {client_ca_file: /dev/null}", "1:8 grpc.client_ca_file"},
	{"a CA of Redis that is empty", "redis: {url: 'rediss://x', ca_file: /dev/null}", "1:28 redis.ca_file"},
	{"a Redis behind a socket whose path is too long", "redis: {url: 'unix:///" + strings.Repeat("x", 200) + "'}", "1:14 redis.url"},
	{"metrics for everybody", "internal: {listen: '0.0.0.0:9091'}", "1:12 internal.listen"},
	{"a rate of zero", "edge: {commands_per_second: 0}", "1:29 edge.commands_per_second"},
	{"a negative rate", "edge: {commands_per_second: -1}", "1:29 edge.commands_per_second"},
	{"a rate that is none", "edge: {commands_per_second: NaN}", "1:29 edge.commands_per_second"},
	{"a rate without end", "edge: {commands_per_second: Inf}", "1:29 edge.commands_per_second"},
	{"a rate without a burst", "edge: {commands_per_second: 5, command_burst: 0}", "1:47 edge.command_burst"},
	{"an older protocol that is none", "legacy: {dialects: [x]}", "1:21 legacy.dialects[0]"},
}

// place is how a problem begins.
var place = regexp.MustCompile(`(?m)^[^ ]*/settings\.yaml:(\d+(?::\d+)?)  (?:unknown key )?(?:([a-z_.]+(?:\[\d+\])?(?:\.[a-z_]+)*): |("[^"]+"))?`)

// trunkline runs the program and returns its exit code and what it has said.
func trunkline(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	path := program(t) // made before the time counts
	ctx, cancel := context.WithTimeout(t.Context(), 20*commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append([]string{"PATH=" + os.Getenv("PATH")}, env...), &out, &out
	err := cmd.Run()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func TestConfig(t *testing.T) {
	s := start(t, "configuration")
	file := filepath.Join(t.TempDir(), "settings.yaml")
	for _, c := range settings {
		for _, verb := range []string{"config check", "serve"} {
			s.row(verb+", "+c.name, "exit 3, "+c.want, func(t *testing.T) string {
				testkit.Check(t, os.WriteFile(file, []byte(c.text), 0o600))
				code, said := trunkline(t, nil, append(strings.Fields(verb), "--config", file)...)
				s.told(t, said)
				found := place.FindStringSubmatch(said)
				if found == nil {
					return fmt.Sprintf("exit %d, %s", code, said)
				}
				return strings.TrimSpace(fmt.Sprintf("exit %d, %s %s", code, found[1], found[2]+found[3]))
			})
		}
	}
	for name, args := range map[string][]string{
		"an unknown flag": {"serve", "--nope"}, "an unknown verb": {"fly"}, "an argument too many": {"serve", "x"}, "a flag without a value": {"serve", "--config"},
		"a server without a scheme": {"pub", "--server", "example.com", "a", "1"}, "a server that is none": {"pub", "--server", "::::", "a", "1"},
		"a server with another scheme": {"sub", "--server", "ftp://x", "a"}, "too few arguments": {"pub"},
	} {
		s.row(name, "exit 2", func(t *testing.T) string {
			code, said := trunkline(t, nil, args...)
			s.told(t, said)
			return fmt.Sprintf("exit %d", code)
		})
	}
	s.files(t)
	s.hidden(t)
	for name, env := range map[string]string{
		"an unknown variable": "TRUNKLINE_NOPE=1", "a variable that is no number": "TRUNKLINE_PUBLISH_MAX_MESSAGE=x", "a variable that is no duration": "TRUNKLINE_SHUTDOWN_DELAY=x",
		"a variable that is no list of structures": "TRUNKLINE_API_KEYS=x", "a file that is not there": "TRUNKLINE_REDIS_URL_FILE=/nope",
	} {
		s.row(name, "exit 3", func(t *testing.T) string {
			code, said := trunkline(t, []string{env}, "config", "check")
			s.told(t, said)
			return fmt.Sprintf("exit %d", code)
		})
	}
}

// files are configurations that are wrong by where they are, or by the machine.
func (s *suite) files(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yaml")
	testkit.Check(t, os.WriteFile(large, []byte("# "+strings.Repeat("x", 10<<20)+"\ndev: true\n"), 0o600))
	for name, path := range map[string]string{"a directory": t.TempDir(), "a file that cannot be read": "/proc/self/mem", "a file of 10 MiB": large} {
		for _, verb := range []string{"config check", "serve"} {
			s.row(verb+", "+name, "exit 3, names it", func(t *testing.T) string {
				code, said := trunkline(t, nil, append(strings.Fields(verb), "--config", path)...)
				s.told(t, strings.ReplaceAll(said, path, ""))
				if !strings.Contains(said, path) {
					return fmt.Sprintf("exit %d, %s", code, said)
				}
				return fmt.Sprintf("exit %d, names it", code)
			})
		}
	}
	key, err := auth.NewKey("a")
	testkit.Check(t, err)
	keys := fmt.Sprintf(`TRUNKLINE_AUTH_KEYS=[{id: a, algorithm: EdDSA, private_key: %q}, {id: b, algorithm: HS256, secret: %s}]`, key.PEM, rand.Text()+rand.Text())
	address := strings.TrimPrefix(s.HTTP, "http://")
	for name, row := range map[string]struct {
		args  []string
		env   string
		want  string
		names string
	}{
		"a port in use":                    {[]string{"serve", "--dev", "--http-listen", address}, "", "exit 1", "http.listen"},
		"an address of another machine":    {[]string{"serve", "--dev", "--grpc-listen", "203.0.113.1:8080"}, "", "exit 1", "grpc.listen"},
		"an address that nobody has":       {[]string{"serve"}, "TRUNKLINE_HTTP_LISTEN=203.0.113.1:8080", "exit 1", "http.listen"},
		"more connections than files":      {[]string{"serve", "--dev"}, "TRUNKLINE_EDGE_CONNECTIONS=10000000", "exit 3", "edge.connections"},
		"no processors":                    {[]string{"config", "check", "--dev"}, "GOMAXPROCS=0", "exit 0", "ok"},
		"keys of two algorithms":           {[]string{"config", "check"}, "", "exit 0", "ok"},
		"the version":                      {[]string{"--version"}, "", "exit 0", "trunkline"},
		"a flag that wins over a variable": {[]string{"config", "show", "--log-level", "warn"}, "TRUNKLINE_LOG_LEVEL=loud", "exit 3", "TRUNKLINE_LOG_LEVEL"},
	} {
		s.row(name, row.want+", names "+row.names, func(t *testing.T) string {
			env := []string{row.env}
			if row.args[len(row.args)-1] != "--dev" {
				env = append(env, keys)
			}
			code, said := trunkline(t, env, row.args...)
			s.told(t, said)
			if !strings.Contains(said, row.names) {
				return fmt.Sprintf("exit %d, %s", code, said)
			}
			return fmt.Sprintf("exit %d, names %s", code, row.names)
		})
	}
}

// hiding are settings that have a secret, beside a mistake or in it. %s is the secret.
var hiding = []string{
	"internal_key: %.20s", "internal_key: [%s]", "internal_key: {a: %s}", "internal_key: '%s", "internal_key: %s\n\tdev: true", "internal_key: *%s", "internal_key: !!int %s",
	"internal_key: %s\ninternal_key: %s", "password: %s", "redis: %s", "redis: [%s]", "redis: {password: %s}", "redis: {url: 'redis://u:%s@x:99999'}",
	"redis: {url: 'redis://u:%s@x/abc'}", "redis: {url: 'http://u:%s@x'}", "redis: {url: 'redis://u:%s%%zz@x'}", "redis: {url: 'redis://u:%s@x y'}",
	"redis: {url: 'redis://u:%s@'}", "redis: {url: 'redis://x?password=%s'}", "redis: {url: '%s'}", "redis: {url: 'redis+cluster://u:%s@x/1'}",
	"redis: {url: 'redis+sentinel://u:%s@x'}", "redis: {sentinel_password: [%s]}", "redis: {sentinel_password: %s}",
	"api_keys: [{id: a, key: %s, nope: 1}]", "api_keys: [{id: a, key: %s, scopes: [fly]}]", "api_keys: [%s]", "api_keys: %s", "api_keys: [{id: a, digest: %s, scopes: [publish]}]",
	"auth: {keys: [{id: a, algorithm: EdDSA, secret: %s}]}", "auth: {keys: [{id: a, algorithm: EdDSA, private_key: %s}]}", "auth: {keys: [{id: a, algorithm: HS256, secret: [%s]}]}",
	"auth: {keys: [{id: a, algorithm: HS256, private_key: %s}]}", "auth: {keys: [%s]}", "auth: {keys: %s}",
	"edge: {tickets: {keys: ['%s']}}", "edge: {tickets: {keys: '%s'}}", "edge: {tickets: {keys: [[%s]]}}",
	"hooks: {webhooks: [{name: a, url: 'https://x.example/', secrets: ['%s']}]}", "hooks: {webhooks: [{name: a, url: 'https://u:%s@x.example/', secrets: [whsec_x]}]}",
	"hooks: {webhooks: [{name: a, url: 'http://x.example/%s'}]}", "hooks: {authorizer: {address: 'u:%s@x', fail: closed}}", "http: {public_url: 'https://u:%s@x/y'}",
	"edge: {allowed_origins: ['https://u:%s@x']}", "legacy: {dialects: [facility], facility: {resolver: {url: 'ftp://u:%s@x'}}}",
	"auth: {trust: [{issuer: 'https://u:%s@x/', jwks_url: 'http://u:%s@x/j', audience: a}]}", "upstream: {auth: 'u:%s@x'}",
}

// hidden gives settings with secrets that nobody is told of, in a file, from a file of their own, and in the environment.
func (s *suite) hidden(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	for _, text := range hiding {
		for _, verb := range []string{"config show", "serve"} {
			s.row(verb+", "+text, "exit 3", func(t *testing.T) string {
				secret := rand.Text() + rand.Text()
				secrets.Add("what "+text+" has", secret)
				testkit.Check(t, os.WriteFile(file, []byte(strings.NewReplacer("%s", secret, "%.20s", secret[:20], "%%", "%").Replace(text)), 0o600))
				code, said := trunkline(t, nil, append(strings.Fields(verb), "--config", file)...)
				s.secret(t, "what is said", said)
				return fmt.Sprintf("exit %d", code)
			})
		}
	}
	for _, variable := range []string{
		"REDIS_URL=http://u:%s@x", "REDIS_URL=redis://u:%s@x y", "INTERNAL_KEY=%.20s", "API_KEYS=[{id: a, key: %s", "API_KEYS=%s", "AUTH_KEYS=[{id: a, secret: %s}]",
		"EDGE_TICKETS_KEYS=%s", "HOOKS_WEBHOOKS=[{name: a, secrets: [%s]}]", "REDIS_SENTINEL_PASSWORD=%s", "PASSWORD=%s", "REDIS_PASSWORD=%s",
	} {
		s.row("the variable "+variable, "exit 3", func(t *testing.T) string {
			secret := rand.Text() + rand.Text()
			secrets.Add("what "+variable+" has", secret)
			text := "TRUNKLINE_" + strings.NewReplacer("%s", secret, "%.20s", secret[:20]).Replace(variable)
			code, said := trunkline(t, []string{text}, "config", "check")
			s.secret(t, "what is said", said)
			name, value, _ := strings.Cut(text, "=")
			testkit.Check(t, os.WriteFile(file, []byte(value), 0o600))
			_, said = trunkline(t, []string{name + "_FILE=" + file}, "config", "check")
			s.secret(t, "what is said", said)
			return fmt.Sprintf("exit %d", code)
		})
	}
}
