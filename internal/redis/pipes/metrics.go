package pipes

import "github.com/prometheus/client_golang/prometheus"

// newMetrics shows how many batches wait, and returns the counter of those that were refused.
func newMetrics(reg prometheus.Registerer, waiting func() int) (refused prometheus.Counter) {
	refused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trunkline_store_batches_refused_total",
		Help: "Batches of commands that were not sent to Redis: too many waited, or for too long, or their server does not answer.",
	})
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trunkline_store_waiting_batches",
		Help: "Batches of commands that wait to be sent to Redis, over all masters.",
	}, func() float64 { return float64(waiting()) })
	if reg != nil {
		reg.MustRegister(refused, gauge)
	}
	return refused
}
