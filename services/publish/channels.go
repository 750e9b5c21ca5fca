package publish

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/convert"
	"github.com/trunkline/trunkline/internal/rpc"
)

// CreateChannel makes a channel and returns its token, once.
func (s *Server) CreateChannel(ctx context.Context, req *publishv1.CreateChannelRequest) (*publishv1.CreateChannelResponse, error) {
	var bad bus.Invalid
	a := channelName(&bad, req.GetName())
	if len(req.GetLabels()) > maxAttributes {
		bad.Add("labels", "has %d entries, the limit is %d", len(req.GetLabels()), maxAttributes)
	}
	for k, v := range req.GetLabels() {
		if k == "" || len(k) > maxAttributeKey || len(v) > maxAttributeValue {
			bad.Add("labels", "the entry %.64q is too long: keys have 1 to %d bytes, values up to %d", k, maxAttributeKey, maxAttributeValue)
		}
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	token := "tlc_" + base64.RawURLEncoding.EncodeToString(secret[:])
	if err := s.cfg.Charging.Take(rpc.CallerFrom(ctx).Author(bus.Sender{}), bus.Charge{Channels: channelCost(req.GetLabels())}); err != nil {
		return nil, err
	}
	c := bus.Channel{Address: a, Labels: req.GetLabels(), Created: time.Now().Truncate(time.Millisecond), TokenDigest: bus.TokenDigest(token)}
	if err := s.store.CreateChannel(ctx, c, s.cfg.MaxChannels); err != nil {
		return nil, err
	}
	return &publishv1.CreateChannelResponse{Channel: s.channelProto(c), ChannelToken: token}, nil
}

// channelCost is how many channels one with the labels counts as.
func channelCost(labels map[string]string) int {
	n := 0
	for k, v := range labels {
		n += len(k) + len(v)
	}
	return 1 + n>>10
}

// channelName reads a channel's address without a topic.
func channelName(bad *bus.Invalid, name string) bus.Address {
	a := bad.Address("name", name)
	if !a.IsZero() && (a.Kind() != bus.KindChannels || a.Topic() != "") {
		bad.Add("name", "is not the address of a channel, such as channels/orders:eu")
	}
	return a
}

func (s *Server) channelProto(c bus.Channel) *publishv1.Channel {
	r := s.cfg.Namespaces.For(c.Address).Retention
	p := &publishv1.Channel{
		Name: c.Address.String(), Labels: c.Labels, CreateTime: timestamppb.New(c.Created),
		HistoryLength: uint32(r.Length),
	}
	if r.Durable() {
		p.HistoryAge = durationpb.New(r.Age)
	}
	return p
}

// GetChannel returns a created channel.
func (s *Server) GetChannel(ctx context.Context, req *publishv1.GetChannelRequest) (*publishv1.GetChannelResponse, error) {
	var bad bus.Invalid
	a := channelName(&bad, req.GetName())
	if err := bad.Err(); err != nil {
		return nil, err
	}
	c, err := s.store.Channel(ctx, a)
	if err != nil {
		return nil, err
	}
	return &publishv1.GetChannelResponse{Channel: s.channelProto(c)}, nil
}

// DeleteChannel removes a created channel and what it has kept.
func (s *Server) DeleteChannel(ctx context.Context, req *publishv1.DeleteChannelRequest) (*publishv1.DeleteChannelResponse, error) {
	var bad bus.Invalid
	a := channelName(&bad, req.GetName())
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if err := s.store.DeleteChannel(ctx, a); err != nil {
		return nil, err
	}
	return &publishv1.DeleteChannelResponse{}, nil
}

// cursor is what a page token says: where to read on, and in which list.
type cursor struct {
	List   string `json:"l"`
	After  string `json:"a,omitempty"`
	Epoch  string `json:"e,omitempty"`
	Offset uint64 `json:"o,omitempty"`
	Newest bool   `json:"n,omitempty"`
}

func (c cursor) token() string {
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

const (
	defaultPage = 100
	maxPage     = 1000
	// maxPageToken is longer than what the longest address makes.
	maxPageToken = 4096
)

// paging checks page_size and page_token; list says of which list the token has to be.
func paging(bad *bus.Invalid, size int32, token, list string) (int, cursor) {
	n := int(size)
	switch {
	case n == 0:
		n = defaultPage
	case n < 0 || n > maxPage:
		bad.Add("page_size", "is %d, allowed are 1 to %d", n, maxPage)
	}
	var c cursor
	if token == "" {
		return n, c
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) > maxPageToken || json.Unmarshal(b, &c) != nil || c.List != list {
		bad.Add("page_token", "is not one that this list returned")
	}
	return n, c
}

// ListChannels returns a page of created channels.
func (s *Server) ListChannels(ctx context.Context, req *publishv1.ListChannelsRequest) (*publishv1.ListChannelsResponse, error) {
	var bad bus.Invalid
	size, at := paging(&bad, req.GetPageSize(), req.GetPageToken(), "channels")
	if err := bad.Err(); err != nil {
		return nil, err
	}
	page, err := s.store.ListChannels(ctx, at.After, size)
	if err != nil {
		return nil, err
	}
	resp := &publishv1.ListChannelsResponse{}
	for _, c := range page.Channels {
		resp.Channels = append(resp.Channels, s.channelProto(c))
	}
	if page.More && len(page.Channels) > 0 {
		resp.NextPageToken = cursor{List: "channels", After: page.Channels[len(page.Channels)-1].Address.String()}.token()
	}
	return resp, nil
}

// ListMessages returns a page of history.
func (s *Server) ListMessages(ctx context.Context, req *publishv1.ListMessagesRequest) (*publishv1.ListMessagesResponse, error) {
	var bad bus.Invalid
	a := bad.Address("address", req.GetAddress())
	size, at := paging(&bad, req.GetPageSize(), req.GetPageToken(), a.String())
	if req.GetAfter() != nil && req.GetNewestFirst() {
		bad.Add("newest_first", "not together with after")
	}
	if req.GetPageToken() != "" && at.Newest != req.GetNewestFirst() {
		bad.Add("page_token", "is of a list in the other order")
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	caller := rpc.CallerFrom(ctx)
	if err := s.mayRead(ctx, caller, a); err != nil {
		return nil, err
	}
	client := req.GetForClient()
	if !caller.Trusted() {
		client = caller.Identity.Client
	}
	keep := s.cfg.Namespaces.For(a).Retention
	if !keep.Durable() {
		return &publishv1.ListMessagesResponse{}, nil
	}
	if err := s.cfg.Charging.Take(caller.Author(bus.Sender{Client: client}), bus.Charge{Address: a}); err != nil {
		return nil, err // a read makes the store remember the address
	}
	var page bus.Page
	var err error
	if req.GetNewestFirst() {
		page, err = s.store.Latest(ctx, a, keep, at.Offset, size)
	} else {
		after := convert.Position(req.GetAfter())
		if req.GetPageToken() != "" {
			after = bus.Position{Epoch: at.Epoch, Offset: at.Offset}
		}
		page, err = s.store.Since(ctx, a, keep, after, size)
	}
	if err != nil {
		return nil, err
	}
	resp := &publishv1.ListMessagesResponse{Top: convert.PositionProto(page.Top)}
	for _, m := range page.Messages {
		if client == "" || m.For(client, "") {
			resp.Messages = append(resp.Messages, convert.MessageProto(m))
		}
	}
	if page.More {
		resp.NextPageToken = cursor{List: a.String(), Epoch: page.Next.Epoch, Offset: page.Next.Offset, Newest: req.GetNewestFirst()}.token()
	}
	return resp, nil
}

// ListMembers returns a page of members.
func (s *Server) ListMembers(ctx context.Context, req *publishv1.ListMembersRequest) (*publishv1.ListMembersResponse, error) {
	var bad bus.Invalid
	a := bad.Address("address", req.GetAddress())
	size, at := paging(&bad, req.GetPageSize(), req.GetPageToken(), "members "+a.String())
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if err := rpc.CallerFrom(ctx).Check(bus.Presence, a); err != nil {
		return nil, err
	}
	page, err := s.store.Members(ctx, a, at.After, size)
	if err != nil {
		return nil, err
	}
	resp := &publishv1.ListMembersResponse{TotalSize: int32(page.Total)}
	for _, m := range page.Members {
		resp.Members = append(resp.Members, &publishv1.Member{
			Connection: m.Connection, Client: m.Client, User: m.User, JoinTime: timestamppb.New(m.Joined),
		})
	}
	if page.More && len(page.Members) > 0 {
		resp.NextPageToken = cursor{List: "members " + a.String(), After: page.Members[len(page.Members)-1].Connection}.token()
	}
	return resp, nil
}
