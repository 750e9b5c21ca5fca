package badinput_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/testkit"
)

// answered is what a call was answered: "InvalidArgument FIELD_INVALID to, ttl", or "OK".
func (s *suite) answered(t *testing.T, err error) string {
	t.Helper()
	st := status.Convert(err)
	if st.Code() == codes.OK {
		return "OK"
	}
	s.told(t, st.Proto().String())
	reason, fields := "", ""
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.BadRequest:
			for _, f := range d.GetFieldViolations() {
				fields += "," + f.GetField()
			}
		}
	}
	return strings.TrimSpace(st.Code().String() + " " + reason + " " + strings.TrimPrefix(fields, ","))
}

// raw is a codec that sends bytes as they are.
type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = b; return nil }

// receiver is what is read of a stream.
type receiver interface{ RecvMsg(m any) error }

type call struct {
	name, want, method string
	req                proto.Message
}

const (
	publishService = "/trunkline.publish.v1.PublishService/"
	channelService = "/trunkline.publish.v1.ChannelService/"
	inboxService   = "/trunkline.publish.v1.InboxService/"
	stateService   = "/trunkline.publish.v1.StateService/"
	authService    = "/trunkline.auth.v1.AuthService/"
)

func long(n int) string { return strings.Repeat("x", n) }

func many(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "c"
	}
	return list
}

func message(edit func(r *publishv1.PublishRequest)) *publishv1.PublishRequest {
	r := &publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1")}
	edit(r)
	return r
}

func letter(edit func(a *publishv1.AckPolicy)) *publishv1.PublishRequest {
	a := &publishv1.AckPolicy{}
	edit(a)
	return &publishv1.PublishRequest{To: "users/ada", Data: []byte("1"), Ack: a}
}

func grants(g ...*authv1.Grant) *authv1.IssueTokenRequest {
	return &authv1.IssueTokenRequest{User: "a", Grants: g}
}

var (
	subscribe = []authv1.Action{authv1.Action_ACTION_SUBSCRIBE}
	yearZero  = &timestamppb.Timestamp{Seconds: -62135596801}
	year10000 = &timestamppb.Timestamp{Seconds: 253402300800}
)

