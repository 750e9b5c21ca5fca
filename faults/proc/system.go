package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/faults/build"
	"github.com/trunkline/trunkline/faults/proxy"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/auth"
)

// Options say what a system is made of.
type Options struct {
	Program   string // the product
	Redis     Shape
	RedisArgs []string // of a single server
	// Config is more YAML, at the top level.
	Config string
	// Namespace is what the namespace of the channels has besides its length: durability, overload.
	Namespace string
	// Proxied are the processes that reach a single Redis through a proxy of their own.
	Proxied []string
	// Announced lets the replicas of Sentinel be reached through proxies, which are named as they are.
	Announced bool
	// Movable says that the program's clock can be moved.
	Movable bool
	// Limits are commands of the shell in front of a process, by its name.
	Limits map[string]string
}

// System is the product in five processes over Redis.
type System struct {
	Dir     string
	APIKey  string
	Redis   []*Redis
	Edges   []string // where their listeners are
	Gateway string
	GRPC    string // of publish
	Auth    string
	// Front passes connections on to any edge.
	Front      *proxy.Proxy
	Sentinels  []*Process
	SentinelAt []string

	options  Options
	storeAt  string
	url      func(addr string) string
	parts    map[string]*Process
	internal map[string]string
	proxies  map[string]*proxy.Proxy
	all      []*Process
	secrets  []string

	mu     sync.Mutex
	tokens []string
}

// Parts are the processes of the product, in the order in which they start.
var Parts = []string{"auth", "publish", "gateway", "edge1", "edge2"}

