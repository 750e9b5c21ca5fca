package rpc

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// metrics counts calls under the names of go-grpc-prometheus, which dashboards know. Its interceptors make a reporter and look up
// six labelled counters for every call. Here a method's counters are looked up once.
type metrics struct {
	started, handled, received, sent, refusals *prometheus.CounterVec
	methods                                    sync.Map // full method: *counters
	streams                                    prometheus.Gauge
}

// counters count the calls of one method.
type counters struct {
	started, received, sent, ok prometheus.Counter
	kind, service, method       string
}

func newMetrics(reg prometheus.Registerer) *metrics {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	count := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		started:  count("grpc_server_started_total", "Calls begun.", labels...),
		handled:  count("grpc_server_handled_total", "Calls ended, by code.", append(labels, "grpc_code")...),
		received: count("grpc_server_msg_received_total", "Messages received from callers.", labels...),
		sent:     count("grpc_server_msg_sent_total", "Messages sent to callers.", labels...),
		refusals: count("trunkline_grpc_refusals_total", "Calls that ended with an error, by method and reason.", "method", "reason"),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "trunkline_grpc_streams", Help: "Open streams, those of REST among them.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.started, m.handled, m.received, m.sent, m.refusals, m.streams)
	}
	return m
}

// of returns the counters of a method that is registered, or of "unknown" ones.
func (m *metrics) of(kind, full string) *counters {
	if c, ok := m.methods.Load(full); ok {
		return c.(*counters) //nolint:forcetypeassert // what is stored below
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	c := &counters{kind: kind, service: service, method: method}
	c.started = m.started.WithLabelValues(kind, service, method)
	c.received = m.received.WithLabelValues(kind, service, method)
	c.sent = m.sent.WithLabelValues(kind, service, method)
	c.ok = m.handled.WithLabelValues(kind, service, method, codes.OK.String())
	known, _ := m.methods.LoadOrStore(full, c)
	return known.(*counters) //nolint:forcetypeassert // see above
}

// end notes how a call ended.
func (m *metrics) end(c *counters, err error) {
	if err == nil {
		c.ok.Inc()
		return
	}
	m.handled.WithLabelValues(c.kind, c.service, c.method, status.Code(err).String()).Inc()
}

// kindOf is a stream's kind, as go-grpc-prometheus calls it.
func kindOf(info *grpc.StreamServerInfo) string {
	switch {
	case info.IsClientStream && info.IsServerStream:
		return "bidi_stream"
	case info.IsClientStream:
		return "client_stream"
	default:
		return "server_stream"
	}
}