var publishCalls = []call{
	{"nothing", "InvalidArgument FIELD_INVALID to", publishService + "Publish", &publishv1.PublishRequest{}},
	{"no address", "InvalidArgument FIELD_INVALID to", publishService + "Publish", &publishv1.PublishRequest{Data: []byte("1")}},
	{"data that is no JSON", "InvalidArgument FIELD_INVALID data", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Data = []byte("{") })},
	{"data that is two values", "InvalidArgument FIELD_INVALID data", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Data = []byte("1 2") })},
	{"data that is no UTF-8", "InvalidArgument FIELD_INVALID data", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Data = []byte("\"\xff\"") })},
	{"text that is no UTF-8", "InvalidArgument FIELD_INVALID data", publishService + "Publish", message(func(r *publishv1.PublishRequest) {
		r.Data, r.ContentType = []byte("\xff"), publishv1.ContentType_CONTENT_TYPE_TEXT
	})},
	{"an unknown content type", "InvalidArgument FIELD_INVALID content_type", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.ContentType = 99 })},
	{"a negative content type", "InvalidArgument FIELD_INVALID content_type", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.ContentType = -1 })},
	{"an unknown durability", "InvalidArgument FIELD_INVALID durability", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Durability = 99 })},
	{"data above the limit", "InvalidArgument MESSAGE_TOO_LARGE data", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Data = []byte(`"` + long(70_000) + `"`) })},
	{"too many attributes", "InvalidArgument FIELD_INVALID attributes", publishService + "Publish", message(func(r *publishv1.PublishRequest) {
		r.Attributes = map[string]string{}
		for i := range 33 {
			r.Attributes[long(i+1)] = "x"
		}
	})},
	{"an attribute's name of 65 bytes", "InvalidArgument FIELD_INVALID attributes", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Attributes = map[string]string{long(65): "x"} })},
	{"a ttl of zero", "InvalidArgument FIELD_INVALID ttl", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Ttl = durationpb.New(0) })},
	{"a negative ttl", "InvalidArgument FIELD_INVALID ttl", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Ttl = durationpb.New(-1) })},
	{"a ttl whose nanos are too many", "InvalidArgument FIELD_INVALID ttl", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Ttl = &durationpb.Duration{Seconds: 1, Nanos: 1e9} })},
	{"a ttl of two signs", "InvalidArgument FIELD_INVALID ttl", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Ttl = &durationpb.Duration{Seconds: 1, Nanos: -1} })},
	{"a ttl of all seconds there are", "InvalidArgument FIELD_INVALID ttl", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Ttl = &durationpb.Duration{Seconds: math.MaxInt64} })},
	{"a ttl of 100 years", "InvalidArgument FIELD_INVALID ttl", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Ttl = durationpb.New(100 * 365 * 24 * time.Hour) })},
	{"a negative retain", "InvalidArgument FIELD_INVALID retain", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Retain = durationpb.New(-1) })},
	{"a retain of 100 years", "InvalidArgument FIELD_INVALID retain", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Retain = durationpb.New(100 * 365 * 24 * time.Hour) })},
	{"a key of 129 bytes", "InvalidArgument FIELD_INVALID idempotency_key", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.IdempotencyKey = long(129) })},
	{"a key with a control byte", "InvalidArgument FIELD_INVALID idempotency_key", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.IdempotencyKey = "a\x01" })},
	{"too many recipients", "InvalidArgument FIELD_INVALID recipients", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Recipients = many(1001) })},
	{"an empty recipient", "InvalidArgument FIELD_INVALID recipients[0]", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Recipients = []string{""} })},
	{"all that is wrong at once", "InvalidArgument FIELD_INVALID content_type,recipients[0],ttl,idempotency_key", publishService + "Publish", message(func(r *publishv1.PublishRequest) {
		r.ContentType, r.Ttl, r.IdempotencyKey, r.Recipients = 99, durationpb.New(-1), long(200), []string{""}
	})},
	{"an ack on a channel", "InvalidArgument FIELD_INVALID ack", publishService + "Publish", message(func(r *publishv1.PublishRequest) { r.Ack = &publishv1.AckPolicy{} })},
	{"a negative ack timeout", "InvalidArgument FIELD_INVALID ack.timeout", publishService + "Publish", letter(func(a *publishv1.AckPolicy) { a.Timeout = durationpb.New(-1) })},
	{"an ack timeout of a year", "InvalidArgument FIELD_INVALID ack.timeout", publishService + "Publish", letter(func(a *publishv1.AckPolicy) { a.Timeout = durationpb.New(365 * 24 * time.Hour) })},
	{"dead letters without deliveries", "InvalidArgument FIELD_INVALID ack.max_deliveries", publishService + "Publish", letter(func(a *publishv1.AckPolicy) { a.DeadLetter = "channels/x" })},
	{"dead letters to an address that is none", "InvalidArgument FIELD_INVALID ack.dead_letter", publishService + "Publish", letter(func(a *publishv1.AckPolicy) { a.MaxDeliveries, a.DeadLetter = 1, "x" })},
	{"an empty batch", "InvalidArgument FIELD_INVALID requests", publishService + "BatchPublish", &publishv1.BatchPublishRequest{}},
	{"a batch of 1001", "InvalidArgument FIELD_INVALID requests", publishService + "BatchPublish", &publishv1.BatchPublishRequest{Requests: make([]*publishv1.PublishRequest, 1001)}},
	{"a receipt of nothing", "InvalidArgument FIELD_INVALID address,id", publishService + "GetReceipt", &publishv1.GetReceiptRequest{}},
	{"a receipt that is not there", "NotFound MESSAGE_NOT_FOUND", publishService + "GetReceipt", &publishv1.GetReceiptRequest{Address: "users/ada", Id: "x"}},
	{"a channel without a name", "InvalidArgument FIELD_INVALID name", channelService + "CreateChannel", &publishv1.CreateChannelRequest{}},
	{"a channel that is not there", "NotFound CHANNEL_NOT_FOUND", channelService + "GetChannel", &publishv1.GetChannelRequest{Name: "channels/nope"}},
	{"deleting what is not there", "NotFound CHANNEL_NOT_FOUND", channelService + "DeleteChannel", &publishv1.DeleteChannelRequest{Name: "channels/nope"}},
	{"a page of -1", "InvalidArgument FIELD_INVALID page_size", channelService + "ListChannels", &publishv1.ListChannelsRequest{PageSize: -1}},
	{"a page token that is none", "InvalidArgument FIELD_INVALID page_token", channelService + "ListChannels", &publishv1.ListChannelsRequest{PageToken: "x"}},
	{"messages of nothing", "InvalidArgument FIELD_INVALID address", channelService + "ListMessages", &publishv1.ListMessagesRequest{}},
	{"messages, a page of -1", "InvalidArgument FIELD_INVALID page_size", channelService + "ListMessages", &publishv1.ListMessagesRequest{Address: "channels/open:a", PageSize: -1}},
	{"messages, a page token that is none", "InvalidArgument FIELD_INVALID page_token", channelService + "ListMessages", &publishv1.ListMessagesRequest{Address: "channels/open:a", PageToken: "\x00"}},
	{"members of nothing", "InvalidArgument FIELD_INVALID address", channelService + "ListMembers", &publishv1.ListMembersRequest{}},
	{"an inbox of nothing", "InvalidArgument FIELD_INVALID address", inboxService + "ListInbox", &publishv1.ListInboxRequest{}},
	{"an inbox of a channel", "InvalidArgument FIELD_INVALID address", inboxService + "ListInbox", &publishv1.ListInboxRequest{Address: "channels/open:a"}},
	{"acks of nothing", "InvalidArgument FIELD_INVALID ids,address", inboxService + "AckMessages", &publishv1.AckMessagesRequest{}},
	{"a state of nothing", "InvalidArgument FIELD_INVALID address", stateService + "GetState", &publishv1.GetStateRequest{}},
}

