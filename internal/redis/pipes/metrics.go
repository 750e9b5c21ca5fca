package pipes

import "github.com/prometheus/client_golang/prometheus"

// register shows how much waits, and what was refused because too much did.
func (p *Pipes) register(reg prometheus.Registerer) {
	p.refused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trunkline_store_batches_refused_total",
		Help: "Batches of commands that were not sent to Redis: too many waited, or for too long, or their server does not answer.",
	})
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trunkline_store_waiting_batches",
		Help: "Batches of commands that wait to be sent to Redis, over all masters.",
	}, func() float64 { return float64(p.waiting()) })
	if reg != nil {
		reg.MustRegister(p.refused, waiting)
	}
}

// waiting is how many batches wait, over all masters.
func (p *Pipes) waiting() int {
	n := 0
	for _, one := range p.all() {
		one.mu.Lock()
		n += len(one.waiting)
		one.mu.Unlock()
	}
	return n
}

// all returns the pipes there are now.
func (p *Pipes) all() []*Pipe {
	if p.single != nil {
		return []*Pipe{p.single}
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]*Pipe, 0, len(p.of)+len(p.named))
	for _, one := range p.of {
		list = append(list, one)
	}
	for _, one := range p.named {
		list = append(list, one)
	}
	return list
}
