package redis

import (
	"context"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// An address that nothing was published to has no key, however many follow it. Its position is the beginning: an epoch that all
// such addresses of a server share, or in a Cluster all of a slot. It is lost when the data is. Whoever gives it back is given
// everything from the first message on, or a gap when the beginning is another by then.

// beginningKey is the name of the beginning of an address.
func (s *Store) beginningKey(a bus.Address) string {
	// One for a whole server is enough: it loses all of its data at once.
	if s.cluster == nil {
		return s.keys.beginning("all")
	}
	return s.keys.beginning(slotTags()[server.Slot(s.keys.push(a))])
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

// beginnings returns the epochs of beginnings by name, making those that are not there. The error is about one that is missing in the answer.
func (s *Store) beginnings(ctx context.Context, names []string) (map[string]string, error) {
	found := make(map[string]string)
	for _, name := range names {
		found[name] = ""
	}
	if err := s.readBeginnings(ctx, found); err != nil {
		return found, err
	}
	// NX, because several processes may find the same one missing.
	var cmds []redis.Cmder
	for name, epoch := range found {
		if epoch == "" {
			cmds = append(cmds, redis.NewStatusCmd(ctx, "set", name, bus.StartEpoch(bus.NewEpoch()), "nx"))
		}
	}
	if len(cmds) == 0 {
		return found, nil
	}
	if err := s.do(ctx, cmds...); err != nil { // nil is the answer where another process was faster
		return found, err
	}
	// Whichever process was first has set it, so what counts is read back.
	return found, s.readBeginnings(ctx, found)
}

// readBeginnings fills in what is there.
func (s *Store) readBeginnings(ctx context.Context, found map[string]string) error {
	cmds := make([]redis.Cmder, 0, len(found))
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
		cmds = append(cmds, redis.NewStringCmd(ctx, "get", name))
	}
	if err := s.pipes.Do(ctx, cmds); err != nil {
		return err
	}
	// Beginnings of other masters are good even where one does not answer.
	var failed error
	var broken []redis.Cmder
	for i, cmd := range cmds {
		epoch, err := cmd.(*redis.StringCmd).Result() //nolint:forcetypeassert // made above
		if err != nil && err != redis.Nil {           //nolint:errorlint // go-redis returns it bare
			failed = failure(err)
		}
		if epoch != "" && !epochText(epoch) {
			s.garbage.drop(unreadPosition, "a beginning")
			broken = append(broken, redis.NewIntCmd(ctx, "del", names[i]))
			epoch = ""
		}
		found[names[i]] = epoch
	}
	// Another one is made in its place.
	if len(broken) > 0 && failed == nil {
		failed = s.do(ctx, broken...)
	}
	return failed
}

// begins returns the position from which an address without a log begins.
func (s *Store) begins(ctx context.Context, a bus.Address) (bus.Position, error) {
	name := s.beginningKey(a)
	found, err := s.beginnings(ctx, []string{name})
	return bus.Position{Epoch: found[name]}, err
}
