// Package badinput_test gives every surface of a running deployment input that is wrong, and holds it to the exact answer. After each
// row the process lives and a bystander is served. After all of them no secret was told and nothing is left behind.
package badinput_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// tally counts rows over all tests of the package.
type tally struct {
	mu    sync.Mutex
	tried map[string]int
	right map[string]int
	order []string
}

var counted = tally{tried: map[string]int{}, right: map[string]int{}}

func (c *tally) add(surface string, right bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried[surface]++; c.tried[surface] == 1 {
		c.order = append(c.order, surface)
	}
	if right {
		c.right[surface]++
	}
}

// scratch is a directory for all tests of the package.
var scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "badinput"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	code := m.Run()
	tried, right := 0, 0
	for _, surface := range counted.order {
		_, _ = fmt.Fprintf(os.Stdout, "%-28s %5d rows tried, %5d answered exactly\n", surface, counted.tried[surface], counted.right[surface])
		tried, right = tried+counted.tried[surface], right+counted.right[surface]
	}
	_, _ = fmt.Fprintf(os.Stdout, "%-28s %5d rows tried, %5d answered exactly\n", "all", tried, right)
	return code
}

// suite is a deployment under attack and a bystander who must not notice.
type suite struct {
	*apptest.Deployment
	t       *testing.T
	surface string
	token   string // of ada, who may do everything on channels/open:*
	stream  publishv1.PublishService_ConsumeClient
	beside  map[string]*beside
	begun   memory

	mu    sync.Mutex
	leaks []string // of what came over gRPC
}

// secrets are all secrets of the run, of every deployment and every row.
var secrets testkit.Secrets

// memory is what the process holds.
type memory struct {
	goroutines int
	heap       uint64
}

func now() memory {
	runtime.GC()
	runtime.GC() // pools are emptied by the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{runtime.NumGoroutine(), m.HeapAlloc}
}

// start runs a deployment with bystanders.
func start(t *testing.T, surface string, opts ...apptest.Option) *suite {
	t.Helper()
	opts = append(opts, apptest.With(func(c *config.Config) {
		c.Edge.Tickets.Keys = []config.Secret{config.Secret(base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32]))}
		settled(reflect.ValueOf(*c), "")
	}))
	s := &suite{Deployment: apptest.Start(t, opts...), t: t, surface: surface}
	secrets.Add("the API key", s.AdminKey)
	conn := s.dial(t, s.AdminKey)
	s.Auth, s.Publish, s.Channels = authv1.NewAuthServiceClient(conn), publishv1.NewPublishServiceClient(conn), publishv1.NewChannelServiceClient(conn)
	s.token = s.Token(t, &authv1.IssueTokenRequest{User: "ada"}, "channels/open:*")
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	s.stream, err = s.Publish.Consume(ctx, &publishv1.ConsumeRequest{Address: "channels/bystander"})
	testkit.Check(t, err)
	_, err = s.stream.Recv() // subscribed
	testkit.Check(t, err)
	s.serve(t)
	if !strings.HasPrefix(s.HTTP, "https") && s.surface != "TLS" { // its port is another one for them
		s.besides(t)
	}
	s.begun = now()
	t.Cleanup(s.finish)
	return s
}

// serve fails the test unless the bystander is sent what is published.
func (s *suite) serve(t *testing.T) {
	t.Helper()
	sent, err := s.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "channels/bystander", Data: []byte("1")})
	testkit.Check(t, err)
	for {
		got, err := s.stream.Recv()
		testkit.Check(t, err)
		if m := got.GetMessage(); m != nil {
			if m.GetId() != sent.GetId() {
				t.Errorf("the bystander was sent %s in place of %s", m.GetId(), sent.GetId())
			}
			return
		}
	}
}

// row gives one wrong input. The answer has to be exactly what is wanted, tell no secret, and leave the bystander alone.
func (s *suite) row(name, want string, try func(t *testing.T) string) {
	s.t.Run(name, func(t *testing.T) {
		got := try(t)
		right := got == want
		if !right {
			t.Errorf("answered\n\t%s\nwant\n\t%s", got, want)
		}
		s.serve(t)
		s.mu.Lock()
		for _, leak := range s.leaks {
			t.Error(leak)
		}
		s.leaks = nil
		s.mu.Unlock()
		counted.add(s.surface, right && !t.Failed())
	})
}

// innards is what no stranger is told: places in the source, types, words of the store, and stacks.
var innards = regexp.MustCompile(`\.go:\d|goroutine \d|runtime error|redis: |WRONGTYPE|NOSCRIPT|EVALSHA|\*bus\.|\*publishv1|/internal/|0x[0-9a-f]{8}`)

// told fails the test when an answer tells more than it may.
func (s *suite) told(t *testing.T, answer string) {
	t.Helper()
	if leak := innards.FindString(answer); leak != "" {
		t.Errorf("the answer tells %q: %s", leak, cut(answer))
	}
	s.secret(t, "the answer", answer)
}

// secret fails the test when a text has a secret of the run, or a piece of one.
func (s *suite) secret(t *testing.T, what, text string) {
	t.Helper()
	if name, form := secrets.Find(text); name != "" {
		t.Errorf("%s has %s, %s", what, name, form)
	}
}

// finish looks at what is left: bystanders, logs, pages of operators, goroutines and memory.
func (s *suite) finish() {
	if len(s.beside) > 0 {
		s.served(s.t)
	}
	for _, p := range s.Processes {
		log := p.Log()
		s.secret(s.t, "the log", log)
		for _, bad := range []string{`"level":"ERROR"`, "panic", "goroutine "} {
			if at := strings.Index(log, bad); at >= 0 {
				s.t.Errorf("the log has %q: %s", bad, cut(log[max(0, at-200):]))
			}
		}
		for _, page := range []string{"metrics", "readyz?verbose", "debug/pprof/", "debug/pprof/cmdline", "debug/pprof/goroutine?debug=2", "debug/pprof/heap?debug=1"} {
			s.secret(s.t, page, s.page(s.t, http.MethodGet, "http://"+p.Internal+"/"+page, ""))
		}
	}
	var left memory
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if left = now(); left.goroutines <= s.begun.goroutines+slackGoroutines && left.heap <= s.begun.heap+slackHeap {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			tick.Stop()
			s.t.Errorf("left behind: %d goroutines, %d KiB", left.goroutines-s.begun.goroutines, (int64(left.heap)-int64(s.begun.heap))>>10)
			return
		}
	}
}

const (
	// slackGoroutines is for connections of the process to itself that are kept.
	slackGoroutines = 30
	// slackHeap is for pools and caches that have a bound.
	slackHeap = 24 << 20
)

func cut(text string) string {
	if len(text) > 400 {
		return text[:400] + "…"
	}
	return text
}
