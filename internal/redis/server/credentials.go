package server

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Credentials returns who signs in on a new connection with these options.
func Credentials(ctx context.Context, o *redis.Options) (user, password string, err error) {
	if o.CredentialsProviderContext != nil {
		return o.CredentialsProviderContext(ctx)
	}
	return o.Username, o.Password, nil
}
