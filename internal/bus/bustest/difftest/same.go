// Package difftest proves that two stores cannot be told apart, by doing the same random things to both.
package difftest

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/internal/bus"
)

// Same proves that two stores cannot be told apart. It does the same random things to both, and both show the same: publishes,
// acks, reads, resumes, trims, expiries, repeats after lost answers, and disconnects. It goes on until so many steps were made.
func Same(t *testing.T, a, b bus.Store, w World) {
	t.Helper()
	made := 0
	for made < max(w.Steps, 1) && !t.Failed() {
		rapid.Check(t, func(rt *rapid.T) {
			m := newMachine(rt, a, b, w)
			defer m.close()
			rt.Repeat(m.steps(&made))
		})
	}
	t.Logf("%d steps", made)
}

// steps are what may be done, counted.
func (m *machine) steps(made *int) map[string]func(*rapid.T) {
	steps := map[string]func(*rapid.T){
		"publish":      m.publish,
		"mail":         m.mail,
		"ack":          m.ack,
		"deny":         m.deny,
		"pending":      m.pending,
		"resume":       m.resume,
		"newest":       m.newest,
		"state":        m.state,
		"delivery":     m.delivery,
		"disconnect":   m.disconnect,
		"delete":       m.deleteState,
		"token":        m.token,
		"family":       m.family,
		"revoke":       m.revoke,
		"retained":     m.retained,
		"create":       m.create,
		"delete topic": m.deleteChannel,
	}
	if m.world.Advance != nil {
		steps["wait"] = m.wait
	}
	if m.world.Lose != nil {
		steps["lost answer"] = m.lost
	}
	if m.world.Fork != nil {
		steps["fork"] = m.fork
	}
	for name, step := range steps {
		steps[name] = func(rt *rapid.T) { *made++; step(rt) }
	}
	return steps
}
