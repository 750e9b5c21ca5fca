package peer

import (
	"context"
	"slices"
)

// Names of the parts that the CPU of a system in several processes is told apart by.
const (
	partEdges  = "edges"
	partShared = "shared"
)

// deployments are Trunkline in several processes, as many edges over one Redis or a Cluster.
func deployments() []Target {
	features := []Feature{Unary, Batch, Stream, Recover, Acks, Connect, Fanout, Mixed, Nobody, Rooms}
	var list []Target
	for _, d := range []struct {
		name, about string
		edges       int
		cluster     bool
		more        []Feature // the number of edges makes no difference to a channel with one client
	}{
		{"trunkline-redis-1edge", "1 edge", 1, false, []Feature{Quiet, Listing}},
		{"trunkline-redis-2edges", "2 edges", 2, false, nil},
		{"trunkline-redis-4edges", "4 edges", 4, false, nil},
		{"trunkline-cluster-2edges", "2 edges", 2, true, []Feature{Quiet}},
	} {
		about := "Trunkline, " + d.about + " and a process with the other roles, one redis-server, json clients"
		if d.cluster {
			about = "Trunkline, " + d.about + " and a process with the other roles, a Redis Cluster of three masters, json clients"
		}
		list = append(list, Target{d.name, about, slices.Concat(features, d.more), func(ctx context.Context, env Env) (System, error) {
			return startEdges(ctx, env, d.edges, d.cluster)
		}})
	}
	return list
}

// startEdges starts Redis, one process with the roles auth, publish and gateway, and edges. Edges ping every 5 s, so that an idle
// trial is long enough to see what that costs.
func startEdges(ctx context.Context, env Env, edges int, cluster bool) (_ System, err error) {
	t := &Trunkline{}
	defer func() {
		if err != nil {
			t.Stop()
		}
	}()
	url, err := t.store(ctx, cluster)
	if err != nil {
		return nil, err
	}
	config, err := t.configure()
	if err != nil {
		return nil, err
	}
	at, err := freeAddrs(3 + 2*edges)
	if err != nil {
		return nil, err
	}
	rest, rpc, internals := at[0], at[1], at[2:3+edges]
	t.edges = at[3+edges:]
	t.internal = internals[1] // profiles are of the first edge
	common := []string{"serve", "--config", config, "--redis", url, "--log-level", "error"}
	shared := append(common[:len(common):len(common)], "--roles", "auth,publish,gateway",
		"--http-listen", rest, "--grpc-listen", rpc, "--internal-listen", internals[0])
	if err := t.add(env, partShared, shared); err != nil {
		return nil, err
	}
	if err := waitReady(ctx, "http://"+internals[0]+"/readyz"); err != nil {
		return nil, err
	}
	for i, addr := range t.edges {
		args := append(common[:len(common):len(common)], "--roles", "edge", "--set", "edge.ping_interval=5s", "--http-listen", addr,
			"--internal-listen", internals[1+i], "--upstream", "auth="+rpc+",publish="+rpc)
		if err := t.add(env, partEdges, args); err != nil {
			return nil, err
		}
	}
	for _, internal := range internals[1:] {
		if err := waitReady(ctx, "http://"+internal+"/readyz"); err != nil {
			return nil, err
		}
	}
	t.conns, err = dialAll(rpc)
	return t, err
}

// store adds Redis and returns its URL.
func (t *Trunkline) store(ctx context.Context, cluster bool) (string, error) {
	if cluster {
		addrs, err := t.cluster(ctx)
		return "redis+cluster://" + addrs, err
	}
	addr, err := t.redis()
	return "redis://" + addr, err
}

// add starts the product before the processes that run already: the first ones hold the connections.
func (t *Trunkline) add(env Env, part string, args []string) error {
	for _, s := range env.Set {
		args = append(args[:len(args):len(args)], "--set", s)
	}
	p, err := start(part, env.Trunkline, args...)
	if err != nil {
		return err
	}
	t.procs = append([]*Process{p}, t.procs...)
	return nil
}
