package publish

import "github.com/prometheus/client_golang/prometheus"

// metrics are the publish service's.
type metrics struct {
	due  prometheus.Gauge
	late prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		due: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_publish_due_messages", Help: "Messages with an ack whose time is noted: those that wait for one, in all inboxes.",
		}),
		late: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_publish_sweep_lag_seconds", Help: "For how long the time of the most overdue message with an ack has come without a look at it.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.due, m.late)
	}
	return m
}
