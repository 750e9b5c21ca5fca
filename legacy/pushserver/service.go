package pushserver

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

// Store is what the service needs of a store.
type Store interface {
	bus.Channels
	bus.Publisher
	bus.Roster
}

// ServiceConfig tunes the service. The zero value of a field means its default.
type ServiceConfig struct {
	// Open lets everybody create channels and read the statistics, as the older system did. Closed, both need an API key.
	// What is done to a channel needs its token either way.
	Open bool
	// Namespaces says how channels are kept.
	Namespaces bus.Namespaces
	// MaxMessage is the largest message, in bytes; bus.DefaultMaxMessage unless set.
	MaxMessage int
	// MaxChannels is how many channels may be created; 100,000 by default.
	MaxChannels int
	// Charging takes what callers make the store keep from their accounts; nil for nobody.
	Charging bus.Charging
}

// Service is the PushServerService. It may be used concurrently.
type Service struct {
	legacyv1.UnimplementedPushServerServiceServer
	store Store
	door  *bus.Door
	cfg   ServiceConfig
}

// NewService returns the service.
func NewService(store Store, cfg ServiceConfig) *Service {
	cfg.MaxMessage = cmp.Or(cfg.MaxMessage, bus.DefaultMaxMessage)
	cfg.MaxChannels = cmp.Or(cfg.MaxChannels, bus.DefaultMaxChannels)
	return &Service{store: store, door: bus.NewDoor(bus.DoorConfig{Namespaces: cfg.Namespaces, MaxMessage: cfg.MaxMessage, Charging: cfg.Charging}), cfg: cfg}
}

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { legacyv1.RegisterPushServerServiceServer(r, s) }

// nameLabel is the label that has the name of a channel whose address does not tell it.
const nameLabel = "pushserver.name"

// maxLabel is how long a label may be.
const maxLabel = 1024

// CreatePushChannel makes a channel.
func (s *Service) CreatePushChannel(ctx context.Context, req *legacyv1.CreatePushChannelRequest) (*legacyv1.CreatePushChannelResponse, error) {
	if err := rpc.CallerFrom(ctx).CheckOpen(s.cfg.Open, rpc.ScopeChannels); err != nil {
		return nil, err
	}
	a, err := address(req.GetChannel())
	if err != nil {
		return nil, err
	}
	token := newToken()
	c := bus.Channel{Address: a, Created: time.Now().Truncate(time.Millisecond), TokenDigest: bus.TokenDigest(token)}
	if name := req.GetChannel(); dialect.TextOf(a.ID()) != name && len(name) <= maxLabel {
		c.Labels = map[string]string{nameLabel: name}
	}
	if err := s.cfg.Charging.Take(rpc.CallerFrom(ctx).Author(bus.Sender{}), bus.Charge{Channels: 1}); err != nil {
		return nil, err
	}
	err = s.store.CreateChannel(ctx, c, s.cfg.MaxChannels)
	if errors.Is(err, bus.ErrChannelExists) {
		return nil, bus.ErrChannelExists.With(`A WebSocketChannel called "`+req.GetChannel()+`" already exists`, map[string]string{"address": a.String()})
	}
	if err != nil {
		return nil, err
	}
	return &legacyv1.CreatePushChannelResponse{ChannelToken: token}, nil
}

// CheckPushChannel says whether the token is the channel's.
func (s *Service) CheckPushChannel(ctx context.Context, req *legacyv1.CheckPushChannelRequest) (*legacyv1.CheckPushChannelResponse, error) {
	c, err := s.channel(ctx, req.GetChannel())
	if err != nil {
		return nil, err
	}
	if req.ChannelToken == nil {
		return nil, bus.ErrTokenMissing.With("No channel token provided", map[string]string{"field": "channel_token"})
	}
	if err := check(c, req.GetChannelToken()); err != nil {
		return nil, err
	}
	return &legacyv1.CheckPushChannelResponse{}, nil
}

// DeletePushChannel removes a channel.
func (s *Service) DeletePushChannel(ctx context.Context, req *legacyv1.DeletePushChannelRequest) (*legacyv1.DeletePushChannelResponse, error) {
	c, err := s.channel(ctx, req.GetChannel())
	if err != nil {
		return nil, err
	}
	if err := check(c, req.GetChannelToken()); err != nil {
		return nil, err
	}
	if err := s.store.DeleteChannel(ctx, c.Address); err != nil {
		return nil, absent(err, req.GetChannel())
	}
	return &legacyv1.DeletePushChannelResponse{}, nil
}

// maxRecipients is how many recipients one message of ours may have.
const maxRecipients = 1000

