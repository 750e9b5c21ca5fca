package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/retry"
	"github.com/trunkline/trunkline/internal/verify/door"
)

type message = proto.Message

// publish is one way to publish.
type publish func(ctx context.Context, p door.Publication) (door.Answer, error)

// rest publishes over REST.
func (r *run) rest(ctx context.Context, p door.Publication) (door.Answer, error) {
	credential, err := r.publisher(ctx)
	if err != nil {
		return door.Answer{}, err
	}
	a, err := r.server.PublishREST(ctx, credential, p)
	return a, r.renewed(r.rights.publisher, err)
}

// grpc publishes over gRPC.
func (r *run) grpc(ctx context.Context, p door.Publication) (door.Answer, error) {
	credential, err := r.publisher(ctx)
	if err != nil {
		return door.Answer{}, err
	}
	a, err := r.server.PublishGRPC(ctx, credential, p)
	return a, r.renewed(r.rights.publisher, err)
}

// speaker publishes over a WebSocket, and connects again when it breaks.
type speaker struct {
	r      *run
	client string
	socket *door.Socket
}

func (s *speaker) publish(ctx context.Context, p door.Publication) (door.Answer, error) {
	if s.socket == nil {
		token, err := s.r.token(ctx, s.client)
		if err != nil {
			return door.Answer{}, err
		}
		if s.socket, err = s.r.server.Open(ctx, token); err != nil {
			return door.Answer{}, s.r.renewed(s.client, err)
		}
	}
	a, err := s.socket.Publish(ctx, p)
	if _, told := errors.AsType[*door.Refused](err); err != nil && !told {
		s.close()
	}
	return a, err
}

func (s *speaker) close() {
	if s.socket != nil {
		s.socket.Leave()
		s.socket = nil
	}
}

// send publishes a message, again and again while its outcome is not known, and records what becomes of it.
func (r *run) send(ctx context.Context, who string, by publish, p door.Publication) (door.Answer, error) {
	r.record.add(judge.Event{Kind: judge.Sent, Who: who, Address: p.To, Key: p.Key, Digest: digest(p.Data), Inbox: p.AckWithin > 0})
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for failures := 0; ; failures++ {
		call, done := context.WithTimeout(ctx, min(r.Timeout, 5*time.Second))
		a, err := by(call, p)
		done()
		if err == nil || door.Final(err) {
			r.outcome(who, p, a, err)
			return a, err
		}
		if !wait(ctx, max(door.Wait(err), 20*time.Millisecond+retry.Backoff(failures))) {
			r.outcome(who, p, a, err)
			return a, err
		}
	}
}

// attempt publishes once.
func (r *run) attempt(ctx context.Context, who string, by publish, p door.Publication) (door.Answer, error) {
	r.record.add(judge.Event{Kind: judge.Sent, Who: who, Address: p.To, Key: p.Key, Digest: digest(p.Data)})
	a, err := by(ctx, p)
	r.outcome(who, p, a, err)
	return a, err
}

// outcome records what became of a publish.
func (r *run) outcome(who string, p door.Publication, a door.Answer, err error) {
	e := judge.Event{Kind: judge.Answered, Who: who, Address: p.To, Key: p.Key, Position: a.Position, Repeat: a.Duplicate}
	switch {
	case door.Final(err):
		e.Kind, e.Reason = judge.Refused, err.Error()
	case err != nil:
		e.Kind, e.Reason = judge.Unknown, err.Error()
	}
	r.record.add(e)
}

// each is the most that one publisher publishes in a second.
const each = 40.0

// publishers publish at the rate, through every door, until the time is over.
func (r *run) publishers(ctx, over context.Context, all *sync.WaitGroup) {
	if !r.rights.publish {
		return
	}
	ways := []string{"rest"}
	if r.server.GRPC != nil {
		ways = append(ways, "grpc")
	}
	if r.rights.socket {
		ways = append(ways, "websocket")
	}
	n := len(ways) * int(math.Ceil(r.Rate/each/float64(len(ways))))
	for i := range n {
		who := fmt.Sprintf("%s%d", ways[i%len(ways)], i/len(ways))
		var by publish
		var s *speaker
		switch ways[i%len(ways)] {
		case "rest":
			by = r.rest
		case "grpc":
			by = r.grpc
		default:
			s = &speaker{r: r, client: who}
			by = s.publish
		}
		all.Go(func() {
			r.publishing(ctx, over, who, by, r.Rate/float64(n))
			if s != nil {
				s.close()
			}
		})
	}
}

// publishing publishes at a rate, one message after the other.
func (r *run) publishing(ctx, over context.Context, who string, by publish, rate float64) {
	channels := r.channels()
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-over.Done():
			return
		}
		p := door.Publication{To: channels[n%len(channels)], Key: fmt.Sprintf("%s-%s-%d", r.id, who, n)}
		p.Data = compose(p.Key, p.To, r.Size)
		if _, err := r.send(ctx, who, by, p); door.Denied(err) {
			r.book.doubt("delivery.answered", "%s: %s", who, door.Short(err))
			return
		}
	}
}
