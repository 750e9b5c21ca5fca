package redis

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/bus"
)

// DialWith makes the connections of a store of one server in another way. It comes before the first of them.
func (s *Store) DialWith(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	client, _ := s.client.(*redis.Client)
	client.Options().Dialer = dial
}

// LinkOf names the connection of an address, in every feed of a store of one server.
func (s *Store) LinkOf(a bus.Address) string {
	f, _ := s.NewFeed().(*feed)
	name, _ := f.target(context.Background(), &subscription{address: a})
	return name
}
