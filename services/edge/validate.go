package edge

import (
	"context"
	"sync"
	"time"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// validator asks the auth service who a token stands for. Every token is asked for; handshakes that come
// while a call is under way share the next one, so that a storm of connects does not cost a call each.
type validator struct {
	auth    authv1.AuthServiceClient
	timeout time.Duration
	metrics *metrics

	mu      sync.Mutex
	waiting []*question
	calls   int
	running sync.WaitGroup
}

// question is one token that waits for an answer.
type question struct {
	token  string
	answer chan answer // buffered: who asks may have given up
}

type answer struct {
	identity *bus.Identity
	err      error
}

const (
	// validateBatch is how many tokens go into one call.
	validateBatch = 256
	// validateCalls is how many calls are under way at once.
	validateCalls = 4
)

// validate returns the identity of a token. Nobody is let in without the auth service's word.
func (v *validator) validate(ctx context.Context, token string) (*bus.Identity, error) {
	q := &question{token: token, answer: make(chan answer, 1)}
	v.mu.Lock()
	v.waiting = append(v.waiting, q)
	if v.calls < validateCalls {
		v.calls++
		v.running.Go(v.ask)
	}
	v.mu.Unlock()
	select {
	case a := <-q.answer:
		return a.identity, a.err
	case <-ctx.Done():
		return nil, bus.ErrAuthUnavailable.Wrap(ctx.Err())
	}
}

// ask makes calls until nobody waits.
func (v *validator) ask() {
	for {
		v.mu.Lock()
		n := min(len(v.waiting), validateBatch)
		if n == 0 {
			v.calls--
			v.mu.Unlock()
			return
		}
		batch := v.waiting[:n:n]
		v.waiting = v.waiting[n:]
		v.mu.Unlock()
		v.call(batch)
	}
}

func (v *validator) call(batch []*question) {
	v.metrics.validations.Observe(float64(len(batch)))
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
			q.answer <- answer{identity: rpc.IdentityFromProto(resp.GetResults()[i].GetIdentity())}
		}
	}
}
