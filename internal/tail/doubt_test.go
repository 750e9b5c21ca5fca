package tail_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/tail"
)

func expect(t *testing.T, what string, got any, want string) {
	t.Helper()
	if fmt.Sprint(got) != want {
		t.Errorf("%s: got %v, want %s", what, got, want)
	}
}

func TestTail_aPushThatFollowsIsHandedOnInDoubt(t *testing.T) {
	for name, trouble := range map[string]func(*rig, bus.Address){
		"nobody has asked yet":     func(r *rig, a bus.Address) { r.noTops[a] = true },
		"the store cannot be read": func(r *rig, a bus.Address) { r.noTops[a], r.refuse[a] = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tail.Config{}, 100)
				b.publish(b.a, 1)
				b.lose(1)
				b.follow(b.a)
				b.rig.set(func() { trouble(b.rig, b.a) })
				b.Interrupted([]bus.Address{b.a})
				b.publish(b.a, 2)
				b.pass(-1)
				expect(t, "at once", b.got(), "[2 3]")
				b.rest(8)
			})
		})
	}
}

// While the log is read for what is missing, nothing that was proved waits for it.
func TestTail_aPushThatFollowsIsHandedOnWhileTheLogIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, tail.Config{}, 100)
		b.publish(b.a, 1)
		b.follow(b.a)
		b.lose(-1)
		b.rig.set(func() { b.rig.hang[b.a] = true })
		b.publish(b.a, 2)
		kept := b.rig.next(1)
		b.pass(1) // 3, so 2 is missing and the log is read, without an answer
		expect(t, "before", b.got(), "[]")
		b.Deliver(kept[0]) // 2 comes after all
		expect(t, "at once", b.got(), "[2 3]")
		b.rest(5)
	})
}

func TestTail_doubtCostsOneQuestionForMany(t *testing.T) {
	const followed, behind = 3000, 7
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, tail.Config{}, 100)
		var all []bus.Address
		for i := range followed {
			all = append(all, address(t, fmt.Sprintf("channels/kept:%d", i)))
		}
		for len(all) > 0 {
			b.follow(all[:500]...)
			all = all[500:]
		}
		for i := range behind {
			b.publish(address(t, fmt.Sprintf("channels/kept:%d", i*100)), 2)
		}
		b.lose(-1)
		before, _, _ := b.rig.counts()
		b.Interrupted(nil)
		if got := b.got(); len(got) != 2*behind {
			t.Errorf("%v was missing", got)
		}
		b.rest(1000)
		tops, _, reads := b.rig.counts()
		if tops-before > followed/512+8 || reads != behind {
			t.Errorf("%d questions and %d reads", tops-before, reads)
		}
	})
}

func TestTail_whatCannotBeReadStopsNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		number int
		refuse func(*rig, bus.Address, bool)
	}{
		{"reads fail", 8, func(r *rig, a bus.Address, on bool) { r.refuse[a] = on }},
		{"many reads fail", 600, func(r *rig, a bus.Address, on bool) { r.refuse[a] = on }},
		{"reads hang", 20, func(r *rig, a bus.Address, on bool) { r.hang[a] = on }},
		{"tops fail", 600, func(r *rig, a bus.Address, on bool) { r.noTops[a] = on }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tail.Config{}, 100)
				var bad []bus.Address
				for i := range c.number {
					bad = append(bad, address(t, fmt.Sprintf("channels/bad:%d", i)))
				}
				b.follow(append(slices.Clip(bad), b.a)...)
				for _, a := range append(slices.Clip(bad), b.a) {
					b.publish(a, 1)
				}
				b.lose(-1)
				b.rig.set(func() {
					for _, a := range bad {
						c.refuse(b.rig, a, true)
					}
				})
				b.Interrupted(bad)
				time.Sleep(200 * time.Millisecond) // of the bubble
				b.Interrupted([]bus.Address{b.a})
				time.Sleep(2 * time.Second)
				expect(t, "the healthy one", b.got(), "[1]")
				b.rig.set(func() {
					for _, a := range bad {
						c.refuse(b.rig, a, false)
					}
				})
				time.Sleep(20 * time.Second)
				if got := b.got(); len(got) != len(bad) {
					t.Errorf("%d of %d have healed", len(got), len(bad))
				}
			})
		})
	}
}

