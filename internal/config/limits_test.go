package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
)

// Limits that nobody has set follow the largest payload, and those that were set are refused at their place where they are too small.
func TestLimits_KnowEachOther(t *testing.T) {
	load := func(yaml string) (*config.Loaded, string, error) {
		file := write(t, "limits.yaml", "dev: true\n"+yaml)
		l, err := app.Load(config.Sources{Files: []string{file}})
		return l, file, err
	}
	for payload, want := range map[string][3]config.Size{
		"64KiB": {4 << 20, 128 << 10, 1 << 20},
		"2MiB":  {4 << 20, 2<<20/3*4 + 32<<10, 3771958},
		"8MiB":  {8<<20 + 64<<10, 8<<20/3*4 + 32<<10, 14956768},
		"64MiB": {64<<20 + 64<<10, 16 << 20, 119348336},
	} {
		l, _, err := load("publish: {max_message: " + payload + "}\n")
		if err != nil {
			t.Errorf("%s: %v", payload, err)
			continue
		}
		if got := [3]config.Size{l.Config.GRPC.MaxMessage, l.Config.Edge.FrameSize, l.Config.Edge.QueueBytes}; got != want {
			t.Errorf("%s: grpc.max_message, edge.frame_size and edge.queue_bytes are %d, want %d", payload, got, want)
		}
	}
	for yaml, at := range map[string]string{
		"grpc: {max_message: 64KiB}\n":                                                         ":2:8 grpc.max_message",
		"publish: {max_message: 5MiB}\ngrpc: {max_message: 5MiB}\n":                            ":3:8 grpc.max_message",
		"publish: {max_message: 256KiB}\nedge: {frame_size: 256KiB}\n":                         ":3:8 edge.frame_size",
		"edge: {frame_size: 64KiB}\n":                                                          ":2:8 edge.frame_size",
		"edge: {queue_bytes: 128KiB}\n":                                                        ":2:8 edge.queue_bytes",
		"publish: {max_message: 2MiB}\nedge: {queue_bytes: 3MiB}\n":                            ":3:8 edge.queue_bytes",
		"legacy: {dialects: [facility], queue_bytes: 12MiB}\n":                                 ":2:32 legacy.queue_bytes",
		"legacy: {dialects: [facility]}\ngrpc: {max_message: 1MiB}\n":                          ":3:8 grpc.max_message",
		"legacy: {dialects: [rooms], rooms: {max_message: 5MiB}}\ngrpc: {max_message: 5MiB}\n": ":3:8 grpc.max_message",
		"publish: {max_message: 2MiB}\nmemory: {limit: 3MiB}\n":                                ":3:10 memory.limit",
		"publish: {max_message: 2MiB}\nquotas: {client: {bytes_per_minute: 1MiB}}\n":           ":3:19 quotas.client.bytes_per_minute",
		"publish: {max_message: 2MiB}\nquotas: {key: {bytes_per_minute: 1MiB}}\n":              ":3:16 quotas.key.bytes_per_minute",
	} {
		_, file, err := load(yaml)
		problems, ok := errors.AsType[config.Problems](err)
		if !ok || len(problems) != 1 || !strings.HasPrefix(problems[0].Where+" "+problems[0].Text, file+at) {
			t.Errorf("%q: %v", yaml, err)
		}
	}
	for _, protocol := range []string{"pushserver", "rooms", "facility"} {
		l, _, err := load("legacy: {dialects: [" + protocol + "], " + protocol + ": {max_message: 16MiB}}\n")
		if err != nil || l.Config.GRPC.MaxMessage != 16<<20+64<<10 {
			t.Errorf("%s: grpc.max_message does not follow: %v", protocol, err)
		}
		// Native clients have their own messages alone to wait for.
		if err == nil && l.Config.Edge.QueueBytes != 1<<20 {
			t.Errorf("%s: edge.queue_bytes is %d", protocol, l.Config.Edge.QueueBytes)
		}
	}
	// The largest message of the relay is the largest body.
	if l, _, err := load("legacy: {dialects: [relay], relay: {max_body: 16MiB}}\n"); err != nil || l.Config.GRPC.MaxMessage != 16<<20+64<<10 {
		t.Errorf("relay: grpc.max_message does not follow: %v", err)
	}
	if _, _, err := load("publish: {max_message: 4MiB}\ngrpc: {max_message: 16MiB}\nedge: {frame_size: 8MiB}\n"); err != nil {
		t.Error(err)
	}
}
