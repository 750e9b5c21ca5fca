package judge

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Count is one way to break, or to bend, a promise.
type Count string

// The counts of a verdict. All of them are 0 when every promise was kept and nothing was destroyed on purpose.
const (
	// Lost is a message that was answered OK, did not come, and of which no gap was told.
	Lost Count = "lost"
	// Declared is one that did not come either, but a gap was told.
	Declared Count = "declared"
	// Doubled is a message that came twice in one session, again after a resume from behind it, or again from an inbox without the mark.
	Doubled Count = "duplicate"
	// Twice is a message that the application of a client was given twice.
	Twice Count = "twice"
	// Moved is a publish that stands at positions of two epochs: it was repeated after the first one was lost.
	Moved Count = "moved"
	// AfterAck is a message that came to a session which began after its ack was answered.
	AfterAck Count = "after_ack"
	// Reordered is a message that came after a later one.
	Reordered Count = "reordered"
	// Phantom is a delivery of what was refused, or never sent.
	Phantom Count = "phantom"
	// Leaked is a delivery on an address that the message was not sent to, that the session does not follow, or from before its right.
	Leaked Count = "leak"
	// Corrupt is a delivery with another payload.
	Corrupt Count = "corrupt"
	// Forked is a publish at two places of one epoch, or two at one place.
	Forked Count = "forked"
	// Inverted is a publish that began after the answer to another, and stands before it.
	Inverted Count = "inverted"
	// Late is a message that was published after the right of a session had ended, and came to it.
	Late Count = "late"
	// Ghost is a member that is listed though it left long ago.
	Ghost Count = "ghost"
	// Missing is a member that is not listed though it is there.
	Missing Count = "missing"
	// Unresolved is a publish whose outcome the publisher never learned.
	Unresolved Count = "unresolved"
)

// Counts are in the order in which they are shown.
func Counts() []Count {
	return []Count{
		Lost, Declared, Doubled, Twice, Moved, AfterAck, Reordered, Phantom, Leaked, Corrupt, Forked, Inverted, Late, Ghost, Missing,
		Unresolved,
	}
}

// samples is how many findings of each count are kept.
const samples = 5

// Verdict is what a record shows.
type Verdict struct {
	Sent, OK, Refused, Delivered, Gaps, Repeats, Resumes int
	// Unrecovered is how many resumes from a position of a log were answered without `recovered`.
	Unrecovered int
	// Reasons is how many gaps were told with each reason.
	Reasons map[string]int
	Counts  map[Count]int
	// Findings are the first few of each count, in words.
	Findings map[Count][]string
	// Delay is the time from the answer to a publish to its delivery, also to those who were away meanwhile.
	Delay Histogram
	// Silence is the longest time in which nobody's publish was answered OK, and Stillness the one in which nothing was delivered.
	Silence, Stillness time.Duration
}

// found counts a finding.
func (v *Verdict) found(c Count, n int, format string, args ...any) {
	if v.Counts == nil {
		v.Counts, v.Findings = map[Count]int{}, map[Count][]string{}
	}
	v.Counts[c] += n
	if len(v.Findings[c]) < samples {
		v.Findings[c] = append(v.Findings[c], fmt.Sprintf(format, args...))
	}
}

// add adds the verdict on other addresses.
func (v *Verdict) add(w Verdict) {
	v.Sent, v.OK, v.Refused, v.Delivered = v.Sent+w.Sent, v.OK+w.OK, v.Refused+w.Refused, v.Delivered+w.Delivered
	v.Gaps, v.Repeats, v.Resumes = v.Gaps+w.Gaps, v.Repeats+w.Repeats, v.Resumes+w.Resumes
	v.Unrecovered += w.Unrecovered
	for _, c := range slices.Sorted(maps.Keys(w.Counts)) {
		n := w.Counts[c]
		for _, s := range w.Findings[c] {
			v.found(c, 1, "%s", s)
			n--
		}
		v.Counts[c] += n
	}
	if v.Reasons == nil {
		v.Reasons = map[string]int{}
	}
	for reason, n := range w.Reasons {
		v.Reasons[reason] += n
	}
	v.Delay.add(&w.Delay)
	v.Silence, v.Stillness = max(v.Silence, w.Silence), max(v.Stillness, w.Stillness)
}

// Histogram counts times in steps of an eighth.
type Histogram struct {
	buckets [40 * 8]int
	n       int
	most    int64
}

func (h *Histogram) note(us int64) {
	h.n++
	h.most = max(h.most, us)
	h.buckets[bucket(us)]++
}

// bucket tells 8 steps of each power of two apart.
func bucket(us int64) int {
	u := uint64(max(us, 1)) << 3
	shift := 0
	for u>>shift >= 16 {
		shift++
	}
	return min(shift*8+int(u>>shift)-8, 40*8-1)
}

func (h *Histogram) add(o *Histogram) {
	h.n, h.most = h.n+o.n, max(h.most, o.most)
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
}

// Quantile returns the time that a part q of all does not exceed, rounded up by an eighth at most.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := int(q*float64(h.n)) + 1
	for i, n := range h.buckets {
		if rank -= n; rank <= 0 {
			top := int64(8+i%8+1) << (i / 8) >> 3
			return time.Duration(min(top, h.most)) * time.Microsecond
		}
	}
	return time.Duration(h.most) * time.Microsecond
}

// Max returns the longest time.
func (h *Histogram) Max() time.Duration { return time.Duration(h.most) * time.Microsecond }

// Len returns how many times were noted.
func (h *Histogram) Len() int { return h.n }
