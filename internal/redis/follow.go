package redis

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

const (
	// maxMoves is how often a server that refuses connections is tried again. A slot is followed for as long as a call may take.
	maxMoves = 4
	// movePause grows with every try, up to mostPause.
	movePause = 20 * time.Millisecond
	mostPause = 100 * time.Millisecond
)

// follow carries out commands in a Cluster. What was certainly not done because its slot is elsewhere, or because no connection could be
// made, is tried again: by the caller, so that nobody else waits for it.
func (p *pipes) follow(ctx context.Context, cmds []redis.Cmder) error {
	start := time.Now()
	for try := 0; ; try++ {
		if err := p.spread(ctx, cmds); err != nil {
			return err
		}
		if cmds = undone(cmds); len(cmds) == 0 {
			return nil
		}
		if err := p.redirect(ctx, cmds); err != nil {
			return err
		}
		if cmds = undone(cmds); !p.worthATry(errorsOf(cmds), try, start) {
			return nil
		}
		p.store.cluster.ReloadState(ctx)
		if err := rest(ctx, try); err != nil {
			return err
		}
		for _, c := range cmds {
			c.SetErr(nil)
		}
	}
}

// worthATry says whether to try again what has these errors.
func (p *pipes) worthATry(errs []error, try int, start time.Time) bool {
	if time.Since(start) > p.store.cfg.Timeout {
		return false
	}
	for _, err := range errs {
		if moved(err) || try < maxMoves {
			return true
		}
	}
	return false
}

func errorsOf(cmds []redis.Cmder) []error {
	errs := make([]error, len(cmds))
	for i, c := range cmds {
		errs[i] = c.Err()
	}
	return errs
}

// rest waits before another try.
func rest(ctx context.Context, try int) error {
	wait := time.NewTimer(min(time.Duration(try+1)*movePause, mostPause))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
}

// undone returns the commands that were refused because their slot is elsewhere or their master takes no connections.
func undone(cmds []redis.Cmder) []redis.Cmder {
	var again []redis.Cmder
	for _, c := range cmds {
		if moved(c.Err()) || refusedBefore(c.Err()) {
			again = append(again, c)
		}
	}
	return again
}

// redirect carries out, address by address, commands that were refused because their slot is elsewhere: at the master that was
// named. What is refused there too keeps that error.
func (p *pipes) redirect(ctx context.Context, cmds []redis.Cmder) error {
	var tags []string
	of := make(map[string][]redis.Cmder)
	for _, c := range cmds {
		if !moved(c.Err()) {
			continue
		}
		tag := tagOf(keyOf(c))
		if of[tag] == nil {
			tags = append(tags, tag)
		}
		of[tag] = append(of[tag], c)
	}
	for _, tag := range tags {
		if err := p.redirectOne(ctx, of[tag]); err != nil {
			return err
		}
	}
	return nil
}

// redirectOne is redirect for commands of one address.
func (p *pipes) redirectOne(ctx context.Context, cmds []redis.Cmder) error {
	from, err := p.ofKey(ctx, keyOf(cmds[0]))
	if err != nil {
		return err
	}
	way, err := p.way(ctx, from, keyOf(cmds[0]), errorsOf(cmds))
	if err != nil || way.to == nil {
		return err
	}
	if !way.asking {
		return pass(ctx, way.to, cmds)
	}
	list := make([]asked, len(cmds))
	var sent []redis.Cmder
	for i, c := range cmds {
		list[i] = askingFor(ctx, c)
		sent = append(sent, redis.NewStatusCmd(ctx, "asking"), list[i].sent)
	}
	if err := pass(ctx, way.to, sent); err != nil {
		return err
	}
	var pushes []redis.Cmder
	for _, a := range list {
		pushes = append(pushes, a.answer(ctx)...)
	}
	return p.pushAt(ctx, from, pushes)
}

// pushAt sends pushes to who subscribes at the former master. When that has given the slot away meanwhile, it has ended their subscriptions.
func (p *pipes) pushAt(ctx context.Context, from *pipe, pushes []redis.Cmder) error {
	if len(pushes) == 0 {
		return nil
	}
	return pass(ctx, from, pushes)
}

// way is where commands of one address go: nowhere yet, to the master that has its slot, or to the one that is getting it.
type way struct {
	to     *pipe
	from   *pipe // where who subscribes is still, when asking
	asking bool
}

// way finds out where commands go whose slot is elsewhere, from the errors that they were given. The keys of an address whose
// slot is on its way are moved before.
func (p *pipes) way(ctx context.Context, from *pipe, name string, errs []error) (way, error) {
	for _, err := range errs {
		if to, ok := redirected(err, "MOVED", from.client); ok {
			return way{to: p.ofAddr(to.addr)}, nil
		}
	}
	to, ok, err := p.settle(ctx, from, name)
	if e, isOurs := err.(*bus.Error); isOurs { //nolint:errorlint // ours are not wrapped here: the context has ended
		return way{}, e
	}
	if err != nil || !ok {
		return way{}, nil // the commands keep their errors, and may be tried again
	}
	return way{to: p.ofAddr(to.addr), from: from, asking: true}, nil
}
