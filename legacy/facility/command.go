package facility

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// CommandConfig bounds what commands may do. The zero value allows none.
type CommandConfig struct {
	// Allow are the verbs that may be used, of those of a bus.ValueCommand.
	Allow []string
	// Keys is how many keys an owner may have; DefaultKeys unless set.
	Keys int
	// Keep is how long values are kept after the last change; DefaultKeep unless set.
	Keep time.Duration
}

// The defaults of CommandConfig.
const (
	DefaultKeys = 100
	DefaultKeep = 24 * time.Hour
)

// CommandService is the CommandService. It may be used concurrently.
type CommandService struct {
	legacyv1.UnimplementedCommandServiceServer
	store    bus.Values
	cfg      CommandConfig
	charging bus.Charging
}

// NewCommandService returns the service, which takes what callers make the store keep from their accounts.
func NewCommandService(store bus.Values, cfg CommandConfig, charging bus.Charging) *CommandService {
	cfg.Keys, cfg.Keep = cmp.Or(cfg.Keys, DefaultKeys), cmp.Or(cfg.Keep, DefaultKeep)
	return &CommandService{store: store, cfg: cfg, charging: charging}
}

// Register adds the service to a gRPC server.
func (s *CommandService) Register(r grpc.ServiceRegistrar) {
	legacyv1.RegisterCommandServiceServer(r, s)
}

// RunCommand carries out one command.
func (s *CommandService) RunCommand(ctx context.Context, req *legacyv1.RunCommandRequest) (*legacyv1.RunCommandResponse, error) {
	if len(s.cfg.Allow) == 0 {
		return nil, bus.ErrMethodDisabled.With("command frames are off here; legacy.commands.allow names the commands that clients may use",
			map[string]string{"setting": "legacy.commands.allow"})
	}
	owner, err := ownerOf(rpc.CallerFrom(ctx), req.GetOwner())
	if err != nil {
		return nil, err
	}
	c, err := s.parse(req.GetCommand())
	if err != nil {
		return nil, err
	}
	c.Owner, c.Limit, c.Keep = owner, s.cfg.Keys, s.cfg.Keep
	if c.Verb == bus.ValueSet || c.Verb == bus.ValueIncr { // what makes the store keep something
		if err := s.charging.Take(rpc.CallerFrom(ctx).Author(bus.Sender{Client: owner}), bus.Charge{Messages: 1, Bytes: len(c.Value)}); err != nil {
			return nil, err
		}
	}
	r, err := s.store.Command(ctx, c)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Missing:
		return &legacyv1.RunCommandResponse{Result: &legacyv1.RunCommandResponse_Missing{Missing: true}}, nil
	case c.Verb == bus.ValueGet || c.Verb == bus.ValueSet:
		return &legacyv1.RunCommandResponse{Result: &legacyv1.RunCommandResponse_Text{Text: r.Text}}, nil
	}
	return &legacyv1.RunCommandResponse{Result: &legacyv1.RunCommandResponse_Number{Number: r.Number}}, nil
}

// ownerOf says whose values a caller reaches: a client its own alone.
func ownerOf(caller *rpc.Caller, owner string) (string, error) {
	var bad bus.Invalid
	if caller.Trusted() {
		if owner == "" || len(owner) > 512 {
			bad.Add("owner", "has %d bytes, allowed are 1 to 512", len(owner))
		}
		return owner, bad.Err()
	}
	if owner != "" {
		bad.Add("owner", "is set by the server from the token; leave it out")
	}
	return caller.Identity.ValueOwner(), bad.Err()
}
