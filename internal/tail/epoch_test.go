package tail_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/tail"
)

// Messages that wait for what can never come are dropped, and then nothing is asked any more.
func TestTail_dropsWhatCanNeverFollow(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(b *bench)
		want string
	}{
		{"the channel is deleted while its log is read", func(b *bench) {
			b.publish(b.a, 1)
			b.lose(1)
			b.rig.set(func() {
				b.rig.before = func() { // the answer is of before, and what comes meanwhile waits for it
					b.rig.set(func() { b.rig.refuse[b.a] = true })
				}
			})
			b.publish(b.a, 3)
			b.pass(-1)
			synctest.Wait()
			b.publish(b.a, 2)
			b.lose(1)
			b.pass(-1)
			b.remove(b.a)
			b.publish(b.a, 2)
			b.rig.next(-1)
			b.rig.set(func() { b.rig.refuse[b.a] = false })
			b.Interrupted(nil)
		}, "[1 2 3 4 gap 1 2]"},
		{"the store is emptied while an address heals", func(b *bench) {
			b.publish(b.a, 2)
			b.pass(-1)
			b.rig.set(func() { b.rig.refuse[b.a] = true })
			b.publish(b.a, 4)
			b.lose(1)
			b.pass(-1)
			b.remove(b.a)
			b.lose(-1)
			b.rig.set(func() { b.rig.refuse[b.a] = false })
		}, "[1 2 gap]"},
		{"and goes on under another epoch", func(b *bench) {
			b.rig.set(func() { b.rig.refuse[b.a] = true })
			b.publish(b.a, 4)
			b.lose(1)
			b.pass(-1)
			b.remove(b.a)
			b.lose(1)
			b.publish(b.a, 3)
			b.pass(1)
			b.rig.set(func() { b.rig.refuse[b.a] = false })
		}, "[gap 1 2 3]"},
		{"a push of an epoch that was left", func(b *bench) {
			b.publish(b.a, 3)
			late := b.rig.next(-1)
			b.Deliver(late[0])
			b.remove(b.a)
			b.publish(b.a, 2)
			b.pass(-1)
			time.Sleep(time.Second)
			b.Deliver(late[1])
			b.Deliver(late[2])
		}, "[1 deleted gap 1 2]"},
		{"the log has lost its end", func(b *bench) {
			b.publish(b.a, 2)
			b.pass(-1)
			end := b.top()
			b.publish(b.a, 3)
			b.lose(1)
			b.rig.set(func() { b.rig.lost[b.a] = end })
			b.pass(-1)
		}, "[1 2]"},
		{"the log has lost what was handed on", func(b *bench) {
			b.publish(b.a, 2)
			end := b.top()
			b.publish(b.a, 3)
			b.pass(-1)
			b.rig.set(func() { b.rig.lost[b.a] = end })
			b.Interrupted(nil)
			time.Sleep(time.Second)
			b.remove(b.a)
			b.lose(-1)
			b.publish(b.a, 1)
			b.pass(-1)
		}, "[1 2 3 4 5 gap gap 1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tail.Config{}, 100)
				b.follow(b.a)
				c.do(b)
				time.Sleep(10 * time.Second)
				expect(t, "in the end", b.got(), c.want)
				b.rest(30)
			})
		})
	}
}

func (b *bench) top() bus.Position {
	tops, _ := b.rig.Store.Tops(context.Background(), []bus.Address{b.a})
	return tops[0]
}

// What is pushed before the first answer about the log may be of an epoch that has ended by then.
func TestTail_beginsWithPushesThatCanNeverFollow(t *testing.T) {
	for _, c := range []struct {
		name          string
		do            func(b *bench)
		before, while string // what follows when it happens before the question, and while it is answered
	}{
		{"of another epoch", func(b *bench) { b.publish(b.a, 3); b.lose(1); b.pass(-1); b.remove(b.a); b.lose(-1) }, "[1]", "[gap 1]"},
		{"beyond the end", func(b *bench) {
			end := b.top()
			b.publish(b.a, 3)
			b.lose(1)
			b.pass(-1)
			b.rig.set(func() { b.rig.lost[b.a] = end })
			time.AfterFunc(time.Minute/2, func() { b.rig.set(func() { clear(b.rig.lost) }) })
		}, "[1 2 3 4]", "[1 2 3 4]"},
		{"too many to hold", func(b *bench) { b.publish(b.a, 50); b.pass(-1) }, "[51]", "FROM 1"},
	} {
		for _, when := range []string{"before", "while"} {
			t.Run(c.name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, tail.Config{HoldBytes: 5000}, 100)
					want := c.while
					b.rig.before = func() { c.do(b) }
					if when == "before" {
						b.rig.before, b.rig.subscribed = nil, b.rig.before
						want = c.before
					}
					b.follow(b.a)
					time.Sleep(time.Minute)
					b.publish(b.a, 1)
					b.pass(-1)
					time.Sleep(time.Minute)
					got := b.got()
					if want == "FROM 1" {
						got, want = got[len(got)-51:], fmt.Sprint(sequence(51))
					}
					expect(t, "in the end", got, want)
					b.rest(12)
				})
			})
		}
	}
}

func sequence(n uint64) []any {
	var all []any
	for i := range n {
		all = append(all, i+1)
	}
	return all
}
