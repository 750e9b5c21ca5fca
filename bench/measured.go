package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// The targets that sizes are computed from, by the number of edges.
var deployed = []struct {
	name, title string
	edges       float64
}{
	{"trunkline-redis-1edge", "1 edge", 1},
	{"trunkline-redis-2edges", "2 edges", 2},
	{"trunkline-redis-4edges", "4 edges", 4},
	{"trunkline-cluster-2edges", "2 edges, Cluster of 3", 0},
}

// measured is the figures of a results file.
type measured struct {
	command, environment string
	rows                 []row
}

// readResults reads a .jsonl that this program has written.
func readResults(path string) (*measured, error) {
	f, err := os.Open(path) //nolint:gosec // the user's own
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	defer f.Close()
	var head struct{ Command, Environment string }
	rep := &report{}
	lines := bufio.NewScanner(f)
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			err = json.Unmarshal(lines.Bytes(), &head)
		} else {
			var one result
			err = json.Unmarshal(lines.Bytes(), &one)
			rep.all = append(rep.all, one)
		}
		if err != nil {
			return nil, fmt.Errorf("read line %d of the results: %w", n+1, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	m := &measured{head.Command, head.Environment, rep.rows()}
	if m.get("idle", "RSS", 4) == 0 || m.get("followed", "cpu of redis", 4) == 0 || m.get("quiet", "cpu of redis", 1) == 0 {
		return nil, errors.New("these are not the results of make bench-scale")
	}
	return m, nil
}

// of is a figure of a target: the median over the rounds of a scenario. The scenario's name begins with the given one, or equals
// it but for the number of clients. The figure is 0 when it was not measured.
func (m *measured) of(scenario, metric, target string) float64 {
	for _, one := range m.rows {
		if one.target == target && one.metric == metric && (strings.HasPrefix(one.scenario+" ", scenario+" ") || plain(one.scenario) == scenario) {
			return one.median()
		}
	}
	return 0
}

// plain is a scenario's name without numbers.
func plain(name string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(name), func(word string) bool { return word[0] >= '0' && word[0] <= '9' }), " ")
}

// get is of for so many edges over one Redis.
func (m *measured) get(scenario, metric string, edges float64) float64 {
	for _, d := range deployed {
		if d.edges == edges {
			return m.of(scenario, metric, d.name)
		}
	}
	return 0
}

// wrong is how many messages were lost, repeated or out of order in all runs.
func (m *measured) wrong() (n float64, runs int) {
	for _, one := range m.rows {
		if strings.HasPrefix(one.metric, "lost,") {
			for _, v := range one.values {
				n += v
				runs++
			}
		}
	}
	return n, runs
}

// line is y = at0 + slope × x.
type line struct{ at0, slope float64 }

func (l line) at(x float64) float64 { return l.at0 + l.slope*x }

// fit is the line of least squares through points; a cost that seems to fall with x is level.
func fit(xs, ys []float64) line {
	var n, sx, sy, sxx, sxy float64
	for i, x := range xs {
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+ys[i], sxx+x*x, sxy+x*ys[i]
	}
	if slope := (n*sxy - sx*sy) / (n*sxx - sx*sx); slope > 0 {
		return line{(sy - slope*sx) / n, slope}
	}
	return line{sy / n, 0}
}

// The rooms that are measured, by their members.
var roomSizes = []float64{4, 20}

// redisPublish is what a publish costs Redis, in µs, by how many edges it goes to.
func (m *measured) redisPublish() line {
	var xs, ys []float64
	for _, edges := range []float64{1, 2, 4} {
		xs = append(xs, edges)
		ys = append(ys, m.perPublish("followed", "cpu of redis", edges))
	}
	return fit(xs, ys)
}

// perPublish is a figure of a scenario with rooms for each publish, where it is measured for each delivery.
func (m *measured) perPublish(scenario, metric string, edges float64) float64 {
	return m.get(scenario, metric, edges) * m.get(scenario, "deliveries", edges) / m.get(scenario, "publishes", edges)
}

// edgeDelivery is what a delivery costs the edges, in µs, by how many pushes of Redis they take for each delivery.
func (m *measured) edgeDelivery() line {
	var xs, ys []float64
	for _, members := range roomSizes {
		for _, edges := range []float64{1, 2, 4} {
			xs = append(xs, edges/members)
			ys = append(ys, m.get(fmt.Sprintf("rooms of %.0f", members), "cpu of edges", edges))
		}
	}
	return fit(xs, ys)
}