var authCalls = []call{
	{"a token for nobody", "OK", authService + "IssueToken", &authv1.IssueTokenRequest{}},
	{"a user of 256 bytes", "InvalidArgument FIELD_INVALID user", authService + "IssueToken", &authv1.IssueTokenRequest{User: long(256)}},
	{"a user with a newline", "InvalidArgument FIELD_INVALID user", authService + "IssueToken", &authv1.IssueTokenRequest{User: "a\nb"}},
	{"a user with NUL", "InvalidArgument FIELD_INVALID user", authService + "IssueToken", &authv1.IssueTokenRequest{User: "a\x00"}},
	{"a client of 256 bytes", "InvalidArgument FIELD_INVALID client", authService + "IssueToken", &authv1.IssueTokenRequest{Client: long(256)}},
	{"a group that is empty", "InvalidArgument FIELD_INVALID groups[0]", authService + "IssueToken", &authv1.IssueTokenRequest{User: "a", Groups: []string{""}}},
	{"a negative ttl", "InvalidArgument FIELD_INVALID ttl", authService + "IssueToken", &authv1.IssueTokenRequest{User: "a", Ttl: durationpb.New(-1)}},
	{"a ttl of ten years", "InvalidArgument FIELD_INVALID ttl", authService + "IssueToken", &authv1.IssueTokenRequest{User: "a", Ttl: durationpb.New(87600 * time.Hour)}},
	{"a ttl that is no duration", "InvalidArgument FIELD_INVALID ttl", authService + "IssueToken", &authv1.IssueTokenRequest{User: "a", Ttl: &durationpb.Duration{Nanos: 2e9}}},
	{"a grant of nothing", "InvalidArgument FIELD_INVALID grants[0].address,grants[0].actions", authService + "IssueToken", grants(&authv1.Grant{})},
	{"a grant without actions", "InvalidArgument FIELD_INVALID grants[0].actions", authService + "IssueToken", grants(&authv1.Grant{Address: "channels/*"})},
	{"a grant of an unknown action", "InvalidArgument FIELD_INVALID grants[0].actions[0]", authService + "IssueToken", grants(&authv1.Grant{Address: "channels/*", Actions: []authv1.Action{99}})},
	{"a grant with a star in the middle", "InvalidArgument FIELD_INVALID grants[0].address", authService + "IssueToken", grants(&authv1.Grant{Address: "channels/a*b", Actions: subscribe})},
	{"a grant of two stars", "InvalidArgument FIELD_INVALID grants[0].address", authService + "IssueToken", grants(&authv1.Grant{Address: "channels/**", Actions: subscribe})},
	{"a grant of no kind", "InvalidArgument FIELD_INVALID grants[0].address", authService + "IssueToken", grants(&authv1.Grant{Address: "queues/*", Actions: subscribe})},
	{"validating nothing", "Unauthenticated TOKEN_MISSING", authService + "ValidateToken", &authv1.ValidateTokenRequest{}},
	{"validating no token", "Unauthenticated TOKEN_INVALID", authService + "ValidateToken", &authv1.ValidateTokenRequest{Token: "x"}},
	{"refreshing nothing", "Unauthenticated TOKEN_MISSING", authService + "RefreshToken", &authv1.RefreshTokenRequest{}},
	{"refreshing no token", "Unauthenticated TOKEN_INVALID", authService + "RefreshToken", &authv1.RefreshTokenRequest{RefreshToken: "x"}},
	{"revoking nothing", "InvalidArgument FIELD_INVALID target", authService + "RevokeToken", &authv1.RevokeTokenRequest{}},
	{"revoking nobody", "InvalidArgument FIELD_INVALID user", authService + "RevokeToken", &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{}}},
	{"revoking before the year 1", "InvalidArgument FIELD_INVALID issued_before", authService + "RevokeToken", &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_IssuedBefore{IssuedBefore: yearZero}}},
	{"revoking after the year 9999", "InvalidArgument FIELD_INVALID issued_before", authService + "RevokeToken", &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_IssuedBefore{IssuedBefore: year10000}}},
	{"revoking tomorrow", "InvalidArgument FIELD_INVALID issued_before", authService + "RevokeToken", &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_IssuedBefore{IssuedBefore: timestamppb.New(time.Now().Add(24 * time.Hour))}}},
}

