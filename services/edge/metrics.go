package edge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/services/edge/wire"
)

// metrics are the edge's. Labels come from closed sets: a dialect's name, a reason.
type metrics struct {
	connections prometheus.Gauge
	spoken      *prometheus.GaugeVec
	opened      *prometheus.CounterVec
	closed      *prometheus.CounterVec
	refused     *prometheus.CounterVec
	resumed     prometheus.Counter
	renewed     prometheus.Counter
	paused      *prometheus.CounterVec
	unencodable prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_edge_connections", Help: "Open WebSocket connections.",
		}),
		spoken: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trunkline_edge_dialect_connections", Help: "Open WebSocket connections, by the dialect that they speak.",
		}, []string{"dialect"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_connections_opened_total", Help: "Accepted WebSocket connections.",
		}, []string{"dialect"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_connections_closed_total", Help: "Ended WebSocket connections, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_refusals_total", Help: "Refused handshakes and commands, by reason.",
		}, []string{"reason"}),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_tickets_redeemed_total", Help: "Connects by a resume ticket, without a call to the auth service.",
		}),
		renewed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_tickets_renewed_total", Help: "Resume tickets sent to open connections in place of older ones.",
		}),
		paused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trunkline_edge_frames_paused_total", Help: "Frames of clients of older protocols that waited because they came too fast, by dialect.",
		}, []string{"dialect"}),
	}
	m.unencodable = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trunkline_edge_unencodable_total", Help: "Answers and events that could not be encoded. Their clients were told so.",
	})
	if reg != nil {
		reg.MustRegister(m.unencodable, m.paused, m.spoken, m.connections, m.opened, m.closed, m.refused, m.resumed, m.renewed)
	}
	return m
}

// crowd makes readable what waits for connections that have a queue of their own.
func (*metrics) crowd(reg prometheus.Registerer, s *wire.Sockets) {
	if reg == nil {
		return
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "trunkline_edge_dialect_waiting_bytes", Help: "What waits for clients of older protocols that read slowly, in bytes.",
		}, func() float64 { return float64(s.Waiting()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "trunkline_edge_dialect_overflows_total", Help: "Clients of older protocols that were sent away because too much waited for all of them.",
		}, func() float64 { return float64(s.SentAway()) }),
	)
}

// refuse counts a refusal.
func (m *metrics) refuse(e *bus.Error) { m.refused.WithLabelValues(e.Reason).Inc() }
