package behind

import "github.com/prometheus/client_golang/prometheus"

// metrics measure the queues. Each queue has a bound. Beyond it, acks and subscriptions to rosters are refused; notes of
// what was written, and events, are left out, which is counted.
type metrics struct {
	reg     prometheus.Registerer // nil for none
	untold  prometheus.Counter
	unnoted prometheus.Counter
	damped  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		reg: reg,
		untold: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_events_dropped_total", Help: "Events that were not told, and connections, because too many waited or a user had its share.",
		}),
		unnoted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_edge_sent_notes_dropped_total", Help: "Deliveries that the store was not told of, because too many notes waited for it.",
		}),
	}
	m.damped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trunkline_edge_presence_damped_total", Help: "Departures that were not shown at once, because a user comes and goes in a loop.",
	})
	if reg != nil {
		reg.MustRegister(m.untold, m.unnoted, m.damped)
	}
	return m
}

// queue makes the length of a queue readable.
func (m *metrics) queue(name string, length func() int) {
	if m.reg == nil {
		return
	}
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trunkline_edge_waiting_for_store", Help: "What waits in memory for the store, by queue.",
		ConstLabels: prometheus.Labels{"queue": name},
	}, func() float64 { return float64(length()) }))
}
