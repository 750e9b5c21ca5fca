package facility_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// policy is a site's authorizer: "staff" is a facility of mary alone, groups are heard by nobody, and nobody publishes to all.
type policy struct {
	hooksv1.UnimplementedAuthorizerServiceServer

	mu    sync.Mutex
	away  bool
	asked []string
}

func (p *policy) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, fmt.Sprintf(format, args...))
}

func (p *policy) was(asked string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.asked, asked)
}

func (p *policy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
}

func (p *policy) decide(allowed bool) (*hooksv1.Decision, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return nil, status.Error(codes.Unavailable, "away")
	}
	return &hooksv1.Decision{Allowed: allowed, Reason: "No channels for you", CacheFor: durationpb.New(0)}, nil
}

// AuthorizeConnect decides.
func (p *policy) AuthorizeConnect(_ context.Context, r *hooksv1.AuthorizeConnectRequest) (*hooksv1.AuthorizeConnectResponse, error) {
	p.note("connect %s %s %q %s", r.GetSubject().GetUser(), r.GetDialect(), r.GetFacility(), strings.Join(r.GetWishes(), " "))
	return &hooksv1.AuthorizeConnectResponse{Decision: &hooksv1.Decision{
		Allowed: r.GetSubject().GetUser() != "banned", Reason: "No channels for you",
	}}, nil
}

// AuthorizeSubscribe decides.
func (p *policy) AuthorizeSubscribe(_ context.Context, r *hooksv1.AuthorizeSubscribeRequest) (*hooksv1.AuthorizeSubscribeResponse, error) {
	p.note("subscribe %s %s %q %s", r.GetSubject().GetUser(), r.GetDialect(), r.GetFacility(), r.GetAudience())
	staff := strings.HasSuffix(r.GetAddress(), "/topics/staff") && r.GetSubject().GetUser() != "mary"
	d, err := p.decide(!staff && !strings.HasPrefix(r.GetAddress(), "groups/"))
	return &hooksv1.AuthorizeSubscribeResponse{Decision: d}, err
}

// AuthorizePublish decides.
func (p *policy) AuthorizePublish(_ context.Context, r *hooksv1.AuthorizePublishRequest) (*hooksv1.AuthorizePublishResponse, error) {
	p.note("publish %s %s %q %s", r.GetSubject().GetUser(), r.GetDialect(), r.GetFacility(), r.GetAudience())
	d, err := p.decide(!strings.HasPrefix(r.GetAddress(), "broadcast/") && r.GetFacility() != "quiet")
	return &hooksv1.AuthorizePublishResponse{Decision: d}, err
}

// serve runs it until the test ends, and returns the option of a deployment that asks it.
func (p *policy) serve(t *testing.T) apptest.Option {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(soon(t), "tcp", "127.0.0.1:0")
	testkit.Check(t, err)
	server := grpc.NewServer()
	hooksv1.RegisterAuthorizerServiceServer(server, p)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); testkit.Check(t, <-done) })
	return apptest.With(func(c *config.Config) {
		c.Hooks.Authorizer.Address, c.Hooks.Authorizer.Fail = l.Addr().String(), "closed"
	})
}

// A policy refuses with 403 and its text, before the version is looked at, or takes audiences away in silence.
func TestPolicy(t *testing.T) {
	h := start(t, new(policy).serve(t))
	banned := map[string]string{"Cookie": "sessionid=" + h.login(t, "banned"), "Sec-WebSocket-Version": "6"}
	a := raw(t, h.at[0], handshake("GET /ws/f HTTP/1.1", banned))
	if a.status != 403 || !strings.Contains(a.body, "No channels for you") || !a.closed || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("got %d %q %v", a.status, a.body, a.header)
	}
	john := h.login(t, "john")
	c := h.dial(t, 0, "f?subscribe-user&subscribe-broadcast&publish-broadcast&publish-user&echo", cookie(john))
	c.send("to john alone")
	c.gets("to john alone")
	h.publish(t, "broadcast:f", "from the back end")
	c.gets("from the back end")
}

