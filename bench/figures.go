package main

import "strings"

// shown are the measured figures that docs/sizing.md has, and what each is multiplied with.
var shown = []struct {
	title, scenario, metric string
	times                   float64
}{
	{"memory of an edge without clients, MiB", "idle", "RSS without clients", 1},
	{"memory of an edge that delivers all it can to its part of 1,000 clients, MiB", "fanout 1000 max", "RSS while delivering", 1},
	{"memory of an idle connection: edges, right after a storm, KiB", "idle", "RSS at once", 1},
	{"… edges, left alone, KiB", "idle", "RSS", 1},
	{"… Redis, KiB", "idle", "RSS of redis", 1},
	{"connect: CPU of edges, µs", "connect", "cpu of edges", 1},
	{"… auth (shared process), µs", "connect", "cpu of shared", 1},
	{"… Redis, µs", "connect", "cpu of redis", 1},
	{"a quiet channel with history: CPU of Redis a look, µs", "quiet kept", "cpu of redis", 1},
	{"a quiet channel that lists its members: CPU of Redis a sign of life, µs", "quiet listed", "cpu of redis", 1},
	{"hot channel, 1,000 subscribers, 60 messages/s: CPU of edges a delivery, µs", "fanout 1000 60/s", "cpu of edges", 1},
	{"… all processes, µs", "fanout 1000 60/s", "cpu", 1},
	{"hot channel, saturated (merging): CPU of edges a delivery, µs", "fanout 1000 max", "cpu of edges", 1},
	{"channels that all edges follow, 4 clients each: CPU of Redis a publish, µs", "followed", "cpu of redis", 4},
	{"… publish (shared process) a publish, µs", "followed", "cpu of shared", 4},
	{"… publishes/s", "followed", "publishes", 1},
	{"rooms of 4: CPU of edges a delivery, µs", "rooms of 4", "cpu of edges", 1},
	{"rooms of 20: CPU of edges a delivery, µs", "rooms of 20", "cpu of edges", 1},
	{"… bytes a delivery, without the headers of TCP", "rooms of 20", "bytes", 1},
	{"unicast by streams: CPU of edges a message, µs", "unicast stream", "cpu of edges", 1},
	{"… publish (shared process), µs", "unicast stream", "cpu of shared", 1},
	{"… Redis, µs", "unicast stream", "cpu of redis", 1},
	{"mixed: CPU of all processes a delivery, µs", "mixed", "cpu", 1},
	{"stream to nobody, durable: CPU of Redis a publish, µs", "publish stream durable", "cpu of redis", 1},
	{"… publish (shared process), µs", "publish stream durable", "cpu of shared", 1},
	{"unary with ack, until the ack is stored: CPU of edges a message, µs", "acked unary", "cpu of edges", 1},
	{"… publish (shared process), µs", "acked unary", "cpu of shared", 1},
	{"… Redis, µs", "acked unary", "cpu of redis", 1},
}

// measured prints figures as they are in the file.
func (t table) measured(m *measured) {
	wrong, runs := m.wrong()
	t.text("**Measured** by the following command. Lost, repeated or out of order: %.0f in %d runs.\n", wrong, runs)
	t.text("```sh\ngo -C bench run .%s\n```\n", strings.ReplaceAll(" "+m.command, " -", " \\\n  -"))
	t.text("On:\n\n- %s", strings.ReplaceAll(m.environment, ", ", "\n- "))
	head := []string{"figure"}
	for _, d := range deployed {
		head = append(head, d.title)
	}
	t.head(head...)
	for _, f := range shown {
		cells := []string{f.title}
		for _, d := range deployed {
			cell := "–"
			if v := m.of(f.scenario, f.metric, d.name); v > 0 {
				cell = short(f.times * v)
			}
			cells = append(cells, cell)
		}
		t.row(cells...)
	}
}
