package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/internal/verify/door"
)

// seen is what a watcher is told of presence.
type seen struct {
	door.Change
	at time.Time
}

// presence watches a channel, and lets a member come and go.
func (r *run) presence(ctx context.Context, n int) error {
	lobby := r.channel("lobby")
	watcher, err := r.token(ctx, "watcher")
	if err != nil {
		return err
	}
	k, err := r.open(ctx, watcher, door.Place{Address: lobby, Presence: true})
	if err != nil {
		return err
	}
	defer k.Kill()
	told := make(chan seen, 64)
	lost := make(chan error, 1)
	go func() {
		defer close(told)
		for {
			f, err := k.Read()
			if err != nil {
				lost <- err
				return
			}
			for _, c := range f.Changes {
				select {
				case told <- seen{c, time.Now()}:
				default: // nobody waits for so many
				}
			}
		}
	}()
	defer func() {
		k.Leave()
		for range told { // until the reader has ended
		}
	}()
	name := fmt.Sprintf("member-%d", n)
	t, err := r.issue(ctx, name, r.worker(), 0)
	if err != nil {
		return err
	}
	member, err := r.open(ctx, t.GetToken(), door.Place{Address: lobby})
	if err != nil {
		return err
	}
	defer member.Kill()
	client, at := t.GetClient(), time.Now()
	if err := r.announced(ctx, "members.join", told, lost, door.Change{Client: client, Joined: true}, at, joined); err != nil {
		return err
	}
	at = time.Now()
	member.Leave()
	return r.announced(ctx, "members.leave", told, lost, door.Change{Client: client}, at, left)
}

// announced waits until a change is told, and notes how long that took.
func (r *run) announced(ctx context.Context, id string, told <-chan seen, lost <-chan error, want door.Change, at time.Time, bound time.Duration) error {
	late := time.NewTimer(bound + grace)
	defer late.Stop()
	for {
		select {
		case s, ok := <-told:
			if !ok {
				return <-lost
			}
			if s.Change == want {
				r.book.took(id, max(s.at.Sub(at), 0), want.Client)
				return nil
			}
		case <-late.C:
			r.book.took(id, time.Since(at), want.Client+" was not announced within")
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
