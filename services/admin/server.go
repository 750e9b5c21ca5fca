// Package admin is the AdminService: what is running.
package admin

import (
	"context"
	"time"

	"google.golang.org/grpc"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
)

// Server is the AdminService. It may be used concurrently.
type Server struct {
	adminv1.UnimplementedAdminServiceServer
	store      Store
	namespaces bus.Namespaces
}

// Store is what the service needs of a store.
type Store interface {
	bus.Nodes
	bus.Log
	bus.Roster
	bus.Inboxes
	bus.Clock
}

// New returns a server.
func New(store Store, namespaces bus.Namespaces) *Server {
	return &Server{store: store, namespaces: namespaces}
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { adminv1.RegisterAdminServiceServer(r, s) }

// ListNodes returns the processes that are alive. Of several of one name it is the one that started last: the others have
// died without a word, and are not forgotten yet.
func (s *Server) ListNodes(ctx context.Context, _ *adminv1.ListNodesRequest) (*adminv1.ListNodesResponse, error) {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ListNodesResponse{}
	last := make(map[string]time.Time, len(nodes))
	for _, n := range nodes {
		if n.Started.After(last[n.Name()]) {
			last[n.Name()] = n.Started
		}
	}
	for _, n := range nodes {
		if n.Started.Before(last[n.Name()]) {
			continue
		}
		resp.Nodes = append(resp.Nodes, &adminv1.Node{
			Name: n.Name(), Roles: n.Roles, Version: n.Version, StartTime: convert.Time(n.Started), Connections: n.Connections,
		})
	}
	return resp, nil
}
