package redis

import (
	"cmp"
	"context"
	"strconv"
	"sync"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// An address that nothing was published to has no key, however many follow it. Its position is the beginning: an epoch that all
// such addresses of a server share, or in a Cluster all of a slot. Addresses of another durability share another one. It is lost
// when the data is. It also ends like a log does, with a life of the server after which something may be missing. Whoever gives
// it back is given everything from the first message on, or a gap when the beginning is another by then.

// beginningKey is the name of the beginning of an address.
func (s *Store) beginningKey(a bus.Address) string {
	return s.keys.beginning(s.beginningTag(a), s.least(a))
}

func (s *Store) beginningTag(a bus.Address) string {
	// One for a whole server is enough: it loses all of its data at once.
	if s.cluster == nil {
		return "all"
	}
	return slotTags()[server.Slot(s.keys.push(a))]
}

// slotTags are texts of which each belongs to the slot of its index.
var slotTags = sync.OnceValue(func() []string {
	tags := make([]string, server.Slots)
	// Counting up meets every slot after about ten numbers for each.
	for i, missing := 0, server.Slots; missing > 0; i++ {
		tag := strconv.Itoa(i)
		if n := server.Slot("{" + tag + "}"); tags[n] == "" {
			tags[n] = tag
			missing--
		}
	}
	return tags
})

// beginnings returns the epochs of beginnings by name, making those that are not there. The error is about one that is missing in the
// answer; those of other masters are good even where one does not answer.
func (s *Store) beginnings(ctx context.Context, names []string) (map[string]string, error) {
	found := make(map[string]string)
	for _, name := range names {
		found[name] = ""
	}
	absent, err := s.readBeginnings(ctx, found)
	if err != nil || len(absent) == 0 {
		return found, err
	}
	// Only what is missing is written, so that asking writes nothing.
	calls := make([]call, len(absent))
	for i, name := range absent {
		calls[i] = call{beginSetScript, []string{name, name}, []any{bus.StartEpoch(bus.NewEpoch()), "", "", ""}}
	}
	cmds, err := s.runOnce(ctx, calls)
	if err != nil {
		return found, unavailable(err)
	}
	// What was not made is not read back either.
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return found, failure(cmd.Err())
		}
	}
	// Several processes may find the same one missing. Whichever was first has made it, so what counts is read back.
	_, err = s.readBeginnings(ctx, found)
	return found, err
}

// readBeginnings fills in what is there, and returns the names of what is not. It proves what was good in another life.
func (s *Store) readBeginnings(ctx context.Context, found map[string]string) (absent []string, err error) {
	calls := make([]call, 0, len(found))
	for name := range found {
		calls = append(calls, call{beginScript, []string{name, name}, nil})
	}
	cmds, err := s.runAll(ctx, calls)
	if err != nil {
		err = unavailable(err)
	}
	for i, cmd := range cmds {
		name := calls[i].keys[0]
		answer, wrong := cmd.StringSlice()
		switch {
		case wrong != nil:
			err = s.misread(wrong, name)
		case at(answer, 0) == "none":
			absent = append(absent, name)
			if at(answer, 1) == "1" {
				s.garbage.drop(unreadPosition, "a beginning")
			}
		case at(answer, 0) == "is" && epochText(at(answer, 1)):
			found[name] = at(answer, 1)
		default: // it could not be proved, for which err has the cause
			err = cmp.Or(err, unavailable(errUnproved))
		}
	}
	return absent, err
}

// proveBeginning finds out whether everything is there that was acknowledged in an old life, and returns the call that notes it.
func (s *Store) proveBeginning(ctx context.Context, names []string, u unproved) (call, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	// As with a log, but of the least durable message that any of the addresses may have had.
	_, kept, err := s.carries(ctx, names[0], s.keys.leastOf(names[0]), u)
	good := "0"
	if kept {
		good = "1"
	}
	return call{beginSetScript, names, []any{bus.StartEpoch(bus.NewEpoch()), u.old, u.now, good}}, err
}

// endBeginnings ends the beginnings beside an address whose log has lost its end: a file that was cut has lost what is of any durability.
func (s *Store) endBeginnings(ctx context.Context, a bus.Address) error {
	// Once for each life, however many logs are found out.
	var calls []call
	for _, l := range []Least{{}, {Durability: bus.Fsynced}, {Durability: bus.Replicated, Replicas: max(s.cfg.Replicas, 1)}, s.least(a)} {
		name := s.keys.beginning(s.beginningTag(a), l)
		calls = append(calls, call{beginSetScript, []string{name, name}, []any{bus.StartEpoch(bus.NewEpoch()), "*", "", ""}})
	}
	cmds, err := s.runOnce(ctx, calls)
	if err != nil {
		return unavailable(err)
	}
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return failure(cmd.Err())
		}
	}
	return nil
}

// begins returns the position from which an address without a log begins.
func (s *Store) begins(ctx context.Context, a bus.Address) (bus.Position, error) {
	name := s.beginningKey(a)
	found, err := s.beginnings(ctx, []string{name})
	return bus.Position{Epoch: found[name]}, err
}
