package publish_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/rpc"
	"github.com/trunkline/trunkline/internal/testkit"
)

// standing opens each streaming method that takes tokens, and returns how to wait for what it sends next. The call is under way
// when it has returned.
var standing = map[string]func(*fixture, context.Context) (func() error, error){
	publishv1.PublishService_Consume_FullMethodName: func(h *fixture, ctx context.Context) (func() error, error) {
		st, err := h.publish.Consume(ctx, &publishv1.ConsumeRequest{Address: "clients/ada"})
		if err != nil {
			return nil, err
		}
		_, err = st.Recv()
		return func() error { _, err := st.Recv(); return err }, err
	},
	publishv1.PublishService_Subscribe_FullMethodName: func(h *fixture, ctx context.Context) (func() error, error) {
		st, err := h.publish.Subscribe(ctx)
		if err != nil {
			return nil, err
		}
		_, err = st.Header()
		return func() error { _, err := st.Recv(); return err }, err
	},
	publishv1.PublishService_PublishStream_FullMethodName: func(h *fixture, ctx context.Context) (func() error, error) {
		st, err := h.publish.PublishStream(ctx)
		if err != nil {
			return nil, err
		}
		_, err = st.Recv()
		return func() error { _, err := st.Recv(); return err }, err
	},
	publishv1.PublishService_WatchReceipts_FullMethodName: func(h *fixture, ctx context.Context) (func() error, error) {
		sent, err := h.publish.Publish(h.tb.Context(), &publishv1.PublishRequest{To: "users/bob", Data: []byte("1"), Ack: &publishv1.AckPolicy{}})
		if err != nil {
			return nil, err
		}
		st, err := h.publish.WatchReceipts(ctx, &publishv1.WatchReceiptsRequest{Address: "users/bob", Id: sent.GetId()})
		if err != nil {
			return nil, err
		}
		_, err = st.Recv()
		return func() error { _, err := st.Recv(); return err }, err
	},
}

// Every streaming method of ours that takes tokens is in the table above, and ends with the token.
func TestStanding_callsEndWithTheirToken(t *testing.T) {
	for _, method := range streaming(t) {
		open := standing[method]
		if open == nil {
			t.Errorf("%s takes tokens and streams: open it here, and see it end", method)
			continue
		}
		t.Run(method[strings.LastIndexByte(method, '/')+1:], func(t *testing.T) {
			for name, target := range map[string]func(*authv1.IssueTokenResponse) *authv1.RevokeTokenRequest{
				"user": func(*authv1.IssueTokenResponse) *authv1.RevokeTokenRequest {
					return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "u-ada"}}
				},
				"token": func(r *authv1.IssueTokenResponse) *authv1.RevokeTokenRequest {
					return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: r.GetToken()}}
				},
				"family": func(r *authv1.IssueTokenResponse) *authv1.RevokeTokenRequest {
					return &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_Token{Token: r.GetRefreshToken()}}
				},
			} {
				t.Run(name+" revoked", func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { endsByItsPush(t, open, target) })
				})
			}
			t.Run("expired", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // a token says its end in whole seconds, and may have less than it was given
					h := startBeating(t, time.Hour)
					ctx, _ := h.signedIn(2 * time.Second)
					next, err := open(h, ctx)
					testkit.Check(t, err)
					refused(t, next(), bus.ErrTokenExpired)
				})
			})
		})
	}
}

