// Package verify finds out whether a deployment keeps its promises. It publishes and subscribes as users do, breaks its own
// connections, withholds acks and revokes its own tokens. A judge that reads only what happened says what was kept.
package verify

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/verify/door"
)

// The times that are promised, and how far a receipt may be off its time.
var (
	caughtUp = judge.EdgeCaughtUp.Most
	revoked  = judge.Revocation.Most
	expired  = judge.TokenEnd.Most
	left     = judge.PresenceLeave.Most
	joined   = 2 * time.Second
	ackSlack = time.Second
)

// The bounds of what a run may ask for.
const (
	MinFor  = time.Second
	MaxFor  = 24 * time.Hour
	MaxRate = 2000
	// MaxMessages bounds what the judge has to remember.
	MaxMessages = 2_000_000
)

// Namespace is the one that the channels of a run are in, unless the caller names another.
const Namespace = "trunkline-verify"

// Config says what a run does, and to whom.
type Config struct {
	// Server is where everything goes to. Required.
	Server *door.Server
	// URL and Target say in the report where that is: its URL, and host:port of gRPC.
	URL, Target string
	// GRPCNamed says that the caller has named gRPC, so it has to answer.
	GRPCNamed bool
	// Credential is an API key or a token; empty for a local caller in development mode.
	Credential string
	// For is how long is published; 30 s by default.
	For time.Duration
	// Rate is how many messages are published in a second; 20 by default.
	Rate float64
	// Size is how many bytes a message has, at least; 200 by default.
	Size int
	// Only are the parts to look at; empty for all.
	Only []string
	// Namespace is the one that the channels are in; trunkline-verify by default.
	Namespace string
	// Delay bounds the time of deliveries; a second by default.
	Delay time.Duration
	// Timeout is for single calls; 10 s by default.
	Timeout time.Duration
	// Patience is how long a call is repeated before its outcome is unknown; three times Timeout by default.
	Patience time.Duration
	// Progress is told how far the run is, from 0 to 1, and what it does; nil for nobody.
	Progress func(part float64, what string)
}

// Check says what is wrong with the settings that a user has made.
func (c Config) Check() error {
	for _, p := range c.Only {
		if !slices.Contains(Parts(), p) {
			return fmt.Errorf("--only %q: allowed are %s", p, strings.Join(Parts(), ", "))
		}
	}
	switch {
	case c.For < MinFor || c.For > MaxFor:
		return fmt.Errorf("--for %s: allowed are %s to %s", c.For, MinFor, MaxFor)
	case !(c.Rate > 0 && c.Rate <= MaxRate):
		return fmt.Errorf("--rate %v: allowed is more than 0, up to %d a second", c.Rate, MaxRate)
	case c.Rate*c.For.Seconds() > MaxMessages:
		return fmt.Errorf("--rate %v for %s is more than %d messages; choose a lower rate or a shorter time", c.Rate, c.For, MaxMessages)
	case c.Delay <= 0:
		return fmt.Errorf("--max-delay %s: allowed is more than 0", c.Delay)
	case c.Size < 0 || c.Size > 60<<10:
		return fmt.Errorf("--size %d: allowed are 0 to %d bytes", c.Size, 60<<10)
	}
	return nil
}

// run is one run.
type run struct {
	Config

	id     string
	server *door.Server
	record *record
	book   *book
	rights rights
	doors  []Door
	left   []string
	ending chan struct{} // closed when publishing has ended

	reached bool // the server has answered once
}

// Run looks at a deployment until the time is over, and says what it has seen. An error means that nothing could be looked at, or
// that ctx has ended. What the run has made is removed either way.
func Run(ctx context.Context, c Config) (Report, error) {
	c.For, c.Rate, c.Timeout = cmp.Or(c.For, 30*time.Second), cmp.Or(c.Rate, 20), cmp.Or(c.Timeout, 10*time.Second)
	c.Patience = cmp.Or(c.Patience, 3*c.Timeout)
	c.Size, c.Delay, c.Namespace = cmp.Or(c.Size, 200), cmp.Or(c.Delay, slowest), cmp.Or(c.Namespace, Namespace)
	if c.Progress == nil {
		c.Progress = func(float64, string) {}
	}
	r := &run{
		Config: c, id: strings.ToLower(rand.Text()[:12]), server: c.Server, record: newRecord(), book: newBook(c.Delay, c.Only), ending: make(chan struct{}),
	}
	begin := time.Now()
	err := r.prepare(ctx)
	if err == nil {
		err = r.work(ctx)
	}
	r.clean(context.WithoutCancel(ctx))
	if err != nil {
		return Report{}, err
	}
	return r.conclude(begin), nil
}

