package redis_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// says waits until Ping returns an error with a reason and a setting.
func says(t *testing.T, s *redis.Store, reason, setting string) {
	t.Helper()
	testkit.Eventually(t, "ping says "+reason+" because of "+setting, func() bool {
		var e *bus.Error
		return errors.As(s.Ping(t.Context()), &e) && e.Reason == reason && e.Metadata["setting"] == setting && e.RetryAfter > 0
	})
}

func set(t *testing.T, server *redistest.Server, name, value string) {
	t.Helper()
	if out, err := server.CLI("config", "set", name, value); err != nil || !strings.HasPrefix(out, "OK") {
		t.Fatal(out, err)
	}
}

// A server without room is not ready, says so with the setting, as every publish does, and is ready again with room.
func TestPing_saysThatThereIsNoRoom(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	testkit.Check(t, s.Ping(t.Context()))
	a := address(t, "channels/full")
	_, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
	testkit.Check(t, err)
	set(t, server, "maxmemory", "1")
	says(t, s, "STORAGE_FULL", "maxmemory")
	var e *bus.Error
	if _, err := s.Publish(t.Context(), bustest.Admit(publication(a))); !errors.As(err, &e) || e.Metadata["setting"] != "maxmemory" {
		t.Errorf("publish: %v", err)
	}
	set(t, server, "maxmemory", "0")
	testkit.Check(t, s.Ping(t.Context()))
}

func TestPing_asksEveryMasterOfACluster(t *testing.T) {
	c := redistest.StartCluster(t)
	s := open(t, c.URL())
	testkit.Eventually(t, "the cluster is ready", func() bool { return s.Ping(t.Context()) == nil })
	for _, server := range c.Servers {
		set(t, server, "maxmemory", "1")
		says(t, s, "STORAGE_FULL", "maxmemory")
		set(t, server, "maxmemory", "0")
		testkit.Check(t, s.Ping(t.Context()))
		set(t, server, "maxmemory-policy", "allkeys-lru")
		says(t, s, "STORE_UNAVAILABLE", "maxmemory-policy")
		if err := s.CheckEviction(t.Context()); err == nil {
			t.Error("a cluster with one master that evicts is not refused")
		}
		set(t, server, "maxmemory-policy", "noeviction")
	}
	testkit.Check(t, s.Ping(t.Context()))
	testkit.Check(t, s.CheckEviction(t.Context()))
}

// A server that may evict is refused, whatever of INFO and CONFIG its user may ask. One whose user may ask neither is believed,
// with a warning.
func TestCheckEviction_asksWhatIsPermitted(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "volatile-lru")
	for _, row := range []struct {
		rules   string
		allow   bool
		refused bool
		warned  bool
	}{
		{rules: "+@all", refused: true},
		{rules: "+@all", allow: true},
		{rules: "+@all -info", refused: true},
		{rules: "+@all -config", refused: true},
		{rules: "+@all -info -config", warned: true},
	} {
		t.Run(row.rules, func(t *testing.T) {
			args := append([]string{"acl", "setuser", "asker", "reset", "on", ">secret", "~*", "&*"}, strings.Fields(row.rules)...)
			if out, err := server.CLI(args...); err != nil || !strings.HasPrefix(out, "OK") {
				t.Fatal(out, err)
			}
			var log said
			url := strings.Replace(server.URL(), "://", "://asker:secret@", 1)
			s, err := redis.Open(redis.Config{URL: url, AllowEviction: row.allow}, slog.New(slog.NewTextHandler(&log, nil)))
			testkit.Check(t, err)
			defer func() { testkit.Check(t, s.Close()) }()
			for _, err := range []error{s.CheckEviction(t.Context()), s.Ping(t.Context())} {
				if (err != nil) != row.refused {
					t.Errorf("refused: %v", err)
				}
				if err != nil && (!strings.Contains(err.Error(), "volatile-lru") || !strings.Contains(err.Error(), "redis.allow_eviction")) {
					t.Errorf("the policy and the setting are not named: %v", err)
				}
			}
			if n := log.count("maxmemory-policy is noeviction"); (n == 1) != row.warned || n > 1 {
				t.Errorf("%d warnings", n)
			}
		})
	}
}

// A server that is away is no reason to refuse: it is not known to evict.
func TestCheckEviction_isSilentAboutAServerThatIsAway(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "volatile-lru")
	s := open(t, server.URL())
	server.Kill9()
	testkit.Check(t, s.CheckEviction(t.Context()))
}

// said keeps a log.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps a line.
func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), text)
}
