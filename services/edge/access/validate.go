package access

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// Validator asks the auth service whom a token stands for. It asks about every token. Handshakes that come while a call is
// under way share the next one, so that a storm of connects does not cost a call each. A handshake that would wait too long
// for that is refused at once.
type Validator struct {
	auth      authv1.AuthServiceClient
	timeout   time.Duration
	batches   prometheus.Histogram
	admission *admission

	mu      sync.Mutex
	waiting []*pendingToken
	calls   [validateCalls]time.Time // when each call under way began; zero where there is none
	usual   time.Duration            // how long a call takes, of late
	running sync.WaitGroup
}

// Wait waits for the calls under way.
func (v *Validator) Wait() { v.running.Wait() }

// pendingToken is one token that waits for an answer.
type pendingToken struct {
	token  string
	answer chan answer // buffered: whoever asked may have given up
	gone   atomic.Bool // whoever asked has given up
}

type answer struct {
	identity *bus.Identity
	err      error
}

const (
	// validateBatch is how many tokens go into one call, and validateBytes how long they are together. Their answers are not longer.
	validateBatch = 256
	validateBytes = 1 << 20
	// validateCalls is how many calls are under way at once.
	validateCalls = 4
)

// NewValidator returns a validator whose calls take no longer than the timeout. Refusals of tokens that would wait too long
// are the admission's.
func NewValidator(auth authv1.AuthServiceClient, timeout time.Duration, a *admission, reg prometheus.Registerer) *Validator {
	v := &Validator{auth: auth, timeout: timeout, admission: a, batches: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "trunkline_edge_validation_batch_size", Help: "Tokens in one call to the auth service.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 10),
	})}
	if reg != nil {
		reg.MustRegister(v.batches)
	}
	return v
}

// Validate returns the identity of a token. Nobody is let in without the auth service's word.
func (v *Validator) Validate(ctx context.Context, token string) (*bus.Identity, error) {
	if err := bus.CheckToken(token); err != nil {
		return nil, err
	}
	q := &pendingToken{token: token, answer: make(chan answer, 1)}
	v.mu.Lock()
	free := v.free()
	if free < 0 && v.late() {
		v.mu.Unlock()
		return nil, v.admission.Refuse("edge.call_timeout")
	}
	v.waiting = append(v.waiting, q)
	if free >= 0 {
		v.calls[free] = time.Now()
		v.running.Go(func() { v.ask(free) })
	}
	v.mu.Unlock()
	select {
	case a := <-q.answer:
		return a.identity, a.err
	case <-ctx.Done():
		q.gone.Store(true)
		return nil, bus.ErrAuthUnavailable.Wrap(ctx.Err())
	}
}

// Overloaded says whether another token would wait too long.
func (v *Validator) Overloaded() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.free() < 0 && v.late()
}

// free returns a call that is not under way, or -1. The caller holds the lock.
func (v *Validator) free() int {
	return slices.IndexFunc(v.calls[:], time.Time.IsZero)
}

// late says whether another token would wait for its call longer than half the call's own time, when all calls are under
// way. A call takes as long as the last ones did, or as the oldest one does already. The caller holds the lock.
func (v *Validator) late() bool {
	takes := v.usual
	for _, start := range v.calls {
		takes = max(takes, time.Since(start))
	}
	rounds := 1 + len(v.waiting)/(validateBatch*validateCalls)
	return time.Duration(rounds)*takes > v.timeout/2
}

// ask makes calls until nobody waits. The number names its slot in calls, which is its own until it returns.
func (v *Validator) ask(number int) {
	for {
		runtime.Gosched() // handshakes that are about to ask join
		v.mu.Lock()
		batch := v.take()
		if len(batch) == 0 {
			v.calls[number] = time.Time{}
			v.waiting = nil
			v.mu.Unlock()
			return
		}
		start := time.Now()
		v.calls[number] = start
		v.mu.Unlock()
		v.call(batch)
		v.mu.Lock()
		v.usual += (time.Since(start) - v.usual) / 4
		v.mu.Unlock()
	}
}

// take returns those who go into the next call. The caller holds the lock.
func (v *Validator) take() []*pendingToken {
	var batch []*pendingToken
	bytes := 0
	for len(v.waiting) > 0 && len(batch) < validateBatch {
		q := v.waiting[0]
		if bytes += len(q.token); bytes > validateBytes && len(batch) > 0 {
			break
		}
		if !q.gone.Load() {
			batch = append(batch, q)
		}
		v.waiting[0] = nil
		v.waiting = v.waiting[1:]
	}
	return batch
}

func (v *Validator) call(batch []*pendingToken) {
	v.batches.Observe(float64(len(batch)))
	ctx, cancel := context.WithTimeout(context.Background(), v.timeout)
	defer cancel()
	req := &authv1.BatchValidateTokensRequest{Tokens: make([]string, len(batch))}
	for i, q := range batch {
		req.Tokens[i] = q.token
	}
	resp, err := v.auth.BatchValidateTokens(ctx, req)
	if err == nil && len(resp.GetResults()) != len(batch) {
		err = bus.ErrAuthUnavailable
	}
	for i, q := range batch {
		switch {
		case err != nil:
			q.answer <- answer{err: rpc.Unreachable(err, bus.ErrAuthUnavailable)}
		case resp.GetResults()[i].GetError() != nil:
			q.answer <- answer{err: rpc.FromErrorProto(resp.GetResults()[i].GetError())}
		default:
			q.answer <- answer{identity: convert.Identity(resp.GetResults()[i].GetIdentity())}
		}
	}
}