// work runs all parts side by side.
func (r *run) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.Now().Add(r.For)
	over, stop := context.WithDeadline(ctx, end)
	defer stop()
	var all errgroup.Group
	all.Go(func() error { return r.deliver(ctx, over) })
	for part, round := range map[string]func(context.Context, int) error{
		"repeat": r.repeat, "rights": r.refusals, "acks": r.acks, "revocation": r.revocation, "expiry": r.expiry, "members": r.presence,
	} {
		if r.book.wants(part) {
			all.Go(func() error { return r.rounds(ctx, over, part, round) })
		}
	}
	progress := make(chan struct{})
	go func() {
		defer close(progress)
		r.watch(over, end)
	}()
	err := all.Wait()
	stop()
	<-progress
	return errors.Join(err, context.Cause(ctx))
}

// pause is between two rounds of a part, and to the first one.
const pause = 2 * time.Second

// rounds repeats a part until the time is over; a round that has begun goes on to its end. What a round cannot find out is doubt.
func (r *run) rounds(ctx, over context.Context, part string, round func(context.Context, int) error) error {
	for n := 1; ; n++ {
		if err := round(ctx, n); err != nil && ctx.Err() == nil {
			r.failed(part, err)
		}
		if !r.book.wants(part) || !wait(over, pause) {
			return nil
		}
	}
}

// failed notes that a part cannot be looked at: for want of a right, or because the server does not answer.
func (r *run) failed(part string, err error) {
	if door.Denied(err) {
		r.book.skip(part+".", "the credential has not the right: %s", door.Short(err))
		return
	}
	r.book.doubtPart(part, "%s", door.Short(err))
}

// watch tells how far the run is, and notices when the prober itself is held up: its times then show nothing.
func (r *run) watch(over context.Context, end time.Time) {
	const tick = 20 * time.Millisecond
	begin := time.Now()
	for n := 0; ; n++ {
		if n%10 == 0 {
			r.Progress(min(1, float64(time.Since(begin))/float64(end.Sub(begin))), "looking at promises")
		}
		asked := time.Now()
		if !wait(over, tick) {
			return
		}
		r.book.late(time.Since(asked) - tick)
	}
}

// wait waits, and says whether ctx let it.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// conclude adds up what was seen.
func (r *run) conclude(begin time.Time) Report {
	v, times := r.record.report()
	r.judged(v)
	p := Report{
		Schema: Schema, Server: r.URL, Run: r.id, Begin: begin.UTC(), Seconds: math.Round(time.Since(begin).Seconds()*1000) / 1000, Times: times,
		Promises: r.book.promises(), Doors: r.doors, Left: append([]string{}, r.left...),
		Counts: Counts{v.Sent, v.OK, v.Refused, v.Counts[judge.Unresolved], v.Delivered, v.Resumes, v.Gaps},
	}
	if r.server.GRPC != nil {
		p.GRPC = r.Target
	}
	p.Verdict = conclude(p.Promises)
	return p
}

// judged puts the verdict of the judge into the rows.
func (r *run) judged(v judge.Verdict) {
	for id, counts := range map[string][]judge.Count{
		"delivery.lost": {judge.Lost}, "delivery.duplicates": {judge.Doubled, judge.Twice},
		"delivery.order":   {judge.Reordered, judge.Inverted, judge.Forked, judge.Moved},
		"delivery.foreign": {judge.Phantom, judge.Leaked, judge.Corrupt}, "acks.final": {judge.AfterAck},
	} {
		if strings.HasPrefix(id, "delivery.") && v.Delivered > 0 {
			r.book.looked(id, v.Delivered)
		}
		for _, c := range counts {
			r.book.found(id, v.Counts[c], c, v.Findings[c])
		}
	}
	r.book.looked("delivery.gaps", v.Delivered)
	for reason, n := range v.Reasons {
		if reason == "history_trimmed" { // that is how long the namespace keeps them
			r.book.doubt("delivery.gaps", "the history of the namespace is too short or too young for %d resumes: %s", n, reason)
			continue
		}
		r.book.broke("delivery.gaps", n, "%d with the reason %s", n, reason)
	}
	r.book.looked("delivery.answered", v.Sent)
	if n := v.Counts[judge.Unresolved]; n > 0 {
		r.book.doubt("delivery.answered", "%d publishes got no answer within %s", n, r.Patience)
	}
	for id, name := range map[string]string{"delivery.time": deliveryTime, "delivery.resume": resumeTime} {
		if t, n := r.record.p99(name); n > 0 {
			r.book.took(id, t, "99 of 100")
			r.book.looked(id, n-1)
		}
	}
}