// Start starts a system in a folder. Stop it also when Start fails.
func Start(ctx context.Context, dir string, o Options) (*System, error) {
	s := &System{
		Dir: dir, options: o, parts: map[string]*Process{}, internal: map[string]string{}, proxies: map[string]*proxy.Proxy{},
	}
	if err := s.startRedis(ctx); err != nil {
		return s, err
	}
	config, err := s.configure()
	if err != nil {
		return s, err
	}
	ports := map[string][3]string{}
	for _, name := range Parts {
		var at [3]string
		for i := range at {
			if at[i], err = freeAddr(); err != nil {
				return s, err
			}
		}
		ports[name] = at
	}
	s.Auth, s.GRPC, s.Gateway = ports["auth"][1], ports["publish"][1], ports["gateway"][0]
	s.Edges = []string{ports["edge1"][0], ports["edge2"][0]}
	if s.Front, err = proxy.Start(s.Edges...); err != nil {
		return s, fmt.Errorf("start the front: %w", err)
	}
	for _, name := range Parts {
		if err := s.prepare(name, config, ports[name]); err != nil {
			return s, err
		}
		if err := s.parts[name].Launch(); err != nil {
			return s, err
		}
	}
	for _, name := range Parts {
		if err := s.parts[name].Ready(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// prepare makes one process of the product.
func (s *System) prepare(name, config string, at [3]string) error {
	store := s.storeAt
	for _, proxied := range s.options.Proxied {
		if proxied == name {
			p, err := proxy.Start(s.storeAt)
			if err != nil {
				return fmt.Errorf("start a proxy: %w", err)
			}
			s.proxies[name], store = p, p.Addr()
		}
	}
	p := &Process{Name: name, program: s.options.Program, log: filepath.Join(s.Dir, name+".log"), limits: s.options.Limits[name]}
	p.args = []string{
		"serve", "--config", config, "--roles", strings.TrimRight(name, "12"), "--http-listen", at[0], "--grpc-listen", at[1],
		"--internal-listen", at[2], "--log-level", "info",
	}
	if name != "gateway" {
		p.args = append(p.args, "--redis", s.url(store))
	}
	switch name {
	case "auth":
	case "publish":
		p.args = append(p.args, "--upstream", "auth="+s.Auth)
	default:
		p.args = append(p.args, "--upstream", "auth="+s.Auth+",publish="+s.GRPC)
	}
	if s.options.Movable {
		if err := s.SetClock(name, 0); err != nil {
			return err
		}
		p.env = append(p.env, build.ClockFile+"="+s.clock(name))
	}
	url := "http://" + at[2] + "/readyz"
	p.ready = func(ctx context.Context) error { return get(ctx, url) }
	s.internal[name] = at[2]
	s.parts[name] = p
	s.all = append(s.all, p)
	return nil
}

func (s *System) clock(name string) string { return filepath.Join(s.Dir, name+".clock") }

// SetClock moves the wall clock of one process.
func (s *System) SetClock(name string, ahead time.Duration) error {
	next := s.clock(name) + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%d\n", int64(ahead.Seconds())), 0o600); err != nil {
		return fmt.Errorf("set a clock: %w", err)
	}
	return os.Rename(next, s.clock(name))
}

// configure writes keys and the configuration that all processes share.
func (s *System) configure() (string, error) {
	key, err := auth.NewKey("k1")
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	s.APIKey, _ = rpc.NewAPIKey("faults", rpc.ScopeAll)
	inner, _ := rpc.NewAPIKey("inner", rpc.ScopeAll)
	s.secrets = []string{s.APIKey, inner}
	at := func(name string) string { return filepath.Join(s.Dir, name) }
	namespace := "history_length: 100000, history_age: 30m, presence: true"
	if s.options.Namespace != "" {
		namespace += ", " + s.options.Namespace
	}
	text := fmt.Sprintf(`internal_key_file: %s
auth: {keys: [{id: k1, algorithm: EdDSA, private_key_file: %s}], access_ttl: 1h}
api_keys: [{id: faults, key_file: %s, scopes: ["*"]}]
shutdown_delay: 2s
channels: {namespaces: {kept: {%s}}}
%s`, at("internal"), at("key.pem"), at("api_key"), namespace, s.options.Config)
	if !strings.Contains(s.options.Config, "edge:") {
		text += "edge: {connections_per_ip: 0, connections_per_token: 0, connections_per_user: 0, drain_window: 2s, drain_grace: 20s}\n"
	}
	for name, b := range map[string][]byte{"key.pem": key.PEM, "api_key": []byte(s.APIKey), "internal": []byte(inner), "trunkline.yaml": []byte(text)} {
		if err := os.WriteFile(at(name), b, 0o600); err != nil {
			return "", fmt.Errorf("write configuration: %w", err)
		}
	}
	return at("trunkline.yaml"), nil
}

// Part returns a process of the product.
func (s *System) Part(name string) *Process { return s.parts[name] }

// Proxy returns what stands between a process and Redis.
func (s *System) Proxy(name string) *proxy.Proxy { return s.proxies[name] }

// Health says whether a process is ready; the error says why not.
func (s *System) Health(ctx context.Context, name string) error {
	return get(ctx, "http://"+s.internal[name]+"/readyz")
}

// Internal returns where the internal listener of a process is.
func (s *System) Internal(name string) string { return s.internal[name] }

func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2500*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Secret adds a text that may be in no log.
func (s *System) Secret(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, text)
}

// bad are words that no log may have.
var bad = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE|goroutine \d+ \[)|"msg":"panic`)

// Logs looks for panics, races and secrets in what the processes of the product wrote.
func (s *System) Logs() []string {
	var found []string
	for _, name := range Parts {
		if s.parts[name] == nil {
			continue
		}
		b, err := os.ReadFile(s.parts[name].log)
		if err != nil {
			continue
		}
		text := string(b)
		if at := bad.FindStringIndex(text); at != nil {
			found = append(found, fmt.Sprintf("%s wrote %q", name, text[at[0]:min(len(text), at[0]+300)]))
		}
		for i, secret := range append(append([]string(nil), s.secrets...), s.tokens...) {
			if strings.Contains(text, secret) {
				found = append(found, fmt.Sprintf("%s wrote secret %d", name, i))
			}
		}
	}
	return found
}

// Stop ends all processes and proxies.
func (s *System) Stop() {
	for _, p := range s.all {
		p.Signal(18) // SIGCONT: one that was stopped has to end too
		p.Kill()
	}
	for _, p := range s.proxies {
		p.Close()
	}
	if s.Front != nil {
		s.Front.Close()
	}
}

// Goroutines returns how many a process of the product has.
func (s *System) Goroutines(ctx context.Context, name string) float64 {
	return s.Metric(ctx, name, "go_goroutines")
}

// Metric returns a metric without labels of a process of the product; 0 when it cannot be read.
func (s *System) Metric(ctx context.Context, name, metric string) float64 {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.internal[name]+"/metrics", nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), metric+" "); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}
