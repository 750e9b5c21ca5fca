package rooms

import (
	"context"
	"time"

	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// The counter. No client's values have such an owner.
const (
	owner   = "legacy/rooms"
	counter = "roomid"
	keep    = 10 * 365 * 24 * time.Hour // since the last id
)

// ServiceConfig switches the service on.
type ServiceConfig struct {
	// Open lets everybody have room ids, as the older system did. Closed, every call needs a token or an API key.
	Open bool
}

// Service is the RoomsService. It may be used concurrently.
type Service struct {
	legacyv1.UnimplementedRoomsServiceServer
	store bus.Values
	cfg   ServiceConfig
}

// NewService returns the service.
func NewService(store bus.Values, cfg ServiceConfig) *Service {
	return &Service{store: store, cfg: cfg}
}

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { legacyv1.RegisterRoomsServiceServer(r, s) }

// NextRoomID returns the next room id. After an error it is not known whether one was used up.
func (s *Service) NextRoomID(ctx context.Context, _ *legacyv1.NextRoomIDRequest) (*legacyv1.NextRoomIDResponse, error) {
	caller := rpc.CallerFrom(ctx)
	if who := caller.Identity; who == nil || who.Client == "" {
		if err := caller.CheckOpen(s.cfg.Open, rpc.ScopePublish); err != nil {
			return nil, err
		}
	}
	r, err := s.store.Command(ctx, bus.ValueCommand{Owner: owner, Verb: bus.ValueIncr, Keys: []string{counter}, Limit: 1, Keep: keep})
	if err != nil {
		return nil, err
	}
	return &legacyv1.NextRoomIDResponse{Id: r.Number}, nil
}