// endsByItsPush revokes a token on which a call stands. In the bubble time passes only while everything waits for a timer. So a
// call that ends in time has not waited for one: neither to poll, nor to ask again.
func endsByItsPush(
	t *testing.T, open func(*fixture, context.Context) (func() error, error), target func(*authv1.IssueTokenResponse) *authv1.RevokeTokenRequest,
) {
	h := startBeating(t, time.Hour)
	ctx, token := h.signedIn(2 * time.Hour)
	next, err := open(h, ctx)
	testkit.Check(t, err)
	timer := time.NewTimer(90 * time.Minute) // nothing that comes at first is waited for
	<-timer.C
	fresh, err := open(h, ctx)
	testkit.Check(t, err)
	_, err = h.auth.RevokeToken(t.Context(), target(token))
	testkit.Check(t, err)
	revoked := time.Now()
	refused(t, last(next), bus.ErrTokenRevoked)
	refused(t, last(fresh), bus.ErrTokenRevoked)
	if took := time.Since(revoked); took > 0 {
		t.Errorf("it waited %s", took)
	}
	again, err := open(h, ctx) // at once, although the token was validated a moment ago
	if err == nil {
		err = last(again)
	}
	refused(t, err, bus.ErrTokenRevoked)
}

// last reads until the call ends, past what it was sent before.
func last(next func() error) error {
	for {
		if err := next(); err != nil {
			return err
		}
	}
}

// streaming returns the streaming methods of ours that take tokens; one without a rule is an error.
func streaming(tb testing.TB) []string {
	tb.Helper()
	var methods []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "trunkline.") {
			return true
		}
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				if !m.IsStreamingClient() && !m.IsStreamingServer() {
					continue
				}
				name := "/" + string(service.FullName()) + "/" + string(m.Name())
				rule, ok := rpc.RuleFor(name)
				if !ok && !strings.HasPrefix(name, "/trunkline.hooks.v1.") {
					tb.Errorf("%s has no rule", name)
				}
				if rule.Tokens {
					methods = append(methods, name)
				}
			}
		}
		return true
	})
	return methods
}

// signedIn returns a context that carries a token of ada with all rights.
func (h *fixture) signedIn(ttl time.Duration) (context.Context, *authv1.IssueTokenResponse) {
	h.tb.Helper()
	token, err := h.auth.IssueToken(h.tb.Context(), &authv1.IssueTokenRequest{
		Client: "ada", User: "u-ada", Ttl: durationpb.New(ttl), Refreshable: true,
		Grants: []*authv1.Grant{grant("*", authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH)},
	})
	testkit.Check(h.tb, err)
	return metadata.AppendToOutgoingContext(h.tb.Context(), "authorization", "Bearer "+token.GetToken()), token
}

// What was sent before a revocation and not carried out is refused with it. So is a unary call with a token that was just validated.
func TestStanding_nothingPassesAfterARevocation(t *testing.T) {
	h := startBeating(t, time.Hour)
	ctx, _ := h.signedIn(time.Hour)
	st, err := h.publish.PublishStream(ctx)
	testkit.Check(t, err)
	_, err = st.Recv() // the credits
	testkit.Check(t, err)
	_, err = h.publish.Publish(ctx, &publishv1.PublishRequest{To: "channels/long:x", Data: []byte("0")})
	testkit.Check(t, err)
	follows, _ := h.consume(t.Context(), &publishv1.ConsumeRequest{Address: "channels/long:x"})
	reads, _ := h.consume(ctx, &publishv1.ConsumeRequest{Address: "channels/long:x"})
	_, err = h.auth.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "u-ada"}})
	testkit.Check(t, err)
	_, err = reads.stream.Recv()
	refused(t, err, bus.ErrTokenRevoked) // it is known here from now on
	_ = st.Send(&publishv1.PublishStreamRequest{Sequence: 1, Publish: &publishv1.PublishRequest{To: "channels/long:x", Data: []byte("1")}})
	_, err = st.Recv()
	refused(t, err, bus.ErrTokenRevoked)
	_, err = h.publish.Publish(ctx, &publishv1.PublishRequest{To: "channels/long:x", Data: []byte("2")})
	refused(t, err, bus.ErrTokenRevoked)
	h.pub("channels/long:x", "3")
	if m := follows.message(); string(m.GetData()) != "3" {
		t.Errorf("a message of a revoked token was published: %s", m.GetData())
	}
}
