package main

import (
	"fmt"
	"io"
	"math"
)

// What the tables of docs/sizing.md assume.
const (
	million     = 1e6
	perEdge     = 100_000 // connections of an edge process
	coresEach   = 8       // of a machine for an edge
	busy        = 0.6     // how much of a core is planned with
	idlers      = 10_000  // connections of the scenario idle
	stormPeak   = 0.25    // of an edge's clients come back in the worst second
	roomMembers = 20
	holders     = 1_000_000/perEdge + 1 // edges for a million connections, and one more
	socketBytes = 3712                  // of a socket in the kernel: 2368, its inode 832, file and entry 384, epoll 128 (/proc/slabinfo of Linux 6.18)
	wireHead    = 66                    // bytes of Ethernet, IP and TCP around a segment
	pushBytes   = 236                   // a push of Redis to an edge: a message of 128 bytes, its envelope, its channel's name
)

// table prints Markdown.
type table struct{ w io.Writer }

func (t table) text(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t table) head(cells ...string) {
	t.text("")
	t.row(cells...)
	fmt.Fprint(t.w, "|---|")
	for range cells[1:] {
		fmt.Fprint(t.w, "---:|")
	}
	t.text("")
}

func (t table) row(cells ...string) {
	fmt.Fprint(t.w, "|")
	for _, c := range cells {
		fmt.Fprintf(t.w, " %s |", c)
	}
	t.text("")
}

// sizing prints what was measured and what follows from it.
func sizing(w io.Writer, path string) error {
	m, err := readResults(path)
	if err != nil {
		return err
	}
	t := table{w}
	t.measured(m)
	t.connections(m)
	t.deliveries(m)
	t.reach(m)
	t.kept(m)
	return nil
}

// connections prints what a million of them need. Memory, and the cost of idle ones, are from the process that held most; connects
// those of 4 edges.
func (t table) connections(m *measured) {
	edges := float64(holders)
	idle, peak, alone := m.get("idle", "RSS", 1), m.get("idle", "RSS at once", 1), m.get("idle", "RSS without clients", 1)
	redis := m.get("idle", "RSS of redis", 1)
	core := func(target, metric string) float64 { return m.of("idle", metric, target) / 100 * million / idlers }
	gib := func(kib float64) string { return short(kib/1024/1024) + " GiB" }
	t.text("\n**1,000,000 connections**, %d an edge, and one edge more than needed: %.0f edges.", perEdge, edges)
	t.head("what", "how", "all", "an edge")
	for _, state := range []struct {
		title string
		kib   float64
	}{{"memory of edges, idle", idle}, {"… right after a storm", peak}} {
		t.row(state.title, fmt.Sprintf("%.0f × %s MiB + 1e6 × %s KiB", edges, short(alone), short(state.kib)),
			gib(edges*alone*1024+million*state.kib), gib(alone*1024+perEdge*state.kib))
	}
	t.row("memory of the kernel for idle sockets", fmt.Sprintf("1e6 × %d bytes", socketBytes), gib(million*socketBytes/1024), gib(perEdge*socketBytes/1024))
	t.row("memory of Redis for their own addresses", fmt.Sprintf("1e6 × %s KiB", short(redis)), gib(million*redis), "")
	for _, idle := range []struct{ title, target, metric string }{
		{"CPU of edges while nothing is sent, pings every 5 s", deployed[0].name, "cpu of edges"},
		{"… of one Redis", deployed[0].name, "cpu of redis"},
		{"… of a Cluster", deployed[len(deployed)-1].name, "cpu of redis"},
	} {
		all := core(idle.target, idle.metric)
		t.row(idle.title, fmt.Sprintf("%s %% of a core for %d", short(100*all*idlers/million), idlers), short(all)+" cores", "")
	}
	storm := perEdge * stormPeak
	t.text("\n**An edge goes**, and its %d clients go to the other %.0f edges. At a drain %.0f of them come in the worst second, at a crash as fast as they\n"+
		"are let in.", perEdge, edges-1, storm)
	t.head("part", "CPU a connect, µs", "connects/s of a core", "cores in the worst second of a drain", fmt.Sprintf("all back after a crash, at the earliest, with cores %.0f %% busy", 100*busy))
	for _, p := range []struct {
		title, metric string
		cores         float64
	}{
		{"the other edges", "cpu of edges", (edges - 1) * coresEach},
		{"auth", "cpu of shared", 2},
		{"Redis", "cpu of redis", 1},
	} {
		us := m.get("connect", p.metric, 4)
		t.row(p.title, short(us), whole(million/us), short(storm*us/million),
			fmt.Sprintf("%s s with %.0f", short(perEdge*us/million/p.cores/busy), p.cores))
	}
}