// PushMessage sends a text. With more recipients than one message may have it is sent as several, each client has
// its own of them.
func (s *Service) PushMessage(ctx context.Context, req *legacyv1.PushMessageRequest) (*legacyv1.PushMessageResponse, error) {
	c, err := s.channel(ctx, req.GetChannel())
	if err != nil {
		return nil, err
	}
	if err := check(c, req.GetChannelToken()); err != nil {
		return nil, err
	}
	if n := len(req.GetMessage()); n > s.cfg.MaxMessage {
		return nil, bus.ErrMessageTooLarge.With(fmt.Sprintf("the message has %d bytes, the limit is %d", n, s.cfg.MaxMessage),
			map[string]string{"limit": strconv.Itoa(s.cfg.MaxMessage), "size": strconv.Itoa(n)})
	}
	to, err := recipients(req.GetRecipients())
	if err != nil {
		return nil, err
	}
	in, errs := s.door.AdmitAll(ctx, bus.Holder{Channel: c.Address}, requests(c.Address, req.GetMessage(), to))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	_, errs = s.store.PublishAll(ctx, in)
	if err := errors.Join(errs...); err != nil {
		return nil, absent(err, req.GetChannel())
	}
	return &legacyv1.PushMessageResponse{}, nil
}

// requests returns the message, once for each chunk of its recipients.
func requests(to bus.Address, text string, recipients []string) []bus.Request {
	chunks := slices.Collect(slices.Chunk(recipients, maxRecipients))
	if len(chunks) == 0 {
		chunks = [][]string{nil} // everybody
	}
	all := make([]bus.Request, len(chunks))
	for i, chunk := range chunks {
		all[i].Publication = bus.Publication{
			Message: bus.Message{
				ID: uuid.Must(uuid.NewV7()).String(), To: to, Data: []byte(text), ContentType: bus.Text, Recipients: chunk,
			},
			RequireChannel: true,
		}
	}
	return all
}

// recipients returns each client once. A UUID is the same in any case of letters, and ours are in small ones; a token
// may name a client otherwise.
func recipients(list []string) ([]string, error) {
	var bad bus.Invalid
	all := make([]string, 0, len(list))
	seen := make(map[string]bool, len(list))
	for i, r := range list {
		exact, err := bus.NameOf("client", r)
		if err != nil {
			bad.Check(fmt.Sprintf("recipients[%d]", i), err)
			continue
		}
		small, err := bus.NameOf("client", strings.ToLower(r))
		if err != nil { // it has grown beyond the limit
			small = exact
		}
		for _, name := range []string{exact, small} {
			if !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	return all, bad.Err()
}

// statisticsPage is how many channels one page has.
const statisticsPage = 1000

// GetPushStatistics returns a page of the channels, and how many clients there are.
func (s *Service) GetPushStatistics(ctx context.Context, req *legacyv1.GetPushStatisticsRequest) (*legacyv1.GetPushStatisticsResponse, error) {
	if err := rpc.CallerFrom(ctx).CheckOpen(s.cfg.Open, rpc.ScopeChannels); err != nil {
		return nil, err
	}
	after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, bus.ErrFieldInvalid.With("page_token: is not one that this list returned", nil)
	}
	page, err := s.store.ListChannels(ctx, string(after), statisticsPage)
	if err != nil {
		return nil, err
	}
	clients, err := s.store.Members(ctx, bus.PushClients, "", 1)
	if err != nil {
		return nil, err
	}
	resp := &legacyv1.GetPushStatisticsResponse{ClientsAmount: int32(clients.Total)}
	for _, c := range page.Channels {
		resp.Channels = append(resp.Channels, nameOf(c))
	}
	if page.More && len(page.Channels) > 0 {
		last := page.Channels[len(page.Channels)-1].Address.String()
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(last))
	}
	return resp, nil
}

// nameOf returns the older system's name of a channel.
func nameOf(c bus.Channel) string {
	if name, ok := c.Labels[nameLabel]; ok && dialect.Name(name) == c.Address.ID() {
		return name
	}
	return dialect.TextOf(c.Address.ID())
}

// address returns the address of a channel of the older system.
func address(name string) (bus.Address, error) {
	return bus.NewAddress(bus.KindChannels, dialect.Name(name))
}

// channel returns a channel by its older name.
func (s *Service) channel(ctx context.Context, name string) (bus.Channel, error) {
	a, err := address(name)
	if err != nil {
		return bus.Channel{}, err
	}
	c, err := s.store.Channel(ctx, a)
	return c, absent(err, name)
}

// absent says in the older words that a channel is not there.
func absent(err error, name string) error {
	if errors.Is(err, bus.ErrChannelNotFound) {
		return bus.ErrChannelNotFound.With(`Could not find a WebSocketChannel called "`+name+`"`, nil)
	}
	return err
}

// check says whether the token is the channel's, in the same time whatever it is.
func check(c bus.Channel, token string) error {
	if subtle.ConstantTimeCompare([]byte(bus.TokenDigest(token)), []byte(c.TokenDigest)) != 1 {
		return bus.ErrPermissionDenied.With("Channel token is invalid", map[string]string{"field": "channel_token"})
	}
	return nil
}