// An audience that the policy refuses is left out, whatever it has stored; the policy is told what the socket asks for.
func TestPolicy_refusesAudiences(t *testing.T) {
	p := &policy{}
	everywhere(t, func(t *testing.T, h *deployment) {
		for _, name := range []string{"broadcast:staff", "user:john:staff", "group:crew:f", "broadcast:f"} {
			h.publish(t, name, "stored for "+name)
		}
		const all = "?subscribe-broadcast&subscribe-user&subscribe-group&subscribe-session"
		john := cookie(h.login(t, "john", "crew"))
		staff, f := h.dial(t, 0, "staff"+all, john), h.dial(t, 1, "f"+all, john)
		nobody := h.dial(t, 0, "staff"+all, nil)
		mary := h.dial(t, 1, "staff"+all+"&PUBLISH-user", cookie(h.login(t, "mary")))
		mary.gets("stored for broadcast:staff")
		f.gets("stored for broadcast:f")
		for _, name := range []string{"broadcast:staff", "user:john:staff", "group:crew:staff", "group:crew:f"} {
			h.publish(t, name, "for "+name)
		}
		h.publish(t, "broadcast:f", "the end")
		mary.gets("for broadcast:staff")
		f.gets("the end")
		if got := staff.kept(); got != "" {
			t.Errorf("john heard %q", got)
		}
		if got := nobody.kept(); got != "" {
			t.Errorf("a stranger heard %q", got)
		}
		for _, asked := range []string{
			`connect john facility "staff" subscribe-broadcast subscribe-group subscribe-user subscribe-session`,
			`connect mary facility "staff" subscribe-broadcast subscribe-group subscribe-user subscribe-session publish-user`,
			`subscribe john facility "staff" broadcast`, `subscribe john facility "staff" user`, `subscribe john facility "f" group`,
			`subscribe  facility "staff" broadcast`,
		} {
			if !p.was(asked) {
				t.Errorf("the policy was not asked %q", asked)
			}
		}
	}, p.serve(t))
}

// The policy is told the facility and the audience of what a socket publishes, and may refuse each.
func TestPolicy_isToldWhereItIsPublished(t *testing.T) {
	p := &policy{}
	everywhere(t, func(t *testing.T, h *deployment) {
		john := cookie(h.login(t, "john"))
		const all = "?publish-broadcast&publish-user&subscribe-user&echo"
		quiet, loud := h.dial(t, 0, "quiet"+all, john), h.dial(t, 1, "a/b:c"+all, john)
		quiet.send("not heard")
		h.publish(t, "user:john:quiet", "the end")
		quiet.gets("the end")
		loud.send("heard")
		loud.gets("heard")
		for _, asked := range []string{
			`publish john facility "quiet" broadcast`, `publish john facility "quiet" user`,
			`publish john facility "a/b:c" broadcast`, `publish john facility "a/b:c" user`,
		} {
			if !p.was(asked) {
				t.Errorf("the policy was not asked %q", asked)
			}
		}
	}, p.serve(t))
}

// What the policy refuses to a socket of the protocol it refuses natively too, and to reads of what was kept.
func TestPolicy_holdsAtEveryDoor(t *testing.T) {
	h := start(t, new(policy).serve(t))
	h.publish(t, "broadcast:staff", "secret")
	john := cookie(h.login(t, "john"))
	c := h.dial(t, 0, "staff?subscribe-broadcast&state", john)
	c.send(`{"trunkline-state":{}}`)
	if e := c.next(); !strings.Contains(e.data, "CHANNEL_SUBSCRIBE_DENIED") {
		t.Errorf("the state of a refused audience is answered with %q", e.data)
	}
	token := h.token(t, "john")
	conn := apptest.Dial(t, h.GRPC, token)
	stream, err := publishv1.NewPublishServiceClient(conn).Consume(soon(t), &publishv1.ConsumeRequest{Address: "broadcast/topics/staff", FromLast: true})
	testkit.Check(t, err)
	_, consume := stream.Recv()
	_, list := publishv1.NewChannelServiceClient(conn).ListMessages(soon(t), &publishv1.ListMessagesRequest{Address: "broadcast/topics/staff"})
	_, state := publishv1.NewStateServiceClient(conn).GetState(soon(t), &publishv1.GetStateRequest{Address: "broadcast/topics/staff"})
	for door, err := range map[string]error{"consume": consume, "history": list, "state": state} {
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "No channels for you") {
			t.Errorf("%s: %v", door, err)
		}
	}
}

// While nobody can be asked, a socket is told to come again: it would hear nothing for as long as it stays.
func TestPolicy_thatIsAway(t *testing.T) {
	p := &policy{}
	h := start(t, p.serve(t))
	john := map[string]string{"Cookie": "sessionid=" + h.login(t, "john")}
	p.leave()
	a := raw(t, h.at[0], handshake("GET /ws/f?subscribe-user HTTP/1.1", john))
	if a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	testkit.Within(t, "nothing of the socket is left", 10*time.Second, func() bool { return h.metric(t, "trunkline_edge_connections") == 0 })
}
