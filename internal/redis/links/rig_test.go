package links //nolint:testpackage // what the tests of this package share looks into it

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// plain is a Config of channels on which the messages stand as "\n" and their text.
func plain(client redis.UniversalClient) Config {
	return Config{
		Client: client, Timeout: 2 * time.Second, Metrics: NewMetrics(nil), Log: slog.New(slog.DiscardHandler),
		Channel: channelOf, Alias: func(bus.Address) string { return "" },
		Probe: func(id string) string { return "tl:{probe:" + id + "}" }, Life: func(id string) string { return "tl:life:" + id },
		Decode: func(to bus.Address, payload []byte) (*bus.Message, bool) {
			text, ok := bytes.CutPrefix(payload, []byte("\n"))
			if !ok {
				return nil, false
			}
			return &bus.Message{To: to, ID: string(text)}, false
		},
		Send: func(ctx context.Context, cmd redis.Cmder) error { return client.Process(ctx, cmd) },
		Saw:  func(string, int) {},
	}
}

func channelOf(a bus.Address) string { return "tl:{" + a.String() + "}:p" }

// clientOf returns a client of the server, or of the Cluster, at a URL.
func clientOf(tb testing.TB, url string) redis.UniversalClient {
	tb.Helper()
	_, hosts, _ := strings.Cut(url, "://")
	hosts, _, _ = strings.Cut(hosts, "/")
	o := &redis.UniversalOptions{Addrs: strings.Split(hosts, ","), IsClusterMode: strings.HasPrefix(url, "redis+cluster"), Protocol: 2, MaxRetries: -1, MaxRedirects: -1, ReadTimeout: time.Minute}
	client := redis.NewUniversalClient(o)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// opened is a feed that runs until the test ends.
func opened(tb testing.TB, url string, r bus.Receiver) *Feed {
	tb.Helper()
	f := New(plain(clientOf(tb, url)))
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = f.Run(ctx, r) })
	tb.Cleanup(func() { cancel(); done.Wait() })
	return f
}
