package redis

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/redis/links"
)

// DialWith makes the connections of a store of one server in another way. It comes before the first of them.
func (s *Store) DialWith(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	client, _ := s.client.(*redis.Client)
	client.Options().Dialer = dial
}

// LinkOf names the connection of an address, in every feed of a store of one server.
func (*Store) LinkOf(a bus.Address) string { return links.OfSingle(a) }

// TypeOf is the type of a key with the default prefix.
func TypeOf(name string) string { return keys{prefix: DefaultPrefix}.typeOf(name) }
