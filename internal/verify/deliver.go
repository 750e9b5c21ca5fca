package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/trunkline/trunkline/internal/judge"
	"github.com/trunkline/trunkline/internal/verify/door"
)

// credential is what a session begins with.
type credential func(context.Context) (string, error)

// overSocket follows over a WebSocket.
func (r *run) overSocket(token credential) sit {
	return func(ctx context.Context, places []door.Place, on func(door.Event)) error {
		t, err := token(ctx)
		if err != nil {
			return err
		}
		opening, cancel := context.WithTimeout(ctx, r.Timeout)
		k, err := r.server.Open(opening, t, places...)
		cancel()
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, k.Kill)
		defer func() { _ = stop(); k.Kill() }()
		for _, s := range k.Subscribed {
			on(door.Event{Subscribed: &s})
		}
		for {
			f, err := k.Read()
			if err != nil {
				return err
			}
			on(f.Event)
		}
	}
}

// overSSE follows by server-sent events, and overGRPC over gRPC.
func (r *run) overSSE(token credential) sit  { return streaming(token, r.server.FollowSSE) }
func (r *run) overGRPC(token credential) sit { return streaming(token, r.server.FollowGRPC) }

func streaming(token credential, follow func(context.Context, string, door.Place, func(door.Event)) error) sit {
	return func(ctx context.Context, places []door.Place, on func(door.Event)) error {
		t, err := token(ctx)
		if err != nil {
			return err
		}
		return follow(ctx, t, places[0], on)
	}
}

// followers are those that look at deliveries.
func (r *run) followers() (all []*follower) {
	if !r.rights.follow {
		return nil
	}
	stays := !r.rights.history || !r.rights.kept // a subscriber without a way to resume does not leave
	channels := r.channels()
	if r.rights.socket {
		for i := range 3 {
			who := fmt.Sprintf("websocket-follower%d", i)
			sit := r.overSocket(func(ctx context.Context) (string, error) { return r.token(ctx, who) })
			f := r.newFollower(who, sit, stays || i == 0, channels...)
			f.client = who
			all = append(all, f)
		}
	}
	for i := range 2 {
		streams := []*follower{r.newFollower(fmt.Sprintf("sse-follower%d", i), r.overSSE(r.reader), stays || i == 0, channels[i])}
		if r.server.GRPC != nil {
			streams = append(streams, r.newFollower(fmt.Sprintf("grpc-follower%d", i), r.overGRPC(r.reader), stays || i == 0, channels[i]))
		}
		for _, f := range streams {
			f.client = r.rights.reader
		}
		all = append(all, streams...)
	}
	return all
}

// deliver publishes and follows until the time is over, and then reads everything to its end.
func (r *run) deliver(ctx, over context.Context) error {
	all := r.followers()
	following, stop := context.WithCancel(ctx)
	var followers, publishers sync.WaitGroup
	for _, f := range all {
		followers.Go(func() { f.run(following) })
	}
	defer func() {
		stop()
		followers.Wait()
	}()
	soon, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	for _, f := range all {
		select {
		case <-f.ready:
		case <-soon.Done():
			_, err := f.state()
			if err == nil {
				err = soon.Err()
			}
			r.book.doubtPart("delivery", "%s could not subscribe: %s", f.who, door.Short(err))
		}
	}
	r.publishers(ctx, over, &publishers)
	<-over.Done()
	publishers.Wait()
	return r.finish(ctx, all)
}

// last is the key of the last message of an address.
func (r *run) last(address string) string {
	return r.id + "-last-" + strings.ReplaceAll(address, "/", "-")
}

func (r *run) isEnding() bool {
	select {
	case <-r.ending:
		return true
	default:
		return false
	}
}

// finish resumes everybody once more, and lets all read to the end.
func (r *run) finish(ctx context.Context, all []*follower) error {
	close(r.ending)
	if r.rights.history && r.rights.kept {
		for _, f := range all {
			f.again()
		}
	}
	if !r.rights.publish || ctx.Err() != nil {
		return ctx.Err()
	}
	var ends sync.WaitGroup
	for _, c := range r.channels() {
		p := door.Publication{To: c, Key: r.last(c)}
		p.Data = compose(p.Key, c, r.Size)
		ends.Go(func() {
			if _, err := r.send(ctx, "last", r.rest, p); err != nil {
				r.book.doubtPart("delivery", "the last publish was not answered, so nobody can tell what had to come: %s", door.Short(err))
			}
		})
	}
	ends.Wait()
	soon, cancel := context.WithTimeout(ctx, max(r.Timeout, caughtUp))
	defer cancel()
	for _, f := range all {
		select {
		case <-f.ended:
		case <-soon.Done():
			if on, err := f.state(); !on {
				r.book.doubtPart("delivery", "%s could not come back and read to the end: %s", f.who, door.Short(orElse(err, soon.Err())))
				continue
			}
		}
		for _, a := range f.addresses {
			r.record.add(judge.Event{Kind: judge.Finished, Who: f.who, Address: a})
		}
	}
	return ctx.Err()
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// gone says whether a channel exists no more, as after the loss of a store.
func gone(err error) bool {
	refused, ok := errors.AsType[*door.Refused](err)
	return ok && refused.Reason == "CHANNEL_NOT_FOUND"
}

// clean removes what the run has made.
func (r *run) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	r.Progress(1, "cleaning up")
	r.cleanInbox(ctx)
	for _, c := range r.rights.created {
		if err := r.do(ctx, "DELETE", "/v1/"+c, nil, nil); err != nil && !gone(err) {
			r.leave("%s: %s", c, door.Short(err))
		}
	}
	if r.rights.issue {
		r.cleanTokens(ctx)
	}
	r.server.Close()
}
