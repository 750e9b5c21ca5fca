package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/client"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	edgev1 "github.com/trunkline/trunkline/gen/go/trunkline/edge/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
)

// censor is an authorizer that lets nobody have a message with the attribute "secret".
type censor struct {
	hooksv1.UnimplementedAuthorizerServiceServer
}

// AuthorizeDeliver decides.
func (censor) AuthorizeDeliver(_ context.Context, r *hooksv1.AuthorizeDeliverRequest) (*hooksv1.AuthorizeDeliverResponse, error) {
	_, secret := r.GetAttributes()["secret"]
	return &hooksv1.AuthorizeDeliverResponse{Decision: &hooksv1.Decision{
		Allowed: !secret, Reason: r.GetSubject().GetClient() + " is not at work",
	}}, nil
}

// serveHooks starts the authorizer until the test ends, and returns its host:port.
func serveHooks(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := grpc.NewServer()
	hooksv1.RegisterAuthorizerServiceServer(s, censor{})
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(l) })
	tb.Cleanup(func() { s.Stop(); done.Wait() })
	return l.Addr().String()
}

// A publisher who waits is told that nobody may have the message, and why; and so is who asks for an explanation.
func TestPub_waitsForADenial(t *testing.T) {
	s := newShell(t, apptest.With(func(c *config.Config) {
		c.Hooks.Authorizer = config.Authorizer{Address: serveHooks(t), On: []string{"deliver"}, Fail: "closed"}
	}))
	token := s.deployment.Token(t, &authv1.IssueTokenRequest{Client: "phone", User: "ada"})
	connected := make(chan struct{}, 16)
	c, err := client.New(client.Config{
		URL: s.deployment.Edges[0], Token: func(context.Context) (string, error) { return token, nil },
		OnConnected: func(*edgev1.Connected) { connected <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = c.Run(ctx) })
	defer done.Wait()
	defer cancel()
	<-connected
	r := s.run(t.Context(), "", "pub", "users/ada", "hi", "--ack", "--ack-timeout", "500ms", "--wait", "--attr", "secret=1")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if last := lines[len(lines)-1]; r.code != exitPartly || !strings.HasSuffix(last, "DENIED   phone DENIED, phone is not at work") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	id, _, _ := strings.Cut(lines[0], " ")
	r = s.run(t.Context(), "", "explain", "users/ada", id, "--client", "phone", "--user", "ada")
	if !strings.Contains(r.out, "not_delivered") || !strings.Contains(r.out, "for good: phone is not at work") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	r = s.run(t.Context(), "", "pub", "users/ada", "hi", "--ack", "--wait")
	if r.code != 0 || !strings.Contains(r.out, "  ACKED  ") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
}
