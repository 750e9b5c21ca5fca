package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
)

// maxRecord is the largest record, in bytes, and the largest body with one, as it was.
const maxRecord = 100 << 10

// Article is the Redis channel on which older producers and edges meet.
const Article = "article"

// Store is what the service needs of a store.
type Store interface {
	bus.Tokens
	bus.Publisher
	bus.Clock
}

// ServiceConfig switches the service on.
type ServiceConfig struct {
	// Open lets everybody make tokens and publish, as the older system did. Closed, every call
	// needs an API key.
	Open bool
	// TokenTTL is how long a token lives; 30 days by default.
	TokenTTL time.Duration
	// MaxRecord is the largest record, in bytes; 100 kB by default.
	MaxRecord int
	// Charging takes what callers make the store keep from their accounts; nil for nobody.
	Charging bus.Charging
}

// Service is the RelayService. It may be used concurrently.
type Service struct {
	legacyv1.UnimplementedRelayServiceServer
	store Store
	door  *bus.Door
	cfg   ServiceConfig
}

// anyClient is what the caller of PublishArticle may do, once it was let in: records are for clients.
func anyClient(ctx context.Context) bus.Holder {
	return bus.Holder{Kind: bus.KindClients, By: rpc.CallerFrom(ctx).Author(bus.Sender{})}
}

// NewService returns the service.
func NewService(store Store, cfg ServiceConfig) *Service {
	if cfg.TokenTTL <= 0 {
		cfg.TokenTTL = 30 * 24 * time.Hour
	}
	if cfg.MaxRecord <= 0 {
		cfg.MaxRecord = maxRecord
	}
	return &Service{store: store, door: bus.NewDoor(bus.DoorConfig{MaxMessage: cfg.MaxRecord, Charging: cfg.Charging}), cfg: cfg}
}

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { legacyv1.RegisterRelayServiceServer(r, s) }

// CreateRelayToken makes a token: a UUIDv4 from crypto/rand, kept as a digest.
func (s *Service) CreateRelayToken(ctx context.Context, _ *legacyv1.CreateRelayTokenRequest) (*legacyv1.CreateRelayTokenResponse, error) {
	if err := rpc.CallerFrom(ctx).CheckOpen(s.cfg.Open, rpc.ScopeTokensIssue); err != nil {
		return nil, err
	}
	if err := s.cfg.Charging.Take(rpc.CallerFrom(ctx).Author(bus.Sender{}), bus.Charge{Tokens: 1}); err != nil {
		return nil, err
	}
	token := uuid.NewString()
	now := s.store.Now()
	value, err := json.Marshal(bus.OpaqueToken{Client: token, Issued: now, Expires: now.Add(s.cfg.TokenTTL)})
	if err != nil {
		return nil, fmt.Errorf("encode a relay token: %w", err)
	}
	if err := s.store.SaveToken(ctx, bus.TokenDigest(token), value, s.cfg.TokenTTL); err != nil {
		return nil, err
	}
	return &legacyv1.CreateRelayTokenResponse{Token: token}, nil
}

// CheckRelayToken says whether a token is known. A store that does not answer is an error, not a no.
func (s *Service) CheckRelayToken(ctx context.Context, req *legacyv1.CheckRelayTokenRequest) (*legacyv1.CheckRelayTokenResponse, error) {
	if err := rpc.CallerFrom(ctx).CheckOpen(s.cfg.Open, rpc.ScopeTokensValidate); err != nil {
		return nil, err
	}
	_, err := s.store.Token(ctx, bus.TokenDigest(req.GetToken()))
	if err == nil {
		return &legacyv1.CheckRelayTokenResponse{Auth: true}, nil
	}
	if errors.Is(err, bus.ErrTokenNotFound) {
		return &legacyv1.CheckRelayTokenResponse{}, nil
	}
	return nil, err
}

// PublishArticle sends a record. Where the store bridges the Redis channel article, the record goes there, which reaches
// older edges and our own. Otherwise it goes to the address in the record.
func (s *Service) PublishArticle(ctx context.Context, req *legacyv1.PublishArticleRequest) (*legacyv1.PublishArticleResponse, error) {
	if err := rpc.CallerFrom(ctx).CheckOpen(s.cfg.Open, rpc.ScopePublish); err != nil {
		return nil, err
	}
	if len(req.GetRecord()) > s.cfg.MaxRecord {
		return nil, bus.ErrMessageTooLarge.With(fmt.Sprintf("the record has %d bytes, the limit is %d", len(req.GetRecord()), s.cfg.MaxRecord), nil)
	}
	if !json.Valid(req.GetRecord()) {
		return nil, bus.ErrInvalidJSON.With("the record is not JSON", nil)
	}
	m, ok := Map(req.GetRecord())
	if b, bridged := s.store.(bus.Bridge); bridged {
		in, err := s.door.AdmitRecord(ctx, anyClient(ctx), m, req.GetRecord())
		if err != nil {
			return nil, err
		}
		if err := b.PublishRecord(ctx, Article, in); err != nil {
			return nil, err
		}
		return &legacyv1.PublishArticleResponse{Status: true}, nil
	}
	if !ok { // for nobody: taken, as the older system does
		return &legacyv1.PublishArticleResponse{Status: true}, nil
	}
	in, err := s.door.Admit(ctx, anyClient(ctx), bus.Publication{Message: *m})
	if err != nil {
		return nil, err
	}
	if _, err := s.store.Publish(ctx, in); err != nil {
		return nil, err
	}
	return &legacyv1.PublishArticleResponse{Status: true}, nil
}

// Map returns the message of a record: {"uuid_remote":…,"uuid_local":…,"message":…}. The payload is the
// member message as it is, or nothing when there is none. It returns false for a record that names no address, and
// for anything that is no record.
func Map(record []byte) (*bus.Message, bool) {
	var r struct {
		Remote  string          `json:"uuid_remote"`
		Local   any             `json:"uuid_local"`
		Message json.RawMessage `json:"message"`
	}
	if !utf8.Valid(record) { // a JSON string may hold any bytes here, and a text frame may not
		record = bytes.ToValidUTF8(record, []byte("\uFFFD"))
	}
	if json.Unmarshal(record, &r) != nil {
		return nil, false
	}
	remote, err := bus.NameOf("uuid_remote", r.Remote)
	if err != nil {
		return nil, false
	}
	to, err := bus.NewAddress(bus.KindClients, remote)
	if err != nil {
		return nil, false
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, false
	}
	m := &bus.Message{ID: id.String(), To: to, Data: r.Message, ContentType: bus.JSON}
	if local, ok := r.Local.(string); ok {
		m.From.Client, _ = bus.NameOf("uuid_local", local) // what is no name is nobody's
	}
	return m, true
}
