package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/pipes"
	"github.com/trunkline/trunkline/internal/redis/server"
)

// Ping asks every master.
func (s *Store) Ping(ctx context.Context) error { return s.eachMaster(ctx, s.ping) }

// CheckEviction returns an error when a master that answers may throw data away to make room, which would lose messages
// in silence. A master that does not answer is left to Ping. With Config.AllowEviction it returns nil.
func (s *Store) CheckEviction(ctx context.Context) error {
	err := s.eachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		if err := s.keeps(ctx, c); errors.Is(err, errEvicts) {
			return err
		}
		return nil
	})
	if errors.Is(err, errEvicts) {
		return err
	}
	return nil
}

// eachMaster calls f for every master, at once, and returns the first error.
func (s *Store) eachMaster(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return unavailable(s.pipes.EachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		err := f(ctx, c)
		if err != nil {
			cancel() // one is enough: nobody waits for another that does not answer
		}
		return err
	}))
}

// writable is a script that writes nothing and that a server runs only where it takes writes that need room. A replica refuses
// it. So does a server whose memory is full, whose disk fails, or that has fewer replicas than its min-replicas-to-write.
const writable = "#!lua\nreturn 1"

// ping asks one master whether it takes writes and keeps them, and whether it can give the durability that channels ask for.
func (s *Store) ping(ctx context.Context, c *redis.Client) error {
	// A silent master is being asked already, by a PING that has had no answer yet.
	to := s.pipes.OfClient(c)
	if to.Silent() {
		return pipes.ErrSilent
	}
	// A replica and a full server answer a PING too, which is of no use to a publisher.
	if err := c.Eval(ctx, writable, nil).Err(); err != nil {
		return err
	}
	if err := s.keeps(ctx, c); err != nil {
		return err
	}
	info, unsaid := c.Info(ctx, "replication", "persistence").Result()
	// What is seen of a life while it is well can prove later that nothing was lost with it.
	if unsaid == nil {
		s.lives.Watch(ctx, c, info)
	}
	if s.cfg.Fsync {
		if _, err := to.Syncs(ctx, s.log); err != nil {
			return err
		}
	}
	if s.cfg.Replicas == 0 {
		return nil
	}
	if unsaid != nil {
		return unsaid
	}
	if n := strings.Count(info, "state=online"); n < s.cfg.Replicas {
		return bus.ErrStoreUnavailable.With("Redis has fewer replicas in step than channels ask for", map[string]string{
			"replicas": strconv.Itoa(n), "wanted": strconv.Itoa(s.cfg.Replicas),
		})
	}
	return nil
}

// errEvicts is the cause of what is said of a server that may evict.
var errEvicts = errors.New("the server may evict")

// keeps returns an error when a server may evict. A server that lets nobody ask is believed, and a warning says so once.
func (s *Store) keeps(ctx context.Context, c *redis.Client) error {
	if s.cfg.AllowEviction {
		return nil
	}
	policy, err := server.EvictionPolicy(ctx, c)
	if err != nil {
		return err
	}
	switch policy {
	case "noeviction":
		return nil
	case "":
		s.unasked.Do(func() {
			s.log.Warn("Redis does not say whether it evicts: allow its user +info or +config|get, and make sure that maxmemory-policy is noeviction")
		})
		return nil
	}
	return bus.ErrStoreUnavailable.With(
		"Redis may throw messages away: its maxmemory-policy is "+policy+"; set it to noeviction, or redis.allow_eviction to true",
		map[string]string{"setting": "maxmemory-policy"},
	).Wrap(errEvicts)
}
