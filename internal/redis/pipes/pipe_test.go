package pipes //nolint:testpackage // pipelines are private to the package

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// What has waited for too long is refused and not sent; the rest keeps its order.
func TestPipes_timely(t *testing.T) {
	p := &Pipe{timeout: time.Second, refused: prometheus.NewCounter(prometheus.CounterOpts{})}
	now := time.Now()
	cmd := func() redis.Cmder { return redis.NewCmd(t.Context(), "PING") }
	late, first, second := cmd(), cmd(), cmd()
	got := p.timely(nil, []*batch{
		{cmds: []redis.Cmder{late}, since: now.Add(-time.Second - 1)},
		{cmds: []redis.Cmder{first}, since: now.Add(-time.Second)},
		{cmds: []redis.Cmder{second}, since: now},
	}, now)
	if len(got) != 2 || got[0] != first || got[1] != second {
		t.Errorf("sent: %v", got)
	}
	if !errors.Is(late.Err(), errQueued) || first.Err() != nil || second.Err() != nil {
		t.Errorf("errors: %v, %v, %v", late.Err(), first.Err(), second.Err())
	}
}

// What waits and what was refused can be seen.
func TestPipes_showWhatWaits(t *testing.T) {
	reg := prometheus.NewRegistry()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	p := New(Config{Client: client, Timeout: time.Second, Metrics: reg})
	defer p.Close()
	p.single.waiting = []*batch{{}, {}} // nobody sends: nothing is under way
	p.single.refuse(&batch{}, errQueued)
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if got["trunkline_store_waiting_batches"] != 2 || got["trunkline_store_batches_refused_total"] != 1 {
		t.Errorf("metrics are %v", got)
	}
	p.single.waiting = nil
}

// Each master has one line, from the first command on: commands of one caller for it do not overtake each other.
func TestPipes_giveEachMasterOneLine(t *testing.T) {
	client := func(addr string) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: addr}) // it connects when it is used, which it is not
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	t.Cleanup(func() { _ = cluster.Close() })
	p := New(Config{Client: cluster, Timeout: time.Second})
	defer p.Close()
	one, other, third := client("127.0.0.1:1"), client("127.0.0.1:2"), client("127.0.0.1:3")
	lines := []*Pipe{p.OfClient(one), p.OfClient(other), p.OfClient(third), p.ofAddr("127.0.0.1:4"), p.ofAddr("127.0.0.1:5")}
	for i, again := range []*Pipe{p.OfClient(one), p.OfClient(other), p.OfClient(third), p.ofAddr("127.0.0.1:4"), p.ofAddr("127.0.0.1:5")} {
		if again != lines[i] {
			t.Errorf("master %d has another line already", i)
		}
	}
	for _, line := range lines {
		line.used.Add(-int64(idlePipe) - 1)
	}
	p.OfClient(client("127.0.0.1:6"))
	if p.OfClient(one) == lines[0] {
		t.Error("a line that nobody uses is kept")
	}
}
