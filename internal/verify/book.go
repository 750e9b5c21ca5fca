package verify

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/internal/judge"
)

// rule is a promise as it is looked at.
type rule struct {
	id    string // PART.NAME
	says  string
	bound float64
	unit  string
}

// part is what a rule belongs to.
func (r rule) part() string { return r.id[:strings.IndexByte(r.id, '.')] }

// slowest is the longest time from the answer to a delivery that 99 of 100 may take, unless the caller says another. It is no
// promise of the documents, which cannot know the network of a deployment.
const slowest = time.Second

// rules has every promise that is looked at. docs/guarantees.md has the same times.
func rules(delay time.Duration) []rule {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return []rule{
		{"delivery.answered", "every publish gets an answer, at once or when it is repeated", 0, "publishes"},
		{"delivery.lost", "what was answered OK comes to everybody who follows the channel, also after a resume", 0, "messages"},
		{"delivery.gaps", "nobody is told that messages are missing", 0, "gaps"},
		{"delivery.duplicates", "no message comes twice, also after a resume", 0, "messages"},
		{"delivery.order", "everybody sees one order, the order of the publishes", 0, "messages"},
		{"delivery.foreign", "nothing comes that was refused, changed, or sent elsewhere", 0, "messages"},
		{"delivery.time", "99 of 100 messages come this soon after the answer to their publish", ms(delay), "ms"},
		{"delivery.resume", "99 of 100 sessions that resume are caught up this soon", ms(caughtUp), "ms"},
		{"repeat.duplicate", "a repeat with its idempotency key is answered as the first one was", 0, "publishes"},
		{"repeat.mismatch", "the key with another body is refused", 0, "publishes"},
		{"rights.refused", "a token does only what it grants, at every door", 0, "calls"},
		{"acks.stored", "without an ack the receipt reads STORED when the ack is due, give or take", ms(ackSlack), "ms"},
		{"acks.redelivered", "what was not acknowledged comes again at the next connect, with the mark", 0, "messages"},
		{"acks.acked", "the receipt of what was acknowledged reads ACKED", 0, "messages"},
		{"acks.final", "what was acknowledged never comes again", 0, "messages"},
		{"revocation.closed", "a revocation ends WebSockets and streams", ms(revoked), "ms"},
		{"revocation.refused", "a revoked token opens nothing", 0, "calls"},
		{"revocation.silent", "nothing that is published later comes to who was revoked", 0, "messages"},
		{"expiry.closed", "WebSockets and streams end with their token", ms(expired), "ms"},
		{"expiry.silent", "nothing that is published later comes to whose token has ended", 0, "messages"},
		{"members.join", "a client that comes is announced", ms(joined), "ms"},
		{"members.leave", "a client that leaves is announced", ms(left), "ms"},
	}
}

// Parts are what a run can be confined to.
func Parts() []string {
	var all []string
	for _, r := range rules(0) {
		if p := r.part(); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// kept is how many findings of a promise are reported.
const kept = 5

// book keeps what was seen of each promise. It may be used concurrently.
type book struct {
	mu   sync.Mutex
	rows []*row
	lag  time.Duration // the longest that the prober itself was held up
}

type row struct {
	rule
	Promise
	doubt, skip string
}

func newBook(delay time.Duration, only []string) *book {
	b := &book{}
	for _, r := range rules(delay) {
		if len(only) == 0 || slices.Contains(only, r.part()) {
			b.rows = append(b.rows, &row{rule: r})
		}
	}
	return b
}

// on calls do with the row of a promise, if the run is about it.
func (b *book) on(id string, do func(*row)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.id == id {
			do(r)
		}
	}
}

// looked notes that a promise was looked at so many times.
func (b *book) looked(id string, n int) { b.on(id, func(r *row) { r.Checked += n }) }

// broke notes that a promise was not kept n times, on top of those that were looked at.
func (b *book) broke(id string, n int, format string, args ...any) {
	b.on(id, func(r *row) {
		r.Figure += float64(n)
		r.find(fmt.Sprintf(format, args...))
	})
}

// took notes a time of a promise whose bound is one.
func (b *book) took(id string, d time.Duration, what string) {
	ms := float64(d.Microseconds()) / 1000
	b.on(id, func(r *row) {
		r.Checked++
		r.Figure = max(r.Figure, ms)
		if ms > r.bound {
			r.find(fmt.Sprintf("%s: %.0f ms", what, ms))
		}
	})
}

func (r *row) find(text string) {
	if len(r.Findings) < kept {
		r.Findings = append(r.Findings, text)
	}
}

// doubt notes that a promise could not be looked at as it should.
func (b *book) doubt(id, format string, args ...any) {
	b.on(id, func(r *row) {
		if r.doubt == "" {
			r.doubt = fmt.Sprintf(format, args...)
		}
	})
}

// doubtPart is doubt about every promise of a part.
func (b *book) doubtPart(part, format string, args ...any) {
	for _, r := range rules(0) {
		if r.part() == part {
			b.doubt(r.id, format, args...)
		}
	}
}

// skip notes why the promises are not looked at whose ids begin so.
func (b *book) skip(prefix, format string, args ...any) {
	for _, r := range rules(0) {
		if strings.HasPrefix(r.id, prefix) {
			b.on(r.id, func(r *row) { r.skip = fmt.Sprintf(format, args...) })
		}
	}
}

// wants says whether the run is about a part that is not skipped as a whole.
func (b *book) wants(part string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.rows, func(r *row) bool { return r.part() == part && r.skip == "" })
}

// late notes that the prober itself was held up.
func (b *book) late(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lag = max(b.lag, d)
}

// excused says whether a time may be the fault of the prober, which may be held up on the way to the server and back.
func (b *book) excused(p Promise) bool {
	return p.Unit == "ms" && p.Figure <= p.Bound+2*float64(b.lag.Milliseconds())
}

// promises says what was seen.
func (b *book) promises() []Promise {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []Promise{}
	for _, r := range b.rows {
		p := r.Promise
		p.ID, p.Says, p.Bound, p.Unit = r.id, r.says, r.bound, r.unit
		p.Findings = append([]string{}, p.Findings...)
		switch {
		case p.Figure > p.Bound && b.excused(p):
			p.Verdict, p.Reason = Unknown, fmt.Sprintf("the prober itself was held up for %d ms; run it where there is CPU to spare", b.lag.Milliseconds())
		case p.Figure > p.Bound:
			p.Verdict = Broken
		case r.skip != "":
			p.Verdict, p.Reason = Skipped, r.skip
		case r.doubt != "":
			p.Verdict, p.Reason = Unknown, r.doubt
		case p.Checked == 0:
			p.Verdict, p.Reason = Unknown, "there was no time to look at it; give the run more"
		default:
			p.Verdict = Held
		}
		all = append(all, p)
	}
	return all
}

// found notes what a judge has found.
func (b *book) found(id string, n int, c judge.Count, findings []string) {
	b.on(id, func(r *row) {
		r.Figure += float64(n)
		for _, text := range findings {
			r.find(string(c) + ": " + text)
		}
	})
}
