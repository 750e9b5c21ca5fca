package config_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
)

const strong = "7fQ2mB9xKc4Lw8Zr1Tn6Vy3Hs5Jd0Pg2Ae4Uo" // enough characters

func write(tb testing.TB, name, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestLoad_LaterSourcesWin(t *testing.T) {
	first := write(t, "a.yaml", "dev: true\nedge:\n  ping_interval: 10s\n  queue_bytes: 256KiB\nchannels:\n  namespaces:\n    orders: {history_length: 7}\n")
	second := write(t, "b.yaml", "edge: {queue_bytes: 512KiB, write_timeout: 1s}\n")
	l, err := app.Load(config.Sources{
		Files: []string{first, second},
		Env:   []string{"TRUNKLINE_EDGE_WRITE_TIMEOUT=2s", "TRUNKLINE_HTTP_ALLOWED_ORIGINS=https://a.example,https://b.example", "HOME=/"},
		Flags: []config.Flag{{Name: "--http-listen", Key: "http.listen", Text: ":9999"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if c.Edge.PingInterval != 10*time.Second || c.Edge.QueueBytes != 512<<10 || c.Edge.WriteTimeout != 2*time.Second || c.HTTP.Listen != ":9999" {
		t.Errorf("edge %+v, http %+v", c.Edge, c.HTTP)
	}
	if len(c.HTTP.AllowedOrigins) != 2 || *c.Channels.Namespaces["orders"].HistoryLength != 7 {
		t.Errorf("origins %v, namespaces %v", c.HTTP.AllowedOrigins, c.Channels.Namespaces)
	}
	for key, want := range map[string]string{
		"edge.ping_interval": first + ":3:3", "edge.queue_bytes": second + ":1:8",
		"edge.write_timeout": "env TRUNKLINE_EDGE_WRITE_TIMEOUT", "http.listen": "--http-listen", "grpc.listen": "development mode", "log.level": "default",
	} {
		if l.Origins[key] != want {
			t.Errorf("origin of %s is %q, want %q", key, l.Origins[key], want)
		}
	}
}

// TestLoad_Refuses has a row for every kind of bad input; each names the key, the place and what is allowed.
func TestLoad_Refuses(t *testing.T) {
	dir := t.TempDir()
	big := write(t, "big.yaml", strings.Repeat("# large\n", 200_000))
	for _, c := range []struct {
		name, yaml string
		file       string
		env        []string
		flags      []config.Flag
		want       []string
	}{
		{
			name: "bridges", yaml: "redis:\n  bridges:\n  - {channel: 'app:*', to: broadcast}\n  - {channel: a, to: nowhere}\n  - {channel: 'tl:x', to: broadcast}\n  - {channel: b, to: 'users/{u}', format: json, direction: both}\n  - {channel: c, to: channels/x, direction: both}\n  - {channel: c, to: channels/x, direction: both}\n",
			want: []string{"needs redis.url", "redis.bridges[0]: channel", "redis.bridges[1]: address", "redis.bridges[2]: channel", "our own", "needs one address", "redis.bridges[5]: channel", "bridged already", "both directions already"},
		},
		{name: "unknown key", yaml: "dev: true\nedge:\n  ping_intervall: 5s", want: []string{`trunkline.yaml:3:3  unknown key "edge.ping_intervall"   did you mean "edge.ping_interval"?`}},
		{name: "unknown section", yaml: "dev: true\nedgge: {}", want: []string{`:2:1  unknown key "edgge"   did you mean "edge"?`}},
		{name: "key twice", yaml: "dev: true\ndev: false", want: []string{`:2:1  key "dev" twice`}},
		{name: "bad YAML", yaml: "dev: true\nedge: [", want: []string{"trunkline.yaml:"}},
		{name: "two documents", yaml: "dev: true\n---\ndev: true", want: []string{"more than one document"}},
		{name: "file missing", file: filepath.Join(dir, "none.yaml"), want: []string{"none.yaml  no such file"}},
		{name: "a directory", file: dir, want: []string{"is a directory"}},
		{name: "too large", file: big, want: []string{"the limit is 1048576"}},
		{name: "wrong types", yaml: "dev: maybe\nedge: {command_burst: many, commands_per_second: NaN, ping_interval: [1]}\nlog: 3", want: []string{
			`dev: "maybe" is neither true nor false`, `edge.command_burst: "many" is not a whole number`,
			`edge.commands_per_second: "NaN" is not a number`, "edge.ping_interval: is a duration, not a list", "log: is a mapping",
		}},
		{name: "env of the wrong type", env: []string{"TRUNKLINE_DEV=true", "TRUNKLINE_EDGE_CONNECTIONS=x"}, want: []string{`env TRUNKLINE_EDGE_CONNECTIONS  edge.connections: "x"`}},
		{name: "env unknown", env: []string{"TRUNKLINE_EDGE_MAX_CONNECTIONS=1"}, want: []string{"env TRUNKLINE_EDGE_MAX_CONNECTIONS  unknown   did you mean TRUNKLINE_EDGE_CONNECTIONS?"}},
		{name: "env file missing", env: []string{"TRUNKLINE_REDIS_URL_FILE=" + filepath.Join(dir, "none")}, want: []string{"env TRUNKLINE_REDIS_URL_FILE", "no such file"}},
		{name: "env and its file", env: []string{"TRUNKLINE_NODE=a", "TRUNKLINE_NODE_FILE=" + big}, want: []string{"TRUNKLINE_NODE"}},
		{name: "flag unknown", flags: []config.Flag{{Name: "--set", Key: "edge.pings", Text: "1s"}}, want: []string{`--set  unknown key "edge.pings"`}},
		{name: "ports", yaml: "dev: true\nhttp: {listen: \":0\"}\ngrpc: {listen: \":65536\"}\ninternal: {listen: \"127.0.0.1:abc\"}", want: []string{
			`http.listen: ":0": port "0", allowed are 1 to 65535`, `port "65536"`, `port "abc"`,
		}},
		{name: "a port alone", yaml: "dev: true\nhttp: {listen: 8080}", want: []string{`http.listen: "8080" has no host (try ":8080"`}},
		{name: "host by name", yaml: "dev: true\nhttp: {listen: \"push.example.com:80\"}", want: []string{"the host is an IP address"}},
		{name: "same port twice", yaml: "dev: true\nhttp: {listen: \":9090\"}", want: []string{"grpc.listen: port 9090 is that of http.listen too"}},
		{name: "durations", yaml: "dev: true\nedge: {ping_interval: 10, handshake_timeout: -1s, write_timeout: 1y, drain_grace: 0s}", want: []string{
			`"10" has no unit (try "10s")`, "-1s is too small, allowed are 1s to 5m", `"1y" is not a duration`, "0s is too small",
		}},
		{name: "sizes", yaml: "dev: true\nedge: {frame_size: 10 potatoes, queue_bytes: -1}\npublish: {max_message: 1GiB}", want: []string{
			`"10 potatoes" is not a size`, `"-1" is not a size`, "1GiB is too large",
		}},
		{name: "minimum above maximum", yaml: "dev: true\nauth: {access_ttl: 48h, max_ttl: 24h}", want: []string{"auth.access_ttl: 48h0m0s is more than auth.max_ttl"}},
		{name: "history", yaml: "dev: true\nchannels: {defaults: {history_length: -1, history_age: 0s}, namespaces: {orders: {histori_length: 1}}}", want: []string{
			"-1 is too small", "0s is too small", `unknown key "channels.namespaces.orders.histori_length"`,
		}},
		{name: "a namespace that is no name", yaml: "dev: true\nchannels: {namespaces: {\"a b\": {history_length: 1}}}", want: []string{"namespace has the byte"}},
		{name: "half a certificate", yaml: "dev: true\nhttp: {tls: {cert_file: x.pem}}", want: []string{"cert_file and key_file are set together"}},
		{name: "certificate missing", yaml: "dev: true\nhttp: {tls: {cert_file: x.pem, key_file: y.pem}}", want: []string{"load x.pem with y.pem"}},
		{name: "mTLS without TLS", yaml: "dev: true\ngrpc: {client_ca_file: ca.pem}", want: []string{"needs grpc.tls"}},
		{name: "Redis URL", yaml: "redis: {url: \"http://user:hunter2@redis\"}", want: []string{"redis.url: •••• is not a Redis URL"}},
		{name: "roles", yaml: "roles: [edge, queue]", want: []string{`"queue" is not known, allowed are auth, publish, gateway, edge`}},
		{name: "no roles", yaml: "dev: true\nroles: []", want: []string{"roles: is empty"}},
		{name: "a part without Redis", yaml: "roles: [edge]\ninternal_key: " + strong + "\nupstream: {auth: \"a:1\", publish: \"p:1\"}", want: []string{"roles: edge alone need Redis"}},
		{name: "a part without the rest", yaml: "roles: [edge]\nredis: {url: \"redis://r\"}", want: []string{"auth=auth:9090", "publish=publish:9090", "internal_key: is empty"}},
		{name: "short secret", yaml: "internal_key: hunter2", want: []string{"internal_key: •••• is shorter than 32 characters"}},
		{name: "example secret", yaml: "internal_key: changeme-changeme-changeme-changeme-changeme", want: []string{"•••• is an example from a document"}},
		{name: "repeated secret", yaml: "internal_key: " + strings.Repeat("x", 40), want: []string{"•••• is one character, repeated"}},
		{name: "no signing key", yaml: "{}", want: []string{"auth.keys: is empty"}},
		{name: "algorithms", yaml: "auth: {keys: [{id: k, algorithm: none}, {id: h, algorithm: HS256, private_key: x}]}", want: []string{`"none" is not known, allowed are EdDSA`}},
		{name: "secret and key mixed", yaml: "auth: {keys: [{id: k, algorithm: EdDSA, secret: " + strong + "}]}", want: []string{"auth.keys[0]: EdDSA takes a private_key"}},
		{name: "weak HS256", yaml: "auth: {keys: [{id: k, algorithm: HS256, secret: secret}]}", want: []string{"auth.keys[0].secret: •••• is shorter"}},
		{name: "a key of another kind", yaml: "dev: true\nauth: {keys: [{id: k, algorithm: RS256, private_key: rubbish}]}", want: []string{":2:8", `auth.keys: key "k": not a PEM key of RS256`}},
		{name: "an ended key", yaml: "dev: true\nauth: {keys: [{id: k, algorithm: HS256, secret: " + strong + ", until: \"2020-01-01T00:00:00Z\"}]}", want: []string{":2:8", "no key can sign: the last one of auth.keys ended at 2020-01-01"}},
		{name: "an algorithm without its key", yaml: "dev: true\nauth: {algorithms: [EdDSA], keys: [{id: k, algorithm: HS256, secret: " + strong + "}]}", want: []string{"algorithm HS256 is not in auth.algorithms"}},
		{name: "trust without audience", yaml: "dev: true\nauth: {trust: [{issuer: i, jwks_url: \"https://login.example/keys\"}]}", want: []string{":2:8", "issuer and audience are required"}},
		{name: "an issuer twice", yaml: "dev: true\nauth: {trust: [{issuer: i, audience: a, jwks_url: \"https://i/k\"}, {issuer: i, audience: b, jwks_url: \"https://i/k\"}]}", want: []string{`"i": the issuer is configured twice`}},
		{name: "two issuers of one user", yaml: "dev: true\nauth: {trust: [{issuer: i, audience: a, jwks_url: \"https://i/k\"}, {issuer: j, audience: a, jwks_url: \"https://j/k\"}]}", want: []string{"a user of one would be a user of the other"}},
		{name: "a claim of everybody", yaml: "dev: true\nauth: {trust: [{issuer: i, audience: a, jwks_url: \"https://i/k\", claims: {client: azp}}]}", want: []string{"claims.client: azp is the same for everybody"}},
		{name: "a claim that is none", yaml: "dev: true\nauth: {trust: [{issuer: i, audience: a, jwks_url: \"https://i/k\", claims: {groups: realm_access..roles}}]}", want: []string{"claims.groups", "an empty part between dots"}},
		{name: "an unknown claim", yaml: "dev: true\nauth: {trust: [{issuer: i, audience: a, jwks_url: \"https://i/k\", claims: {name: sub}}]}", want: []string{`unknown key "auth.trust[0].claims.name"`}},
		{name: "grants named twice", yaml: "dev: true\nauth: {trust: [{issuer: i, audience: a, jwks_url: \"https://i/k\", trust_grants: true, claims: {grants: scope}}]}", want: []string{"trust_grants and claims.grants name two claims"}},
		{name: "a prefix that is no name", yaml: "dev: true\nauth: {trust: [{issuer: i, audience: a, jwks_url: \"https://i/k\", user_prefix: \"a\\nb\"}]}", want: []string{"user_prefix"}},
		{name: "JWKS in the open", yaml: "dev: true\nauth: {trust: [{issuer: i, jwks_url: \"http://login.example/keys\"}]}", want: []string{"is not https"}},
		{name: "API keys", yaml: "dev: true\napi_keys: [{key: " + strong + ", scopes: [publish]}]", want: []string{"looks like tlk_ID_SECRET"}},
		{name: "API key scope", yaml: "dev: true\napi_keys: [{key: tlk_a_" + strong + ", scopes: [fly]}]", want: []string{`scope "fly" is not known`}},
		{name: "admin in public", yaml: "dev: true\ninternal: {listen: \":9091\"}", want: []string{"internal.listen: \":9091\" is reached from elsewhere"}},
		{name: "reflection in public", yaml: "grpc: {reflection: on}", want: []string{"grpc.reflection: on needs a loopback"}},
		{name: "public URL of a developer", yaml: "dev: true\nhttp: {public_url: \"https://push.example.com\"}", want: []string{"development mode lets everybody in"}},
		{name: "public URL in the open", yaml: "http: {public_url: \"http://push.example.com\"}", want: []string{"tokens would travel in the open"}},
		{name: "log level", yaml: "dev: true\nlog: {level: loud}", want: []string{`log.level: "loud" is not known, allowed are debug, info, warn, error`}},
		{name: "PROXY protocol of no listener", yaml: "dev: true\nhttp: {trusted_proxies: [10.0.0.0/8]}\nproxy_protocol: [http.listn]", want: []string{":3:1", "proxy_protocol", "http.listen"}},
		{name: "PROXY protocol of nobody", yaml: "dev: true\nproxy_protocol: [http.listen]", want: []string{"proxy_protocol", "http.trusted_proxies"}},
		{name: "origin of nothing", yaml: "dev: true\nedge: {allowed_origins: [\"\"]}", want: []string{":2:26", "edge.allowed_origins[0]", "is empty"}},
		{name: "every origin of REST", yaml: "dev: true\nhttp: {allowed_origins: [\"*\"]}", want: []string{":2:26", "http.allowed_origins[0]", "name the origins"}},
		{name: "origin with an empty fragment", yaml: "dev: true\nhttp: {allowed_origins: [\"https://a.example#\"]}", want: []string{":2:26", "is not an origin"}},
		{name: "origin of any domain", yaml: "dev: true\nedge: {allowed_origins: [\"https://*.com\"]}", want: []string{":2:26", "name the domain"}},
		{name: "origin with a star inside", yaml: "dev: true\nedge: {allowed_origins: [\"https://a.*.example\"]}", want: []string{":2:26", "is not an origin"}},
		{name: "origin with a path", yaml: "dev: true\nedge: {allowed_origins: [\"https://a.example/app\"]}", want: []string{"is not an origin"}},
		{name: "rate of nothing", yaml: "dev: true\nedge: {commands_per_second: 0, command_burst: 0}", want: []string{"0 is too small, allowed are 0.1 to", "0 is too small, allowed are 1 to"}},
		{name: "ticket keys", yaml: "dev: true\nedge: {tickets: {keys: [hunter2, \"" + strings.Repeat("A", 43) + "=\"], life: 1h}, connects_in_progress: 0}", want: []string{
			"edge.tickets.keys[0]: •••• is not 32 bytes in base64 (try: openssl rand -base64 32)", "edge.tickets.keys[1]: •••• is one byte, repeated",
			"1h is too large, allowed are 1s to 10m", "edge.connects_in_progress: 0 is too small",
		}},
		{name: "rooms", yaml: "dev: true\nchannels: {namespaces: {rooms: {presence: false}}}\nlegacy: {dialects: [rooms], rooms: {delivery: loudly, scope: wide}}", want: []string{
			`"loudly" is not known, allowed are broadcast, addressed`, `"wide" is not known, allowed are all, room`,
		}},
		{name: "rooms without presence", yaml: "dev: true\nchannels: {namespaces: {rooms: {presence: false}}}\nlegacy: {dialects: [rooms]}", want: []string{
			"channels.namespaces: rooms: the rooms protocol needs presence: true and explicit: false there",
		}},
		{name: "limits the wrong way round", yaml: "dev: true\nedge: {connections: 10, connections_per_ip: 20}", want: []string{"20 is more than edge.connections (10)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := config.Sources{Env: c.env, Flags: c.flags}
			if c.yaml != "" {
				src.Files = []string{write(t, "trunkline.yaml", c.yaml)}
			} else if c.file != "" {
				src.Files = []string{c.file}
			}
			_, err := app.Load(src)
			if _, ok := errors.AsType[config.Problems](err); !ok {
				t.Fatalf("Load returned %v, want Problems", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
			for _, secret := range []string{"hunter2", "changeme", strong} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret in the error:\n%v", err)
				}
			}
		})
	}
}

func TestLoad_TakesSecretsFromFiles(t *testing.T) {
	key := write(t, "key", "tlk_backend_"+strong+"\n")
	internal := write(t, "internal", strong+"\n")
	file := write(t, "t.yaml", "dev: true\napi_keys:\n  - {id: backend, key_file: "+key+", scopes: [\"*\"]}\n")
	tickets := []string{base64.StdEncoding.EncodeToString([]byte(strong[:32])), base64.StdEncoding.EncodeToString([]byte(strong[4:36]))}
	l, err := app.Load(config.Sources{Files: []string{file}, Env: []string{
		"TRUNKLINE_INTERNAL_KEY_FILE=" + internal, "TRUNKLINE_EDGE_TICKETS_KEYS_FILE=" + write(t, "tickets", strings.Join(tickets, ",")+"\n"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Config.InternalKey.Reveal() != strong || l.Config.APIKeys[0].Key.Reveal() != "tlk_backend_"+strong {
		t.Error("the files were not read as they are")
	}
	if keys := l.Config.Edge.Tickets.Keys; len(keys) != 2 || keys[0].Reveal() != tickets[0] || keys[1].Reveal() != tickets[1] {
		t.Error("the keys of tickets were not read as they are")
	}
	for _, v := range l.Values() {
		if strings.Contains(v.Value, strong) || strings.Contains(v.Value, tickets[0]) {
			t.Errorf("%s shows a secret", v.Key)
		}
	}
}

func TestLoad_IgnoresTheVariablesOfKubernetes(t *testing.T) {
	_, err := app.Load(config.Sources{Env: []string{
		"TRUNKLINE_DEV=true", "TRUNKLINE_SERVICE_HOST=10.0.0.1", "TRUNKLINE_PORT=tcp://10.0.0.1:80", "TRUNKLINE_PORT_80_TCP=x",
		"TRUNKLINE_EDGE_SERVICE_PORT=80", "TRUNKLINE_EDGE_PORT_8080_TCP_ADDR=x", "TRUNKLINE_SERVER=http://localhost:8080",
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLoad_ReadsStructuresFromVariables(t *testing.T) {
	l, err := app.Load(config.Sources{Env: []string{
		"TRUNKLINE_DEV=true", `TRUNKLINE_CHANNELS_NAMESPACES={orders: {history_length: 5, history_age: 2d}}`,
		"TRUNKLINE_UPSTREAM=auth=a:1,publish=p:2", "TRUNKLINE_EDGE_ALLOWED_ORIGINS=",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if rule := l.Config.Channels.Namespaces["orders"]; *rule.HistoryLength != 5 || *rule.HistoryAge != 48*time.Hour || rule.Presence != nil {
		t.Errorf("namespaces %+v", rule)
	}
	if l.Config.Upstream["publish"] != "p:2" {
		t.Errorf("upstream %v", l.Config.Upstream)
	}
}

// A setting inside of a setting of a list reaches its own place.
func TestLoad_readsMappingsInsideOfLists(t *testing.T) {
	file := write(t, "trunkline.yaml", `
dev: true
auth:
  trust:
    - issuer: https://login.example/
      audience: us
      jwks_url: https://login.example/keys
      claims: {user: email, client: device_id, session: sid, groups: "cognito:groups", grants: "https://example.com/grants"}
      revocations: {lost: allow}
`)
	loaded, err := app.Load(config.Sources{Files: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	got := loaded.Config.Auth.Trust[0]
	if want := (config.Claims{User: "email", Client: "device_id", Session: "sid", Groups: "cognito:groups", Grants: "https://example.com/grants"}); got.Claims != want ||
		got.Issuer != "https://login.example/" || got.JWKSURL != "https://login.example/keys" || got.Revocations.Lost != "allow" {
		t.Errorf("it is read as %+v", got)
	}
}

// The recipes for other issuers are right as they stand in the document.
func TestLoad_takesTheRecipesOfTheDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	recipes, _, _ := strings.Cut(rest, "```")
	loaded, err := app.Load(config.Sources{Files: []string{write(t, "trunkline.yaml", "dev: true\n"+recipes)}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(loaded.Config.Auth.Trust); n != 9 {
		t.Errorf("%d issuers", n)
	}
}

// A file without an end, whose size is said to be nothing, is refused as one that is too large.
func TestReadFile_ends(t *testing.T) {
	if b, err := config.ReadFile("/dev/zero"); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("it has %d bytes, %v", len(b), err)
	}
}
