package redis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// A key may have another type than ours, or a value on which a script cannot work. That is no trouble of the server: asking again
// never helps. So it is refused for good, as ErrStoredForeign, and only for what the key is of. The caller is told nothing of the
// key. The log names it, because an operator has to look at it.

// foreignTexts are in the errors of Redis that are about what stands in a key, and in those of Lua about a value of it.
var foreignTexts = []string{
	"WRONGTYPE ", "is not an integer", "is not a float", "not a valid float", "increment or decrement would overflow",
	"The ID specified in XADD is equal or smaller", "attempt to ", "bad argument #", "Invalid stream ID",
}

// isForeign says whether an answer of Redis is about what stands in a key. Anything that passes has another error, which is told
// by its first word.
func isForeign(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	text := answer.Error()
	if !strings.HasPrefix(text, "ERR ") && !strings.HasPrefix(text, "WRONGTYPE ") {
		return false
	}
	for _, part := range foreignTexts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// errAnswer is the error of an answer that is not what a script returns.
var errAnswer = errors.New("not what the script answers")

// misread is the error of an answer that cannot be read: that of Redis, or one about what stands there. The text where says what
// it is of.
func (s *Store) misread(err error, where string) error {
	if number := (*strconv.NumError)(nil); err != nil && !errors.As(err, &number) {
		return unavailable(err)
	}
	s.garbage.drop(unreadKey, where)
	return bus.ErrStoredForeign.Wrap(cmp.Or(err, errAnswer))
}

// foreign counts the answers that are about foreign keys, and finds out for the log which keys these are. At most one goroutine
// asks, once in unreadQuiet.
type foreign struct {
	store   *Store
	running sync.WaitGroup
	ctx     context.Context //nolint:containedctx // ends with the store
	end     context.CancelFunc

	mu   sync.Mutex
	last time.Time
	more int // how many came since
}

func newForeign(s *Store) *foreign {
	f := &foreign{store: s}
	f.ctx, f.end = context.WithCancel(context.Background())
	return f
}

// answered takes a command that was answered with an error. It does not wait.
func (f *foreign) answered(cmd redis.Cmder) {
	if !isForeign(cmd.Err()) {
		return
	}
	f.store.garbage.total.WithLabelValues(string(unreadKey)).Inc()
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.ctx.Err() != nil || !f.last.IsZero() && now.Sub(f.last) < unreadQuiet {
		f.more++
		return
	}
	more, names, why := f.more, namesOf(cmd), cmd.Err()
	f.last, f.more = now, 0
	f.running.Go(func() { f.tell(names, why, more) })
}

// close ends it and waits.
func (f *foreign) close() {
	f.mu.Lock()
	f.end()
	f.mu.Unlock()
	f.running.Wait()
}

// tell logs which of the keys have another type. Where all are of their type the value of one is foreign, and all are named.
func (f *foreign) tell(names []string, why error, more int) {
	ctx, cancel := context.WithTimeout(f.ctx, f.store.cfg.Timeout)
	defer cancel()
	types := make([]redis.Cmder, len(names))
	for i, name := range names {
		types[i] = redis.NewStatusCmd(ctx, "type", name)
	}
	var wrong []string
	if len(types) > 0 && f.store.pipes.Do(ctx, types) == nil {
		for i, cmd := range types {
			is, want := cmd.(*redis.StatusCmd).Val(), f.store.keys.typeOf(names[i]) //nolint:forcetypeassert // made above
			if cmd.Err() == nil && is != "none" && is != want {
				wrong = append(wrong, names[i]+" is a "+is+", not a "+want)
			}
		}
	}
	attrs := []any{slog.Int("more", more), slog.String("error", why.Error())}
	if len(wrong) == 0 {
		attrs = append(attrs, slog.Any("among", names))
	}
	f.store.log.Warn("a key of Redis has something that is not ours; what it is of is refused until the key is moved away or deleted",
		append(attrs, slog.Any("keys", wrong))...)
}

// mostNames is how many keys of one command are looked at.
const mostNames = 64

// namesOf returns the keys that a command names.
func namesOf(cmd redis.Cmder) []string {
	args := cmd.Args()
	keys := args[min(1, len(args)):min(2, len(args))]
	switch cmd.Name() {
	case "eval", "evalsha":
		n := 0
		if len(args) > 2 {
			n, _ = args[2].(int)
		}
		keys = args[min(3, len(args)):min(3+n, len(args))]
	case "del", "exists":
		keys = args[min(1, len(args)):]
	}
	names := make([]string, 0, min(len(keys), mostNames))
	for _, k := range keys {
		if name, ok := k.(string); ok && len(names) < mostNames {
			names = append(names, name)
		}
	}
	return names
}
