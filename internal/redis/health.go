package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
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
	if s.cluster == nil {
		client, _ := s.client.(*redis.Client)
		return unavailable(f(ctx, client))
	}
	return unavailable(s.cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		err := f(ctx, c)
		if err != nil {
			cancel() // one is enough: nobody waits for another that does not answer
		}
		return err
	}))
}

// writable is a script that writes nothing and that a server runs only where it takes writes that need room: not on a replica,
// not while its memory is full or its disk fails, and not while it has fewer replicas than its min-replicas-to-write.
const writable = "#!lua\nreturn 1"

// ping asks one master whether it takes writes and keeps them, and whether it can give the durability that channels ask for.
func (s *Store) ping(ctx context.Context, c *redis.Client) error {
	to := s.pipes.ofClient(c)
	if to.isSilent() {
		return errSilentMaster
	}
	if err := c.Eval(ctx, writable, nil).Err(); err != nil {
		return err
	}
	if err := s.keeps(ctx, c); err != nil {
		return err
	}
	s.lives.watch(ctx, c)
	if s.cfg.Fsync {
		if _, err := to.fsyncs(ctx, s.log); err != nil {
			return err
		}
	}
	if s.cfg.Replicas == 0 {
		return nil
	}
	info, err := c.Info(ctx, "replication").Result()
	if err != nil {
		return err
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
	policy, err := evictionPolicy(ctx, c)
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

// evictionPolicy returns the maxmemory-policy of a server; empty when it does not say. Some managed services know no CONFIG, so INFO is
// asked first.
func evictionPolicy(ctx context.Context, c *redis.Client) (string, error) {
	info, err := c.Info(ctx, "memory").Result()
	if err != nil && !forbidden(err) {
		return "", err
	}
	if _, rest, ok := strings.Cut(info, "maxmemory_policy:"); ok {
		policy, _, _ := strings.Cut(rest, "\r")
		return policy, nil
	}
	conf, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil && !forbidden(err) {
		return "", err
	}
	return conf["maxmemory-policy"], nil
}
