package publish

import "github.com/prometheus/client_golang/prometheus"

// metrics are the publish service's.
type metrics struct {
	due  prometheus.Gauge
	late prometheus.Gauge
	// untold counts events of messages whose sender has had its share of the log.
	untold prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		due: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_publish_due_messages", Help: "Messages with an ack whose time is noted: those that wait for one, in all inboxes.",
		}),
		late: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_publish_sweep_lag_seconds", Help: "For how long the time of the most overdue message with an ack has come without a look at it.",
		}),
		untold: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trunkline_publish_events_untold_total", Help: "Events of messages with an ack that were not told, because their sender had its share of the log.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.due, m.late, m.untold)
	}
	return m
}
