package pipes

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// silence is what is known of a master that has not answered in time:
//
//   - heard: it answers, as far as is known
//   - suspected: a pipeline was not answered; one PING is under way, and callers still wait in line
//   - silent: the PING was not answered either: callers are refused at once, until one is
type silence int

const (
	heard silence = iota
	suspected
	silent
)

// listenPause is between two questions to a silent master that came back without an answer.
const listenPause = 100 * time.Millisecond

// ErrSilent is the error of a command that was not sent because its master answers nothing.
var ErrSilent = errors.New("not sent: the server does not answer")

// timedOut says whether a server did not answer in time.
func timedOut(err error) bool {
	if err == nil {
		return false
	}
	var slow net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &slow) && slow.Timeout()
}

// suspect asks a master whether it answers at all, after a pipeline that was not answered. What was lost may have been no more
// than one connection. Without an answer all callers that wait are refused, and so is every caller that comes. A frozen master
// thus costs nobody more than the first timeout.
func (p *Pipe) suspect() {
	p.mu.Lock()
	// One PING is enough for all pipelines that were not answered.
	first := p.silence == heard
	if first {
		p.silence = suspected
	}
	p.mu.Unlock()
	if !first {
		return
	}
	// Less than a command may take, because callers wait in line meanwhile.
	err := p.ping(p.timeout / 4)
	p.mu.Lock()
	p.silence = heard
	var refused []*batch
	if timedOut(err) {
		p.silence = silent
		refused, p.waiting = p.waiting, nil
		p.running.Go(p.listen)
	} else if len(p.waiting) > 0 && p.flights == 0 {
		// The pipelines stopped at the suspicion, and those in line have nobody else to send them.
		p.flights++
		p.running.Go(p.fly)
	}
	p.mu.Unlock()
	for _, b := range refused {
		p.refuse(b, ErrSilent)
		b.done <- struct{}{}
	}
}

// Silent says whether to send nothing now.
func (p *Pipe) Silent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silence == silent
}

func (p *Pipe) ping(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.client.Ping(ctx).Err()
}

// listen asks a silent master again and again until it answers, or it is known that it never will. Meanwhile another may have
// taken over its slots.
func (p *Pipe) listen() {
	for {
		if p.reload != nil {
			p.reload()
		}
		// Anything but silence ends it: a refusal is an answer too, and a refused connection is told to callers at once.
		if err := p.ping(p.timeout); !timedOut(err) || errors.Is(err, redis.ErrClosed) {
			break
		}
		select {
		case <-p.stop:
			return
		case <-time.After(listenPause):
		}
	}
	p.mu.Lock()
	p.silence = heard
	p.mu.Unlock()
}
