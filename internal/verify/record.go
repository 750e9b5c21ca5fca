package verify

import (
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/trunkline/trunkline/internal/judge"
)

// The times that are measured.
const (
	publishTime  = "publish"
	deliveryTime = "delivery"
	resumeTime   = "resume"
	ackTime      = "ack"
)

// measured are the times with what they are, in the order of the report.
var measured = [][2]string{
	{publishTime, "from the call of a publish to its answer"},
	{deliveryTime, "from the answer to a publish to its delivery, to who is connected"},
	{resumeTime, "from a connect to the newest message that was missed"},
	{ackTime, "from an ack to its answer"},
}

// record gives the judge what happens, as it happens, and measures times. It may be used concurrently.
type record struct {
	start time.Time

	mu    sync.Mutex
	judge *judge.Judge
	sent  map[string]sending
	tops  map[string]judge.Position
	times map[string]*hdrhistogram.Histogram
}

// sending is when a publish began and was answered, by the clock of the record.
type sending struct{ began, answered int64 }

func newRecord() *record {
	r := &record{start: time.Now(), judge: judge.New(), sent: map[string]sending{}, tops: map[string]judge.Position{}, times: map[string]*hdrhistogram.Histogram{}}
	for _, m := range measured {
		r.times[m[0]] = hdrhistogram.New(1, time.Hour.Microseconds(), 3)
	}
	return r
}

// now returns the time of the record, which is never 0.
func (r *record) now() int64 { return max(time.Since(r.start).Microseconds(), 1) }

// add takes an event.
func (r *record) add(e judge.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.At == 0 {
		e.At = r.now()
	}
	switch e.Kind {
	case judge.Sent:
		r.sent[e.Key] = sending{began: e.At}
	case judge.Answered:
		s := r.sent[e.Key]
		s.answered = e.At
		r.sent[e.Key] = s
		r.note(publishTime, e.At-s.began)
		if top := r.tops[e.Address]; top.Epoch != e.Position.Epoch || top.Seq < e.Position.Seq {
			r.tops[e.Address] = e.Position
		}
	}
	r.judge.Add(e)
}

// took notes a time.
func (r *record) took(name string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(name, d.Microseconds())
}

func (r *record) note(name string, us int64) {
	_ = r.times[name].RecordValue(min(max(us, 1), time.Hour.Microseconds())) // within the bounds, so it cannot fail
}

// delivered notes how long a message took to a session that was there when its publish began.
func (r *record) delivered(key string, since int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.sent[key]
	switch {
	case !ok || s.began < since:
	case s.answered == 0: // it was sooner than the answer
		r.note(deliveryTime, 0)
	default:
		r.note(deliveryTime, r.now()-s.answered)
	}
}

// began returns when a publish began; 0 for one that nobody has sent.
func (r *record) began(key string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[key].began
}

// top returns the newest position of an address that was answered.
func (r *record) top(address string) judge.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tops[address]
}

// p99 returns how long 99 of 100 took, and how many there were.
func (r *record) p99(name string) (time.Duration, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.times[name]
	return time.Duration(h.ValueAtQuantile(99)) * time.Microsecond, int(h.TotalCount())
}

// report returns the verdict of the judge, and the times.
func (r *record) report() (judge.Verdict, []Times) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Times
	for _, m := range measured {
		h := r.times[m[0]]
		ms := func(us int64) float64 { return float64(us) / 1000 }
		all = append(all, Times{
			Name: m[0], Says: m[1], Count: h.TotalCount(), P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)),
			P99: ms(h.ValueAtQuantile(99)), P999: ms(h.ValueAtQuantile(99.9)), Max: ms(h.Max()),
		})
	}
	return r.judge.Verdict(), all
}

// A payload names its key and its address, so that a delivery can be judged by itself.

func compose(key, address string, size int) string {
	text := key + " " + address + " "
	return text + strings.Repeat("x", max(size-len(text), 0))
}

func decompose(text string) (key, address string) {
	key, rest, _ := strings.Cut(text, " ")
	address, _, _ = strings.Cut(rest, " ")
	return key, address
}

// digest tells payloads apart.
func digest(text string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return fmt.Sprintf("%016x", h.Sum64())
}