// shape is one way to deliver a million messages a second.
type shape struct {
	title                string
	publishes, followers float64
	edgeUS               func(pushes float64) float64 // of a delivery, by pushes for each delivery
	redis                line
}

// reached is on how many of n edges the followers of an address are, when they are spread by chance.
func reached(n, followers float64) float64 { return n * (1 - math.Pow(1-1/n, followers)) }

// deliveries prints what a million a second need.
func (t table) deliveries(m *measured) {
	redis, delivery := m.redisPublish(), m.edgeDelivery()
	level := func(us float64) func(float64) float64 { return func(float64) float64 { return us } }
	stream := m.get("unicast stream", "cpu of shared", 4)
	alone := line{m.get("unicast stream", "cpu of redis", 4), 0}
	shapes := []shape{
		{"hot channel: 100,000 subscribers × 10/s", 10, 100_000, level(m.get("fanout 1000 60/s", "cpu of edges", 4)), redis},
		{
			"rooms of 20: 50,000 publishes/s", million / roomMembers, roomMembers,
			func(p float64) float64 { return delivery.at0 + delivery.slope*p }, redis,
		},
		{"unicast: 1,000,000 publishes/s", million, 1, level(m.get("unicast stream", "cpu of edges", 4)), alone},
	}
	t.text("\n**1,000,000 deliveries/s** of 128 bytes, live, published by streams, to the clients of %d edges. Cores are fully busy ones; plan with %.0f %%.", holders, 100*busy)
	t.text("Fitted: a publish costs Redis %s µs + %s µs for each edge that follows. A delivery costs the edges %s µs + %s µs for each push.",
		short(redis.at0), short(redis.slope), short(delivery.at0), short(delivery.slope))
	t.head("shape", "edges a publish goes to", "cores of edges", fmt.Sprintf("edges of %d cores", coresEach), "cores of Redis", "masters", "cores of publish", "Redis out, Gbit/s", "to clients, Gbit/s")
	wire := m.get("rooms of 20", "bytes", 4) + wireHead
	for _, s := range shapes {
		to := reached(holders, s.followers)
		cores := s.edgeUS(to / s.followers)
		one := s.publishes * s.redis.at(to) / million
		t.row(s.title, short(to), short(cores), whole(math.Ceil(cores/busy/coresEach)), short(one), whole(math.Ceil(one/busy)),
			short(s.publishes*stream/million), short(s.publishes*to*(pushBytes+wireHead)*8/1e9), short(million*wire*8/1e9))
	}
}

// reach prints how many publishes one Redis thread sends on, by how many edges follow.
func (t table) reach(m *measured) {
	redis := m.redisPublish()
	t.text("\n**What one Redis thread sends on**, %.0f %% busy, by the edges that each publish goes to (measured up to 4, computed beyond).", 100*busy)
	t.head("edges", "CPU a publish, µs", "publishes/s", "Redis out, Gbit/s")
	for _, n := range []float64{1, 2, 4, 10, 20, 50, 100} {
		rate := busy * million / redis.at(n)
		t.row(whole(n), short(redis.at(n)), whole(rate), short(rate*n*(pushBytes+wireHead)*8/1e9))
	}
}

// whole is a whole number.
func whole(v float64) string { return fmt.Sprintf("%.0f", v) }

// kept prints what history and acks add.
func (t table) kept(m *measured) {
	t.text("\n**Quiet channels**: every edge that has clients there asks about each one, whether anything is published or not.\n"+
		"Pairs of an edge and a channel that one Redis thread bears, %.0f %% busy with nothing else:", 100*busy)
	second := 0.0
	t.head("channel with", "every", "CPU of Redis, µs", "pairs")
	for _, q := range []struct {
		title, scenario string
		every           float64
	}{{"history", "quiet kept", checkEvery.Seconds()}, {"presence", "quiet listed", keepEvery.Seconds()}} {
		us := m.get(q.scenario, "cpu of redis", 1)
		second += us / q.every
		t.row(q.title, whole(q.every)+" s", short(us), whole(busy*million/us*q.every))
	}
	t.row("both, the default", "", short(second)+" a second", whole(busy*million/second))
	t.text("\n**What one Redis thread publishes**, %.0f %% busy, to nobody or one edge.", 100*busy)
	t.head("publish", "CPU of Redis, µs", "publishes/s", "masters for 50,000/s", "masters for 1,000,000/s")
	for _, p := range []struct {
		title string
		us    float64
	}{
		{"live", m.get("unicast stream", "cpu of redis", 4)},
		{"durable", m.get("publish stream durable", "cpu of redis", 4)},
		{"with an ack, and its ack", m.get("acked unary", "cpu of redis", 4)},
	} {
		masters := func(rate float64) string { return whole(max(1, math.Ceil(rate*p.us/million/busy))) }
		t.row(p.title, short(p.us), whole(busy*million/p.us), masters(50_000), masters(million))
	}
}
