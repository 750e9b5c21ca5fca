package rows

import (
	"github.com/trunkline/trunkline/faults/build"
	"github.com/trunkline/trunkline/internal/judge"
)

// Control is a build that is broken on purpose. Its row has to turn red, or the row would not see such a fault.
type Control struct {
	Name    string
	Changes []build.Change
	Row     string
	Seed    uint64
	Count   judge.Count // what is above 0 then
}

// Controls returns all of them.
func Controls() []Control {
	const edge, redis, tail = "services/edge/", "internal/redis/", "internal/tail/"
	change := func(file, old, by string) build.Change { return build.Change{File: file, Old: old, New: by} }
	return []Control{
		{"drops", []build.Change{
			change(tail+"followed.go", "case f.sure():\n\t\tf.hand(m)", "case f.sure():\n\t\tif f.pos = m.Position; m.Position.Offset%40 == 3 {\n\t\t\treturn work{}\n\t\t}\n\t\tf.hand(m)"),
		}, "F0", 1, judge.Lost},
		{"no-heal", []build.Change{
			change(tail+"followed.go", "f.hold(m)\n\t\tf.lags = true\n\t\treturn f.next()", "f.hand(m)\n\t\treturn work{}"),
			change(tail+"follow.go", "if w := f.suspect(); w.kind == askTop {", "if w := (work{}); w.kind == askTop {"),
		}, "F18c", 1, judge.Lost},
		{"no-dedupe", []build.Change{
			change(redis+"lua/publish.lua", "if seen[1] and holds(", "if false and holds("),
		}, "F18", 1, judge.Forked},
		{"push-before-durable", []build.Change{
			change(redis+"hidden.go", "switch p.Durability {\n\tcase bus.Replicated:\n\t\treturn strconv", "switch bus.Durability(99) {\n\tcase bus.Replicated:\n\t\treturn strconv"),
		}, "F17", 1, judge.Moved},
		{"reader-trims", []build.Change{
			change(redis+"lua/read.lua", "local now = t[1] * 1000 + math.floor(t[2] / 1000)", "local now = tonumber(ARGV[7])"),
			change(redis+"log.go", "age.Milliseconds(), s.cfg.MetaTTL.Milliseconds())", "age.Milliseconds(), s.cfg.MetaTTL.Milliseconds(), time.Now().UnixMilli())"),
		}, "F27", 1, judge.Declared},
		{"no-revocation-follow", []build.Change{
			change("internal/revoked/follower.go", "if !lost {\n\t\tf.fresh = append(f.fresh, r)", "if !lost {\n\t\tf.fresh = f.fresh[:0]"),
		}, "F38", 1, judge.Late},
		{"no-expiry-at-write", []build.Change{
			change(edge+"fan/deliver.go", "if to.Conn.Expired(to.shard.clock) {", "if false {"),
			change(edge+"wire/drain.go", "if !c.fresh() || c.Expired(time.Now().UnixMilli()) {", "if !c.fresh() {"),
			change(edge+"wire/drain.go", "if c.Expired(time.Now().UnixMilli()) {\n\t\tc.handler.Stop(ErrExpired)", "if false {\n\t\tc.handler.Stop(ErrExpired)"),
			change(edge+"wire/conn.go", "if c.Expired(time.Now().UnixMilli()) { // it may have waited for long", "if false {"),
		}, "F7e", 1, judge.Late},
		{"resume-off-by-one", []build.Change{
			change(redis+"lua/read.lua", "math.max(at + 1, first), top", "math.max(at + 2, first), top"),
		}, "F1", 1, judge.Lost},
		{"ack-before-store", []build.Change{
			change(edge+"behind/acks.go", "errs := a.store.Ack(ctx, all)\n\tfor _, c := range commands {\n\t\tc.done(errs[:len(c.acks)])",
				"for _, c := range commands {\n\t\tc.done(make([]error, len(c.acks)))\n\t}\n\ttime.Sleep(300 * time.Millisecond)\n\terrs := a.store.Ack(ctx, all)\n\tfor _, c := range commands {"),
		}, "F1", 1, judge.AfterAck},
		{"no-fork", []build.Change{
			change(redis+"server/life.go", "switch l.before {\n\tcase old:", "switch l.before {\n\tcase l.before:\n\t\treturn true\n\tcase old:"),
			change(redis+"prove.go", "if kept && s.confirmed.beyond(", "if false && s.confirmed.beyond("),
		}, "F17p", 1, judge.Forked},
	}
}
