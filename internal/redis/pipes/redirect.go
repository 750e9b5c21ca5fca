package pipes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
	"github.com/trunkline/trunkline/internal/retry"
)

const (
	// maxMoves is how often a server that refuses connections is tried again. A slot is followed for as long as a call may take.
	maxMoves = 4
	// movePause grows with every try, up to mostPause.
	movePause = 20 * time.Millisecond
	mostPause = 100 * time.Millisecond
)

// follow carries out commands in a Cluster. A command that was certainly not done, because its slot is elsewhere or no connection
// could be made, is tried again. The caller does that, so that nobody else waits for it.
func (p *Pipes) follow(ctx context.Context, cmds []redis.Cmder) error {
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
		if cmds = undone(cmds); !p.WorthATry(errorsOf(cmds), try, start) {
			return nil
		}
		p.cluster.ReloadState(ctx)
		if err := Rest(ctx, try); err != nil {
			return err
		}
		for _, c := range cmds {
			c.SetErr(nil)
		}
	}
}

// spread gives each command to the pipe of its master, and waits for all of them. Commands of one address stay in order.
func (p *Pipes) spread(ctx context.Context, cmds []redis.Cmder) error {
	parts, err := p.parts(ctx, cmds)
	if err != nil {
		return err
	}
	if len(parts) == 1 {
		return pass(ctx, parts[0].to, parts[0].cmds)
	}
	// Every part is in line before the first is waited for, so that the masters work at once.
	waiting := make([]*batch, len(parts))
	for i, part := range parts {
		b := newBatch()
		b.cmds = part.cmds
		if part.to.enter(b) {
			waiting[i] = b
		} else {
			b.free()
		}
	}
	for i, b := range waiting {
		if b == nil {
			continue
		}
		// The rest is not waited for either: one context ends for all of them.
		if err := parts[i].to.wait(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// part is the commands of one caller for one master.
type part struct {
	to   *Pipe
	cmds []redis.Cmder
}

// parts sorts commands by their masters. Most batches have one: nothing is copied then.
func (p *Pipes) parts(ctx context.Context, cmds []redis.Cmder) ([]part, error) {
	all := make([]*Pipe, len(cmds))
	same := true
	for i, c := range cmds {
		var err error
		if all[i], err = p.OfKey(ctx, keyOf(c)); err != nil {
			return nil, err
		}
		same = same && all[i] == all[0]
	}
	if same {
		return []part{{all[0], cmds}}, nil
	}
	var parts []part
	places := make(map[string]int)
	for i, to := range all {
		// Commands are grouped by where the master is. Its client, and with it the pipe, may have been replaced since the
		// commands before. The commands behind must not overtake those.
		addr := to.client.Options().Addr
		at, ok := places[addr]
		if !ok {
			at = len(parts)
			places[addr] = at
			parts = append(parts, part{to: to})
		}
		parts[at].cmds = append(parts[at].cmds, cmds[i])
	}
	return parts, nil
}

// keyOf returns the key by which a command finds its master.
func keyOf(c redis.Cmder) string {
	args := c.Args()
	at := 1
	// The text or hash of a script and the number of its keys stand before the first key.
	if name, _ := args[0].(string); name == "evalsha" || name == "eval" {
		at = 3
	}
	if at >= len(args) {
		return ""
	}
	if key, ok := args[at].(string); ok {
		return key
	}
	return fmt.Sprint(args[at])
}

// WorthATry says whether to try again what has these errors.
func (p *Pipes) WorthATry(errs []error, try int, start time.Time) bool {
	if time.Since(start) > p.cfg.Timeout {
		return false
	}
	for _, err := range errs {
		if Moved(err) || try < maxMoves {
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

// Rest waits before another try.
func Rest(ctx context.Context, try int) error {
	if !retry.Wait(ctx, min(time.Duration(try+1)*movePause, mostPause)) {
		return bus.ErrStoreUnavailable.Wrap(ctx.Err())
	}
	return nil
}

// undone returns the commands that were refused because their slot is elsewhere or their master takes no connections.
func undone(cmds []redis.Cmder) []redis.Cmder {
	var again []redis.Cmder
	for _, c := range cmds {
		if Moved(c.Err()) || RefusedBefore(c.Err()) {
			again = append(again, c)
		}
	}
	return again
}

// redirect carries out, address by address, commands that were refused because their slot is elsewhere: at the master that was
// named. What is refused there too keeps that error.
func (p *Pipes) redirect(ctx context.Context, cmds []redis.Cmder) error {
	var tags []string
	of := make(map[string][]redis.Cmder)
	for _, c := range cmds {
		if !Moved(c.Err()) {
			continue
		}
		// By address: of a slot on its way, some addresses have left and others have not.
		tag := server.Tag(keyOf(c))
		if of[tag] == nil {
			tags = append(tags, tag)
		}
		of[tag] = append(of[tag], c)
	}
	// In the order in which they came, which a map does not keep.
	for _, tag := range tags {
		if err := p.redirectOne(ctx, of[tag]); err != nil {
			return err
		}
	}
	return nil
}

// redirectOne is redirect for commands of one address.
func (p *Pipes) redirectOne(ctx context.Context, cmds []redis.Cmder) error {
	from, err := p.OfKey(ctx, keyOf(cmds[0]))
	if err != nil {
		return err
	}
	way, err := p.Way(ctx, from, keyOf(cmds[0]), errorsOf(cmds))
	if err != nil || way.To == nil {
		return err
	}
	if !way.asking {
		return pass(ctx, way.To, cmds)
	}
	// All in one batch: a command of another caller in between would use up the ASKING.
	list := make([]asked, len(cmds))
	var sent []redis.Cmder
	for i, c := range cmds {
		list[i] = p.askingFor(ctx, c)
		sent = append(sent, redis.NewStatusCmd(ctx, "asking"), list[i].sent)
	}
	if err := pass(ctx, way.To, sent); err != nil {
		return err
	}
	var pushes []redis.Cmder
	for _, a := range list {
		pushes = append(pushes, a.answer(ctx)...)
	}
	return p.pushAt(ctx, from, pushes)
}

// pushAt sends pushes to the subscribers at the former master. When that has given the slot away meanwhile, it has ended their subscriptions.
func (p *Pipes) pushAt(ctx context.Context, from *Pipe, pushes []redis.Cmder) error {
	if len(pushes) == 0 {
		return nil
	}
	return pass(ctx, from, pushes)
}

// Way is where commands of one address go: nowhere yet, to the master that has its slot, or to the one that is getting it.
type Way struct {
	To     *Pipe
	from   *Pipe // where who subscribes is still, when asking
	asking bool
}

// Way finds out where commands go whose slot is elsewhere, from the errors that they were given. The keys of an address whose
// slot is on its way are moved before.
func (p *Pipes) Way(ctx context.Context, from *Pipe, name string, errs []error) (Way, error) {
	for _, err := range errs {
		if to, ok := redirected(err, "MOVED", from.client); ok {
			return Way{To: p.ofAddr(to.addr)}, nil
		}
	}
	// This slot may still be on its way: then the keys go ahead of the commands.
	to, ok, err := p.moveAll(ctx, from, name)
	if e, isOurs := err.(*bus.Error); isOurs { //nolint:errorlint // ours are not wrapped here: the context has ended
		return Way{}, e
	}
	if err != nil || !ok {
		return Way{}, nil //nolint:nilerr // the commands keep their errors, and may be tried again
	}
	return Way{To: p.ofAddr(to.addr), from: from, asking: true}, nil
}

// Moved says whether Redis refused a command because another node has its slot: it was not carried out.
func Moved(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "TRYAGAIN")
}

// RefusedBefore says whether the command certainly was not carried out: the connection could not be made.
func RefusedBefore(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
