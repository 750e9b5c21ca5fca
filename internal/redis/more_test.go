package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/bus/bustest"
	"github.com/trunkline/trunkline/internal/redis"
	"github.com/trunkline/trunkline/internal/redis/redistest"
	"github.com/trunkline/trunkline/internal/testkit"
)

func address(tb testing.TB, s string) bus.Address {
	tb.Helper()
	a, err := bus.ParseAddress(s)
	testkit.Check(tb, err)
	return a
}

func TestOpen_refusesWrongURLsWithoutTheirPassword(t *testing.T) {
	for _, url := range []string{
		"", "redis", "http://user:hunter2@x:1", "redis://user:hunter2@x:1/one", "redis+sentinel://:hunter2@x:1", "redis+sentinel://:hunter2@x:/main",
		"redis+sentinel://:hunter2@x:1/main/two", "redis+cluster://:hunter2@x:1/3", "redis+cluster://:hunter2@", "redis+cluster://:%zzhunter2@x:1", "redis+other://hunter2@x:1",
	} {
		_, err := redis.Open(redis.Config{URL: url}, slog.New(slog.DiscardHandler))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := redis.Open(redis.Config{URL: "redis://x:1", Prefix: "{a}"}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a prefix with braces is accepted")
	}
}

func TestStore_wrongPasswordIsNotInTheError(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	s := open(t, "redis://:hunter2@"+server.Addr())
	err := s.Ping(t.Context())
	if !errors.Is(err, bus.ErrStoreUnavailable) || strings.Contains(fmt.Sprintf("%+v", err), "hunter2") {
		t.Errorf("error is %v", err)
	}
	testkit.Check(t, open(t, "redis://:right@"+server.Addr()).Ping(t.Context()))
}

// A server that has forgotten the scripts is sent their text; nothing is lost, repeated or reordered.
func TestStore_survivesAScriptFlush(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "channels/flush")
	stop := make(chan struct{})
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if out, err := server.CLI("script", "flush"); err != nil {
					t.Error(out, err)
				}
			}
		}
	})
	for want := uint64(1); want <= 300; want++ {
		r, err := s.Publish(t.Context(), bustest.Admit(publication(a)))
		testkit.Check(t, err)
		if r.Position.Offset != want {
			t.Fatalf("offset %d, want %d", r.Position.Offset, want)
		}
	}
	close(stop)
	flusher.Wait()
}

func TestStore_fullIsItsOwnRefusal(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	s := open(t, server.URL())
	p := publication(address(t, "channels/full"))
	p.Message.Data = make([]byte, 60_000)
	p.Message.ContentType = bus.Binary
	p.Retention.Length = 1000
	testkit.Eventually(t, "the store is full", func() bool {
		_, err := s.Publish(t.Context(), bustest.Admit(p))
		if err != nil && !errors.Is(err, bus.ErrStorageFull) {
			t.Fatalf("error is %v", err)
		}
		return err != nil
	})
	if out, err := server.CLI("config", "set", "maxmemory", "100mb"); err != nil {
		t.Fatal(out, err)
	}
	_, err := s.Publish(t.Context(), bustest.Admit(p)) // it recovers unaided
	testkit.Check(t, err)
}

// What others write to our channels harms nobody.
func TestFeed_dropsRubbish(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	a := address(t, "channels/rubbish")
	r, _ := follow(t, s, a)
	raw := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer func() { testkit.Check(t, raw.Close()) }()
	for _, text := range []string{"", "\n", "x", "e 1\n", "e x\nx", "\n\xff\xff\xff", "e 99999999999999999999\n", "e 1\n\x0a\x05ab"} {
		testkit.Check(t, raw.Publish(t.Context(), "tl:{channels/rubbish}:p", text).Err())
	}
	arrives(t, s, r, a)
}

func TestFeed_bridgesRecords(t *testing.T) {
	server := redistest.Start(t)
	rule := bus.BridgeRule{Channel: "article", Map: func(record []byte) (*bus.Message, bool) {
		to, err := bus.NewAddress(bus.KindClients, string(record))
		return &bus.Message{ID: "x", To: to, Data: []byte("1"), ContentType: bus.JSON, Published: time.Now()}, err == nil
	}}
	s, err := redis.Open(redis.Config{URL: server.URL(), Bridges: []bus.BridgeRule{rule}}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	r, _ := follow(t, s, address(t, "clients/one"))
	for _, record := range []string{"", "../x", "two", "one"} {
		testkit.Check(t, s.PublishRecord(t.Context(), "article", bus.AdmitRecordInTest([]byte(record))))
	}
	if m := <-r.messages; m.To.ID() != "one" {
		t.Errorf("got %+v", m)
	}
	if len(r.messages) > 0 {
		t.Errorf("%d more came", len(r.messages))
	}
	if err := s.PublishRecord(t.Context(), "other", bus.AdmittedRecord{}); !errors.Is(err, bus.ErrMethodDisabled) {
		t.Errorf("a channel that is not bridged: %v", err)
	}
}

// Slots move between masters while messages flow: publishing goes on and the feed follows.
func TestFeed_followsSlots(t *testing.T) {
	cluster := redistest.StartCluster(t)
	s := open(t, cluster.URL())
	var all []bus.Address
	r, f := follow(t, s, address(t, "channels/slot:0"))
	for i := range 30 {
		a := address(t, fmt.Sprintf("channels/slot:%d", i))
		testkit.Check(t, f.Subscribe(t.Context(), a))
		all = append(all, a)
	}
	first, second := cluster.Servers[0], cluster.Servers[1]
	id := func(server *redistest.Server) string {
		out, err := server.CLI("cluster", "myid")
		testkit.Check(t, err)
		return strings.TrimSpace(out)
	}
	out, err := first.CLI("--cluster", "reshard", first.Addr(), "--cluster-from", id(first), "--cluster-to", id(second),
		"--cluster-slots", "4000", "--cluster-yes", "--cluster-pipeline", "100")
	if err != nil {
		t.Fatalf("reshard: %v\n%s", err, out)
	}
	for _, a := range all {
		testkit.Eventually(t, "a message arrives at "+a.String(), func() bool {
			drain(r)
			if _, err := s.Publish(t.Context(), bustest.Admit(publication(a))); err != nil {
				return false
			}
			select {
			case m := <-r.messages:
				return m.To == a
			case <-time.After(200 * time.Millisecond):
				return false
			}
		})
	}
	testkit.Eventually(t, "the feed is ready", func() bool { return f.Ready() == nil })
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(tb testing.TB) (cert, key string, ca []byte) {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Check(tb, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	testkit.Check(tb, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	testkit.Check(tb, err)
	dir := tb.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	testkit.Check(tb, os.WriteFile(cert, ca, 0o600))
	testkit.Check(tb, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return cert, key, ca
}

func TestStore_overTLS(t *testing.T) {
	cert, key, ca := certificate(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	at := l.Addr().String()
	_, port, err := net.SplitHostPort(at)
	testkit.Check(t, err)
	testkit.Check(t, l.Close())
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	s, err := redis.Open(redis.Config{URL: "rediss://" + at, CA: ca}, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	a := address(t, "channels/tls")
	r, _ := follow(t, s, a)
	arrives(t, s, r, a)
	stranger, err := redis.Open(redis.Config{URL: "rediss://" + at}, slog.New(slog.DiscardHandler)) // the system's authorities
	testkit.Check(t, err)
	defer func() { testkit.Check(t, stranger.Close()) }()
	if err := stranger.Ping(t.Context()); !errors.Is(err, bus.ErrStoreUnavailable) {
		t.Errorf("an unknown authority: %v", err)
	}
}