func gauges(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]float64)
	for _, f := range families {
		shown[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	return shown
}

func TestTail_holdsABoundedNumberOfBytes(t *testing.T) {
	const each, total = 64 << 10, 256 << 10
	for _, c := range []struct {
		name                string
		addresses, messages int // of about 300 bytes
		most                int64
	}{{"of one address", 1, 1000, each}, {"of all of them", 20, 200, total}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tail.Config{HoldBytes: each, HoldTotal: total}, 100_000)
				var all []bus.Address
				for i := range c.addresses {
					all = append(all, address(t, fmt.Sprintf("channels/kept:%d", i)))
				}
				b.follow(all...)
				most := int64(0)
				for _, a := range all {
					b.rig.set(func() { b.rig.refuse[a] = true })
					b.publish(a, 1)
					b.lose(1)
					for range c.messages {
						b.publish(a, 1)
						b.pass(-1)
						most = max(most, b.Stats().Held)
					}
				}
				if s := b.Stats(); s.Healing != len(all) || most < c.most/2 || most > c.most {
					t.Errorf("while nothing can be read: %+v, at most %d bytes were held", s, most)
				}
				time.Sleep(time.Second)
				if s := b.Stats(); s.Oldest < time.Second {
					t.Errorf("the oldest has healed for %s", s.Oldest)
				}
				reg := prometheus.NewRegistry()
				b.Register(reg, "edge")
				shown := gauges(t, reg)
				if shown["trunkline_tail_healing_addresses"] != float64(len(all)) || shown["trunkline_tail_healing_oldest_seconds"] < 1 ||
					shown["trunkline_tail_followed_addresses"] != float64(len(all)) || shown["trunkline_tail_held_bytes"] != float64(b.Stats().Held) {
					t.Errorf("the gauges show %v", shown)
				}
				b.rig.set(func() { clear(b.rig.refuse) })
				time.Sleep(time.Minute)
				if got := b.got(); len(got) != len(all)*(c.messages+1) {
					t.Errorf("%d of %d have come", len(got), len(all)*(c.messages+1))
				}
				b.rest(10_000)
			})
		})
	}
}

// A message without a position comes after what was published before it, and is not lost when there is no room to hold it.
func TestTail_nothingOvertakesWhatIsHeld(t *testing.T) {
	live := func(b *bench) {
		b.Deliver(&bus.Message{ID: "l", To: b.a, Kind: bus.MessageDismissal})
	}
	t.Run("while the log is read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, tail.Config{HealPage: 2}, 100)
			b.follow(b.a)
			b.rig.set(func() { b.rig.refuse[b.a] = true })
			b.publish(b.a, 5)
			b.lose(3)
			b.pass(1) // 4
			live(b)
			b.pass(1) // 5
			live(b)
			expect(t, "before", b.got(), "[]")
			b.rig.set(func() { clear(b.rig.refuse) })
			time.Sleep(time.Minute)
			expect(t, "after", b.got(), "[1 2 3 4 live 5 live]")
			b.rest(12)
		})
	})
	t.Run("in doubt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, tail.Config{}, 100)
			b.follow(b.a)
			b.rig.set(func() { b.rig.noTops[b.a] = true })
			b.publish(b.a, 2)
			b.lose(2)
			b.Interrupted(nil)
			live(b)
			expect(t, "before", b.got(), "[]")
			b.rig.set(func() { clear(b.rig.noTops) })
			time.Sleep(time.Minute)
			expect(t, "after", b.got(), "[1 2 live]")
		})
	})
	t.Run("the end of a channel", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, tail.Config{}, 100)
			b.follow(b.a)
			b.rig.set(func() { b.rig.refuse[b.a] = true })
			b.publish(b.a, 3)
			b.pass(1)
			b.lose(1)
			b.pass(1)
			b.remove(b.a)
			b.publish(b.a, 2)
			b.pass(-1)
			expect(t, "before", b.got(), "[1]")
			b.rig.set(func() { clear(b.rig.refuse) })
			time.Sleep(time.Minute)
			expect(t, "after", b.got(), "[gap deleted 1 2]")
			b.rest(12)
		})
	})
	t.Run("more than may be held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, tail.Config{HoldBytes: 2000}, 100)
			b.follow(b.a)
			b.rig.set(func() { b.rig.refuse[b.a] = true })
			b.publish(b.a, 10)
			b.lose(1)
			b.pass(-1)
			for range 10 {
				live(b)
			}
			b.rig.set(func() { clear(b.rig.refuse) })
			time.Sleep(time.Minute)
			lives, last := 0, uint64(0)
			for _, e := range b.got() {
				if e == "live" {
					lives++
				} else if o, ok := e.(uint64); !ok || o != last+1 {
					t.Errorf("%v after %d", e, last)
				} else {
					last = o
				}
			}
			if lives != 10 || last != 10 {
				t.Errorf("%d without a position, and up to %d", lives, last)
			}
			b.rest(12)
		})
	})
}
