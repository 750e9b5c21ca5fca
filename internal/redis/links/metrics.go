package links

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts the subscriptions whose messages may have been missed, by cause, over all feeds of a store.
type Metrics struct {
	lost    prometheus.Counter // the connection ended
	ended   prometheus.Counter // the server ended the subscription
	refused prometheus.Counter // the server answered with an error; it is asked again
}

// NewMetrics returns metrics, registered where there is a register.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	all := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trunkline_store_subscriptions_interrupted_total",
		Help: "Subscriptions in Redis that were lost or refused and are asked for again, by cause.",
	}, []string{"cause"})
	if reg != nil {
		reg.MustRegister(all)
	}
	return &Metrics{
		lost: all.WithLabelValues("connection"), ended: all.WithLabelValues("ended"), refused: all.WithLabelValues("refused"),
	}
}
