package pipes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/server"
)

// A slot that is being moved has some of its keys at its master and some at the next one. That may last long: a move that was
// interrupted stays so until an operator ends it. Commands must not wait for that. So whoever needs an address moves what that
// address still has at the old master. From then on everything of the address happens at the new one. Nothing of it can come
// back, since the old master makes no key of such a slot. No script of ours runs there either, because each names a key that is
// never there (keys.never).

// moves is the addresses that were moved, and that are being.
type moves struct {
	mu     sync.Mutex
	of     map[string]*move // by the beginning of the address's names
	warned time.Time
}

// move is one address on its way to another master.
type move struct {
	to   string // a slot that comes back is another move
	done chan struct{}
	at   time.Time // when it was over
	err  error
}

const (
	// moveKnown is how long an address counts as moved without looking again.
	moveKnown = time.Second
	// movesKept is how many addresses are remembered, about.
	movesKept = 4096
	// listing is how many names of a slot are read at once, and mostListing how many when those of others hide ours.
	listing     = 1000
	mostListing = 128 * listing
	// moveChunk is how many keys go in one MIGRATE, which stops both masters meanwhile.
	moveChunk = 16
	// movePages is how often the names of a slot are read for one address.
	movePages = 1000
)

// redirection is where a server says that a slot is: "ASK 15156 host:port" or "MOVED …".
type redirection struct{ slot, addr string }

// redirected reads the answer of a server. Without a host it means its own.
func redirected(err error, prefix string, from *redis.Client) (redirection, bool) {
	if !redis.HasErrorPrefix(err, prefix) {
		return redirection{}, false
	}
	words := strings.Fields(err.Error())
	if len(words) != 3 {
		return redirection{}, false
	}
	// The last colon, because an address of IPv6 has others.
	at := strings.LastIndex(words[2], ":")
	if at < 0 {
		return redirection{}, false
	}
	host, port := strings.Trim(words[2][:at], "[]"), words[2][at+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return redirection{}, false
	}
	if host == "" {
		host, _, _ = net.SplitHostPort(from.Options().Addr)
	}
	addr := net.JoinHostPort(host, port)
	_, _, err = net.SplitHostPort(addr)
	return redirection{words[1], addr}, err == nil
}

// moveAll moves what an address still has at the master of its slot to where the slot goes. It returns that place, and false when
// the slot is not on its way any more.
func (p *Pipes) moveAll(ctx context.Context, from *Pipe, name string) (redirection, bool, error) {
	probe := redis.NewStringCmd(ctx, "get", p.cfg.Never(name)) // which is never there, so that it is answered with the way
	if err := pass(ctx, from, []redis.Cmder{probe}); err != nil {
		return redirection{}, false, err
	}
	to, ok := redirected(probe.Err(), "ASK", from.client)
	if !ok {
		return redirection{}, false, nil
	}
	err := p.moves.once(ctx, server.Tag(name), to.addr, func(ctx context.Context) error { return p.move(ctx, from, to, server.Tag(name)) })
	if err != nil {
		p.warn(to, err)
	}
	return to, true, err
}

// once moves an address, for all who want it at the same time.
func (m *moves) once(ctx context.Context, tag, to string, do func(context.Context) error) error {
	m.mu.Lock()
	one := m.of[tag]
	// A move that has failed is tried again by the next caller. One that went well is believed for a while.
	if one == nil || one.to != to || !one.at.IsZero() && (one.err != nil || time.Since(one.at) > moveKnown) {
		m.prune()
		one = &move{to: to, done: make(chan struct{})}
		m.of[tag] = one
		m.mu.Unlock()
		err := do(ctx)
		m.mu.Lock()
		one.err, one.at = err, time.Now()
		close(one.done)
		m.mu.Unlock()
		return err
	}
	m.mu.Unlock()
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prune forgets what was over long ago. The caller holds the lock.
func (m *moves) prune() {
	if len(m.of) < movesKept {
		return
	}
	for tag, one := range m.of {
		// One that is under way stays: a second move of the same keys would run beside it.
		if !one.at.IsZero() && time.Since(one.at) > moveKnown {
			delete(m.of, tag)
		}
	}
}

// move moves all keys of an address.
func (p *Pipes) move(ctx context.Context, from *Pipe, to redirection, tag string) error {
	n := listing
	for range movePages {
		names, err := from.client.Do(ctx, "cluster", "getkeysinslot", to.slot, n).StringSlice()
		if err != nil {
			return fmt.Errorf("list the names of slot %s: %w", to.slot, err)
		}
		var ours []string
		for _, name := range names {
			if strings.HasPrefix(name, tag) {
				ours = append(ours, name)
			}
		}
		for chunk := range slices.Chunk(ours, moveChunk) {
			if err := p.migrate(ctx, from, to, chunk); err != nil {
				return err
			}
		}
		switch {
		// The list was complete, so nothing of the address is left.
		case len(names) < n:
			return nil
		case len(ours) == 0 && n >= mostListing:
			return fmt.Errorf("slot %s has more than %d keys", to.slot, n)
		// The keys of others fill the list. It has no cursor, so a longer one has to be read.
		case len(ours) == 0:
			n *= 2
		}
	}
	return errors.New("the address gets keys faster than they are moved")
}

// migrate moves keys as a resharding does. One that is gone was moved by somebody else.
func (p *Pipes) migrate(ctx context.Context, from *Pipe, to redirection, names []string) error {
	host, port, err := net.SplitHostPort(to.addr)
	if err != nil {
		return fmt.Errorf("the address of the master %q: %w", to.addr, err)
	}
	args := []any{"migrate", host, port, "", 0, p.cfg.Timeout.Milliseconds()}
	user, password, err := server.Credentials(ctx, from.client.Options())
	switch {
	case err != nil:
		return fmt.Errorf("the password for the master: %w", err)
	case user != "":
		args = append(args, "auth2", user, password)
	case password != "":
		args = append(args, "auth", password)
	}
	args = append(args, "keys")
	for _, name := range names {
		args = append(args, name)
	}
	if err := from.client.Do(ctx, args...).Err(); err != nil {
		return fmt.Errorf("move keys of slot %s: %w", to.slot, err)
	}
	return nil
}

// warn says why an address could not be moved, once a second at the most: callers are refused meanwhile, and may try again.
func (p *Pipes) warn(to redirection, err error) {
	p.moves.mu.Lock()
	quiet := time.Since(p.moves.warned) < time.Second
	if !quiet {
		p.moves.warned = time.Now()
	}
	p.moves.mu.Unlock()
	if quiet || errors.Is(err, context.Canceled) {
		return
	}
	fix := "end the move of the slot"
	if strings.Contains(err.Error(), "NOPERM") {
		fix = "allow the user of Redis +cluster|getkeysinslot +migrate +select +restore-asking +asking, see docs/operations.md"
	}
	p.cfg.Log.Warn("a slot is being moved and its keys cannot be moved to the next master", slog.String("slot", to.slot),
		slog.String("to", to.addr), slog.String("error", err.Error()), slog.String("fix", fix))
}
