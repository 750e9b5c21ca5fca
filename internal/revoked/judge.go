package revoked

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/trunkline/trunkline/internal/bus"
)

// judge asks the store about all open calls, after something may have been missed or lost:
//
//	| the store has lost | here                               | open calls
//	| nothing            | anything                           | end where the store says that they are revoked
//	| revocations        | the feed was interrupted           | end besides where their token is older than the loss
//	| revocations        | the log went on anew, and a mark   | stay: all that was revoked before came here
//	|                    | comes back without an interruption |
//
// An interruption is told of only when it is over, so a gap without one proves nothing yet. The mark does: it comes on the
// connection of the log, behind everything that was missed or not.
func (f *Follower) judge(ctx context.Context) error {
	f.mu.Lock()
	doubt, ends, outlived := f.doubt, f.ends, f.outlived
	f.mu.Unlock()
	told := f.tell(ctx, ends) // a store that takes no writes can still be asked
	lost, err := f.lost(ctx)
	if err != nil {
		return err
	}
	judge := !lost.Equal(outlived) && !f.proved(ctx)
	if err := f.askAll(ctx, lost, judge); err != nil || told != nil {
		return errors.Join(told, err)
	}
	f.mu.Lock()
	f.ends = f.ends[len(ends):]
	f.outlived = lost
	if f.doubt == doubt { // otherwise there is doubt again
		f.judged, f.broken, f.anew = doubt, false, false
	}
	f.mu.Unlock()
	if !lost.Equal(outlived) {
		f.memory.note(bus.Revocation{Kind: bus.SubjectLost, Before: lost})
		signal(f.losses)
	}
	return nil
}

// tell tells the store how far the log was followed: from there it did not go on, or may not.
func (f *Follower) tell(ctx context.Context, ends []bus.Position) error {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	at, err := f.tail.Acquire(call, bus.Revoked)
	if err != nil {
		return err
	}
	f.tail.Release(bus.Revoked)
	for _, end := range append(slices.Clone(ends), at...) {
		if end.IsZero() {
			continue
		}
		if err := f.store.RevocationsSeen(call, end); err != nil {
			return err
		}
	}
	return nil
}

// lost asks the store since when its revocations are complete.
func (f *Follower) lost(ctx context.Context) (time.Time, error) {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	times, err := f.store.RevokedBefore(call, []bus.Subject{{Kind: bus.SubjectLost}})
	if err != nil {
		return time.Time{}, err
	}
	return times[0], nil
}

// proved says whether everything was heard until the log went on anew.
func (f *Follower) proved(ctx context.Context) bool {
	mark, back := uuid.NewString(), make(chan struct{})
	f.mu.Lock()
	whole := f.anew
	f.mark, f.back = mark, back
	f.mu.Unlock()
	if !whole {
		return false
	}
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := f.tail.Retained(call, bus.Revoked, mark); err != nil {
		return false
	}
	select {
	case <-back:
	case <-call.Done():
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.anew
}

// returned takes a mark.
func (f *Follower) returned(mark string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mark == f.mark && f.back != nil {
		close(f.back)
		f.back = nil
	}
}

// askAll ends the open calls that the store says are revoked; with judge those too whose token is older than a loss.
func (f *Follower) askAll(ctx context.Context, lost time.Time, judge bool) error {
	const each = askBatch / 4 // a token has about four subjects
	for some := range slices.Chunk(f.open(func(*bus.Identity) bool { return true }), each) {
		ids := make([]*bus.Identity, len(some))
		for i, c := range some {
			ids[i] = c.Identity()
		}
		call, cancel := context.WithTimeout(ctx, callTime)
		before, err := f.times(call, ids)
		cancel()
		if err != nil {
			return err
		}
		if before(bus.Subject{Kind: bus.SubjectLost}).After(lost) { // more was lost while this asked
			f.question()
		}
		for i, id := range ids {
			why := id.Refused(func(s bus.Subject) time.Time {
				if s.Kind == bus.SubjectLost && !judge {
					return time.Time{}
				}
				return before(s)
			})
			if why != nil {
				some[i].End(why)
			}
		}
	}
	return nil
}

// ask asks the store about one identity.
func (f *Follower) ask(ctx context.Context, id *bus.Identity) (*bus.Error, error) {
	before, err := f.times(ctx, []*bus.Identity{id})
	if err != nil {
		return nil, err
	}
	return id.Refused(before), nil
}

// times asks the store for the revocations of identities, in one round trip.
func (f *Follower) times(ctx context.Context, ids []*bus.Identity) (func(bus.Subject) time.Time, error) {
	var subjects []bus.Subject
	index := make(map[bus.Subject]int)
	for _, id := range ids {
		for _, s := range id.Subjects() {
			if _, ok := index[s]; !ok {
				index[s] = len(subjects)
				subjects = append(subjects, s)
			}
		}
	}
	times, err := f.store.RevokedBefore(ctx, subjects)
	if err != nil {
		return nil, err
	}
	return func(s bus.Subject) time.Time {
		if i, ok := index[s]; ok {
			return times[i]
		}
		return time.Time{}
	}, nil
}

// restore writes what is remembered here and the store has lost. Every process that has heard of it does, and the first one
// is enough: the others find it there.
func (f *Follower) restore(ctx context.Context) error {
	pause(ctx) // so that not all processes begin at once
	remembered := f.memory.all()
	subjects := make([]bus.Subject, 0, len(remembered))
	for s := range remembered {
		subjects = append(subjects, s)
	}
	written := 0
	for some := range slices.Chunk(subjects, askBatch) {
		call, cancel := context.WithTimeout(ctx, callTime)
		times, err := f.store.RevokedBefore(call, some)
		cancel()
		if err != nil {
			return err
		}
		for i, s := range some {
			if !remembered[s].After(times[i]) {
				continue
			}
			if err := f.revoke(ctx, s, remembered[s]); err != nil {
				return err
			}
			written++
		}
	}
	if written > 0 {
		f.cfg.Log.Warn("revocations that the store had lost were written again", slog.Int("revocations", written))
	}
	return nil
}

// revoke writes a revocation again. For how long it was meant is not known here, and the log's own time is longer than any
// token lives.
func (f *Follower) revoke(ctx context.Context, s bus.Subject, before time.Time) error {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := f.store.Revoke(call, s, before, bus.RevocationLog.Age)
	if errors.Is(err, bus.ErrNotReached) { // it is in effect
		return nil
	}
	return err
}
