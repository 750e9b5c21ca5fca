package server

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// EvictionPolicy returns the maxmemory-policy of a server; empty when it does not say. Some managed services know no CONFIG, so INFO
// is asked first.
func EvictionPolicy(ctx context.Context, c *redis.Client) (string, error) {
	info, err := c.Info(ctx, "memory").Result()
	if err != nil && !Forbidden(err) {
		return "", err
	}
	if policy := Field(info, "maxmemory_policy"); policy != "" {
		return policy, nil
	}
	conf, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil && !Forbidden(err) {
		return "", err
	}
	return conf["maxmemory-policy"], nil
}
