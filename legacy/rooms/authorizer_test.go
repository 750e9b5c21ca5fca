package rooms_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// doorman lets nobody be called banned, and nobody write to quiet.
type doorman struct {
	hooksv1.UnimplementedAuthorizerServiceServer
}

// AuthorizeConnect decides.
func (doorman) AuthorizeConnect(_ context.Context, r *hooksv1.AuthorizeConnectRequest) (*hooksv1.AuthorizeConnectResponse, error) {
	return &hooksv1.AuthorizeConnectResponse{Decision: &hooksv1.Decision{Allowed: r.GetSubject().GetClient() != "banned"}}, nil
}

// AuthorizeSubscribe decides.
func (doorman) AuthorizeSubscribe(context.Context, *hooksv1.AuthorizeSubscribeRequest) (*hooksv1.AuthorizeSubscribeResponse, error) {
	return &hooksv1.AuthorizeSubscribeResponse{Decision: &hooksv1.Decision{Allowed: true}}, nil
}

// AuthorizePublish decides.
func (doorman) AuthorizePublish(_ context.Context, r *hooksv1.AuthorizePublishRequest) (*hooksv1.AuthorizePublishResponse, error) {
	return &hooksv1.AuthorizePublishResponse{Decision: &hooksv1.Decision{Allowed: r.GetAddress() != "clients/quiet"}}, nil
}

// An id that is set is asked about as one that connects, and a refused command leaves everything as it was.
func TestAuthorizer(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	server := grpc.NewServer()
	hooksv1.RegisterAuthorizerServiceServer(server, doorman{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); testkit.Check(t, <-done) })
	h := start(t, apptest.With(func(c *config.Config) {
		c.Hooks.Authorizer.Address, c.Hooks.Authorizer.Fail = l.Addr().String(), "closed"
	}))
	a := h.as(t, 0, "ann")
	a.send("setID", "banned")
	if reason, _ := a.refusal(); reason != "PERMISSION_DENIED" {
		t.Errorf("refused with %s", reason)
	}
	a.message("quiet", "hello?")
	if reason, _ := a.refusal(); reason != "CHANNEL_PUBLISH_DENIED" {
		t.Errorf("refused with %s", reason)
	}
	a.message("ann", "still ann")
	if f := a.get("sendMessage"); f.text(t) != "still ann" || f.ClientID != "ann" {
		t.Errorf("got %+v", f)
	}
}

// A connection with the id of a revoked client is sent away, and so is one that takes the id, if it connected before.
func TestRevocation(t *testing.T) {
	everywhere(t, func(t *testing.T, h *deployment) {
		a, b := h.as(t, 0, "ann"), h.dial(t, 1)
		a.before()
		_, err := h.Auth.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Client{Client: "ann"}})
		testkit.Check(t, err)
		if reason, _ := a.refusal(); reason != "TOKEN_REVOKED" {
			t.Errorf("ann was sent away with %s", reason)
		}
		if _, err := a.read(); err == nil || !strings.Contains(err.Error(), "4401") {
			t.Errorf("it ended with %v", err)
		}
		b.send("setID", "ann")
		if reason, _ := b.refusal(); reason != "TOKEN_REVOKED" {
			t.Errorf("who took the id was sent away with %s", reason)
		}
		h.as(t, 0, "ann").before()
	})
}
