package redis

import (
	"context"
	"net"
	"time"

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

// Life is what is known of a master, and of the life before.
type Life struct {
	Before          string // the life that it went on from; empty when it was the master from its start
	Started         time.Time
	Appends, Always bool
	Replicas        int  // that the old life was seen to have
	Lax             bool // the old life was seen not to sync
}

// Keeps says whether everything that was acknowledged in the life "old" is there, where the newest entry is of last.
func (l Life) Keeps(last time.Time, least Least) bool {
	f := facts{id: "new", before: l.Before, started: l.Started, appends: l.Appends, always: l.Always}
	return f.keeps("old", last, least, witness{replicas: l.Replicas, lax: l.Lax})
}
