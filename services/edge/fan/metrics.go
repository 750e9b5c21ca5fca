package fan

import "github.com/prometheus/client_golang/prometheus"

// metrics measure a hub. Labels come from a closed set: the policies for a client that falls behind.
type metrics struct {
	sent    prometheus.Counter
	gaps    prometheus.Counter
	slow    prometheus.Counter
	lapses  prometheus.Counter
	lagging *prometheus.CounterVec
}

// load is what waits in a shard.
type load struct{ messages, bytes, held int }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_messages_sent_total", Help: "Messages handed to connections.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_gap_total", Help: "Gaps told to subscribers, one for each address.",
		}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_slow_consumers_total", Help: "Connections ended because they read too slowly.",
		}),
		lapses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_shard_lapses_total", Help: "Addresses that a shard had to read from the log, or tell a gap of, because it was slower than the feed.",
		}),
		lagging: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_overloads_total", Help: "Subscriptions whose client fell behind, by what it then gets.",
		}, []string{"policy"}),
	}
	if reg != nil {
		reg.MustRegister(m.sent, m.gaps, m.slow, m.lapses, m.lagging)
	}
	return m
}

// sums makes readable what waits in all shards.
func (*metrics) sums(reg prometheus.Registerer, sum func(of func(load) int) int) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, of func(load) int) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(sum(of)) }))
	}
	gauge("trunkline_edge_shard_waiting_messages", "Messages that wait for the shards.", func(l load) int { return l.messages })
	gauge("trunkline_edge_shard_waiting_bytes", "The same in bytes.", func(l load) int { return l.bytes })
	gauge("trunkline_edge_held_bytes", "What subscriptions hold while they replay, in bytes.", func(l load) int { return l.held })
}
