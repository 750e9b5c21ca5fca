package app_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

const (
	// stalledReaders do not read what is published meanwhile: stalledMessages of stalledSize bytes.
	stalledReaders, stalledMessages, stalledSize = 100, 600, 60 << 10
	// stalledBound is how much the server may hold for each of them.
	stalledBound = 1280 << 10
)

// stalledDoors open a stream that nobody reads, until the test ends.
var stalledDoors = map[string]func(t *testing.T, d *apptest.Deployment, path string){
	"NDJSON": func(t *testing.T, d *apptest.Deployment, path string) {
		stalledHTTP(t, d, path, "application/x-ndjson")
	},
	"events": func(t *testing.T, d *apptest.Deployment, path string) { stalledHTTP(t, d, path, "text/event-stream") },
	"gRPC": func(t *testing.T, d *apptest.Deployment, path string) {
		conn, err := grpc.NewClient(d.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
		testkit.Check(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+d.AdminKey)
		address, query, _ := strings.Cut(path, "?")
		req := &publishv1.ConsumeRequest{Address: address, FromBeginning: query != ""}
		stream, err := publishv1.NewPublishServiceClient(conn).Consume(ctx, req)
		testkit.Check(t, opened(stream, err))
	},
}

// stalledHTTP sends the request of a stream and reads nothing but the beginning of its answer.
func stalledHTTP(t *testing.T, d *apptest.Deployment, path, accept string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.HTTP, "http://"))
	testkit.Check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	testkit.Check(t, conn.(*net.TCPConn).SetReadBuffer(8<<10))
	path, query, _ := strings.Cut(path, "?")
	_, err = fmt.Fprintf(conn, "GET /v1/%s/stream?%s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, query, accept, d.AdminKey)
	testkit.Check(t, err)
	_, err = conn.Read(make([]byte, 16))
	testkit.Check(t, err)
}

// heap is how many bytes are in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A reader that stalls costs the server no more than a bound in bytes, at every door.
func TestStalled_readersAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: it moves much")
	}
	for _, c := range []struct{ name, kind string }{
		{"NDJSON", "live"}, {"NDJSON", "kept"}, {"events", "kept, from the beginning"}, {"gRPC", "live"}, {"gRPC", "kept, from the beginning"},
	} {
		name, kind, open := c.name, c.kind, stalledDoors[c.name]
		t.Run(name+" of what is "+kind, func(t *testing.T) {
			d := apptest.Start(t, apptest.With(func(c *config.Config) {
				none, many := 0, 2*stalledMessages
				c.Channels.Namespaces = map[string]config.ChannelRule{"live": {HistoryLength: &none}, "kept": {HistoryLength: &many}}
			}), apptest.Setting(t, "quotas.key.bytes_per_minute", "0"))
			namespace, from, _ := strings.Cut(kind, ",")
			path := "channels/" + namespace + ":x"
			publish := func() {
				data := fmt.Appendf(nil, "%q", bytes.Repeat([]byte("x"), stalledSize))
				for range stalledMessages {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					_, err := d.Publish.Publish(ctx, &publishv1.PublishRequest{To: path, Data: data})
					cancel()
					testkit.Check(t, err)
				}
			}
			publish()
			before := heap() // with what the store keeps
			if from != "" {
				path += "?fromBeginning=true"
			}
			for range stalledReaders {
				open(t, d, path)
			}
			if path, _, _ = strings.Cut(path, "?"); from == "" {
				publish()
				if namespace == "kept" {
					before += stalledMessages * stalledSize
				}
			}
			each := (heap() - before) / stalledReaders
			t.Logf("%d KiB for each of %d readers", each>>10, stalledReaders)
			if each > stalledBound {
				t.Errorf("a reader that stalls costs %d bytes, the bound is %d", each, stalledBound)
			}
		})
	}
}