// wires is what is no message of protobuf, as the bytes of a PublishRequest.
var wires = map[string]struct{ body, field string }{
	"a length past the end":         {"\x0a\x05ab", "to"},
	"a varint that does not end":    {"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "content_type"},
	"field number zero":             {"\x02\x01a", ""},
	"the end of a group":            {"\x0c", "to"},
	"a group that does not end":     {"\x0b\x0a\x01a", "to"},
	"wire type six":                 {"\x0e\x01", "to"},
	"wire type seven":               {"\x0f\x01", "to"},
	"an address that is no UTF-8":   {"\x0a\x02\xff\xfe", "to"},
	"an attribute that is no UTF-8": {"\x32\x05\x0a\x01a\x12\x00\x32\x06\x0a\x01a\x12\x01\xff", "attributes.value"},
	"a key that is no UTF-8":        {"\x42\x01\xff", "idempotency_key"},
	"10,000 groups in each other":   {strings.Repeat("\x0b", 10_000) + strings.Repeat("\x0c", 10_000), "to"},
}

func TestGRPC(t *testing.T) {
	s := start(t, "gRPC")
	conn := s.dial(t, s.AdminKey)
	for _, list := range [][]call{publishCalls, authCalls} {
		for _, c := range list {
			s.row(c.method[strings.LastIndexByte(c.method, '/')+1:]+", "+c.name, c.want, func(t *testing.T) string {
				var reply []byte
				body, err := proto.Marshal(c.req)
				if err != nil {
					t.Fatal(err)
				}
				return s.answered(t, conn.Invoke(t.Context(), c.method, &body, &reply, grpc.ForceCodec(raw{})))
			})
		}
	}
	for name, wire := range wires {
		s.row(name, strings.TrimSpace("InvalidArgument FIELD_INVALID "+wire.field), func(t *testing.T) string {
			var reply []byte
			in := []byte(wire.body)
			return s.answered(t, conn.Invoke(t.Context(), publishService+"Publish", &in, &reply, grpc.ForceCodec(raw{})))
		})
	}
	for method, want := range map[string]string{
		publishService + "Shout":                         "Unimplemented METHOD_UNKNOWN",
		"/trunkline.publish.v1.publishservice/Publish":   "Unimplemented METHOD_UNKNOWN",
		"/trunkline.publish.v2.PublishService/Publish":   "Unimplemented METHOD_UNKNOWN",
		"//trunkline.publish.v1.PublishService//Publish": "Unimplemented METHOD_UNKNOWN",
		"/grpc.channelz.v1.Channelz/GetServers":          "Unimplemented METHOD_UNKNOWN",
		"/":                                              "Unimplemented", // by the library, before anything of ours
	} {
		s.row("the method "+method, want, func(t *testing.T) string {
			var in, reply []byte
			return s.answered(t, conn.Invoke(t.Context(), method, &in, &reply, grpc.ForceCodec(raw{})))
		})
	}
	s.metadata(t)
	s.streams(t, conn)
}

// metadata gives wrong metadata and deadlines.
func (s *suite) metadata(t *testing.T) {
	bare := s.dial(t, "")
	good := "Bearer " + s.AdminKey
	for name, row := range map[string]struct {
		pairs []string
		want  string
	}{
		"no credentials":             {nil, "Unauthenticated TOKEN_MISSING"},
		"Basic":                      {[]string{"authorization", "Basic YTpi"}, "Unauthenticated TOKEN_MISSING"},
		"Bearer without a token":     {[]string{"authorization", "Bearer "}, "Unauthenticated TOKEN_MISSING"},
		"two tokens":                 {[]string{"authorization", good, "authorization", good}, "Unauthenticated TOKEN_INVALID"},
		"a token that is none":       {[]string{"authorization", "Bearer x"}, "Unauthenticated TOKEN_INVALID"},
		"a token of the user's only": {[]string{"authorization", "Bearer " + s.token}, "PermissionDenied PERMISSION_DENIED"},
		"a request id of 10 KiB":     {[]string{"authorization", good, "x-request-id", long(10 << 10)}, "OK"},
		"binary metadata":            {[]string{"authorization", good, "x-bin", "\x00\xff"}, "OK"},
	} {
		s.row(name, row.want, func(t *testing.T) string {
			ctx := metadata.AppendToOutgoingContext(t.Context(), row.pairs...)
			_, err := authv1.NewAuthServiceClient(bare).IssueToken(ctx, &authv1.IssueTokenRequest{User: "ada"})
			return s.answered(t, err)
		})
	}
	s.row("a deadline that is over", "DeadlineExceeded", func(t *testing.T) string {
		ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
		defer cancel()
		_, err := s.Publish.Publish(ctx, &publishv1.PublishRequest{To: "channels/open:a", Data: []byte("1")})
		return s.answered(t, err)
	})
}

// streams opens streams with what is wrong.
func (s *suite) streams(t *testing.T, conn *grpc.ClientConn) {
	events := hooksv1.NewEventServiceClient(conn)
	for name, row := range map[string]struct {
		open func(ctx context.Context) (receiver, error)
		want string
	}{
		"Consume nothing": {func(ctx context.Context) (receiver, error) {
			return s.Publish.Consume(ctx, &publishv1.ConsumeRequest{})
		}, "InvalidArgument FIELD_INVALID address"},
		"Consume with a position and from the beginning": {func(ctx context.Context) (receiver, error) {
			return s.Publish.Consume(ctx, &publishv1.ConsumeRequest{Address: "channels/open:a", FromBeginning: true, After: &publishv1.Position{Epoch: "x", Offset: 1}})
		}, "InvalidArgument FIELD_INVALID from_beginning"},
		"WatchReceipts of nothing": {func(ctx context.Context) (receiver, error) {
			return s.Publish.WatchReceipts(ctx, &publishv1.WatchReceiptsRequest{})
		}, "InvalidArgument FIELD_INVALID address,id"},
		"WatchEvents after nonsense": {func(ctx context.Context) (receiver, error) {
			return events.WatchEvents(ctx, &hooksv1.WatchEventsRequest{Kinds: []hooksv1.EventKind{99}})
		}, "FailedPrecondition EVENTS_DISABLED"},
	} {
		s.row(name, row.want, func(t *testing.T) string {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			stream, err := row.open(ctx)
			if err != nil {
				return s.answered(t, err)
			}
			return s.answered(t, stream.RecvMsg(&publishv1.ConsumeResponse{}))
		})
	}
}

// cancelled gives up calls, and finds them carried out once or not at all.
func (s *suite) cancelled() {
	for name, wait := range map[string]bool{"cancelled at once": false, "cancelled when it was sent": true} {
		s.row(name, "once", func(t *testing.T) string {
			for i := range 50 {
				req := &publishv1.PublishRequest{To: "channels/open:cancelled", Data: fmt.Appendf(nil, `"%s %d"`, name, i), IdempotencyKey: strings.ReplaceAll(fmt.Sprint(name, i), " ", "-")}
				body, err := proto.Marshal(req)
				testkit.Check(t, err)
				c := s.http2(t)
				c.call(1, false)
				if wait {
					c.send(1, true, prefixed(string(body)))
				}
				_ = c.framer.WriteRSTStream(1, http2.ErrCodeCancel)
				_ = c.conn.Close()
				_, err = s.Publish.Publish(context.Background(), req)
				testkit.Check(t, err)
			}
			page, err := s.Channels.ListMessages(t.Context(), &publishv1.ListMessagesRequest{Address: "channels/open:cancelled", PageSize: 1000})
			testkit.Check(t, err)
			found := map[string]int{}
			for _, m := range page.GetMessages() {
				if strings.Contains(string(m.GetData()), name) {
					found[string(m.GetData())]++
				}
			}
			for data, times := range found {
				if times != 1 {
					return fmt.Sprint(data, " is there ", times, " times")
				}
			}
			if len(found) != 50 {
				return fmt.Sprint(len(found), " of 50 are there")
			}
			return "once"
		})
	}
}
