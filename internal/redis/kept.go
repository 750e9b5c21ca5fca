package redis

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/server"
)

// keptSlots is how many beginnings of a Cluster tell that a master has lost its data: about one for each of as many masters.
const keptSlots = 16

// Kept returns what changes when a server may have lost what the node told it. One part is the server's life, which ends with a
// restart and a failover. The others are beginnings, which a server that is emptied loses, and how often the node was taken for
// dead.
func (s *Store) Kept(ctx context.Context, node string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	parts, err := s.replids(ctx)
	if err != nil {
		return "", unavailable(err)
	}
	names := []string{s.keys.beginning("all", Least{})}
	// A few slots that are spread over the masters are enough to notice one that was emptied.
	if s.cluster != nil {
		names = names[:0]
		for i := range keptSlots {
			names = append(names, s.keys.beginning(slotTags()[i*server.Slots/keptSlots], Least{}))
		}
	}
	found, err := s.beginnings(ctx, names)
	if err != nil {
		return "", unavailable(err)
	}
	for _, name := range names {
		parts = append(parts, found[name])
	}
	taken := redis.NewStringCmd(ctx, "hget", s.keys.nodeTaken(node), "n")
	if err := s.do(ctx, taken); err != nil {
		return "", err
	}
	return strings.Join(append(parts, taken.Val()), " "), nil
}

// replids returns the replication ids of all masters; that of a server that does not permit INFO is empty.
func (s *Store) replids(ctx context.Context) ([]string, error) {
	var mu sync.Mutex
	var all []string
	err := s.pipes.EachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		text, err := c.Info(ctx, "replication").Result()
		if err != nil && !server.Forbidden(err) {
			return err
		}
		// The masters are asked at once, each on a goroutine of its own.
		mu.Lock()
		defer mu.Unlock()
		all = append(all, server.Field(text, "master_replid"))
		return nil
	})
	// Masters answer in any order, and the result is compared as a text.
	slices.Sort(all)
	return all, err
}
