package edge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
)

// metrics are the edge's. Labels come from closed sets: a dialect's name, a reason.
type metrics struct {
	connections prometheus.Gauge
	opened      *prometheus.CounterVec
	closed      *prometheus.CounterVec
	refused     *prometheus.CounterVec
	sent        prometheus.Counter
	gaps        prometheus.Counter
	slow        prometheus.Counter
	lapses      prometheus.Counter
	lagging     *prometheus.CounterVec
	resumed     prometheus.Counter
	renewed     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_edge_connections", Help: "Open WebSocket connections.",
		}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_connections_opened_total", Help: "Accepted WebSocket connections.",
		}, []string{"dialect"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_connections_closed_total", Help: "Ended WebSocket connections, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_refusals_total", Help: "Refused handshakes and commands, by reason.",
		}, []string{"reason"}),
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
		resumed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_tickets_redeemed_total", Help: "Connects by a resume ticket, without a call to the auth service.",
		}),
		renewed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_tickets_renewed_total", Help: "Resume tickets sent to open connections in place of older ones.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.opened, m.closed, m.refused, m.sent, m.gaps, m.slow, m.lapses, m.lagging, m.resumed, m.renewed)
	}
	return m
}

// registerShards makes readable what waits in the shards.
func (*metrics) registerShards(reg prometheus.Registerer, h *hub) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, value func(sh *shard) int) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			sum := 0
			for _, sh := range h.shards {
				sum += value(sh)
			}
			return float64(sum)
		}))
	}
	gauge("trunkline_edge_shard_waiting_messages", "Messages that wait for the shards.", func(sh *shard) int { n, _ := sh.inbox.waiting(); return n })
	gauge("trunkline_edge_shard_waiting_bytes", "The same in bytes.", func(sh *shard) int { _, n := sh.inbox.waiting(); return n })
	gauge("trunkline_edge_held_bytes", "What subscriptions hold while they replay, in bytes.", func(sh *shard) int {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		return sh.held
	})
}

func (m *metrics) refuse(e *bus.Error) { m.refused.WithLabelValues(e.Reason).Inc() }
