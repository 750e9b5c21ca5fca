package publish

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

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
		Name: c.Address.String(), Labels: c.Labels, CreateTime: convert.Time(c.Created),
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

// ListChannels returns a page of created channels.
func (s *Server) ListChannels(ctx context.Context, req *publishv1.ListChannelsRequest) (*publishv1.ListChannelsResponse, error) {
	var bad bus.Invalid
	size, at := paging(&bad, req.GetPageSize(), req.GetPageToken(), "channels")
	if err := bad.Err(); err != nil {
		return nil, err
	}
	at.List = "channels"
	resp := &publishv1.ListChannelsResponse{}
	var err error
	resp.Channels, resp.NextPageToken, err = gather(size, largestChannel, at, func(at cursor, n int) (stretch[*publishv1.Channel], error) {
		page, err := s.store.ListChannels(ctx, at.After, n)
		p := stretch[*publishv1.Channel]{next: at, more: page.More && len(page.Channels) > 0}
		for _, c := range page.Channels {
			p.next.After = c.Address.String()
			p.add(s.channelProto(c), p.next)
		}
		return p, err
	})
	if err != nil {
		return nil, err
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
	client := readerOf(caller, req.GetForClient())
	keep := s.cfg.Namespaces.For(a).Retention
	if !keep.Durable() {
		return &publishv1.ListMessagesResponse{}, nil
	}
	if err := s.chargeRead(caller, client, a); err != nil {
		return nil, err
	}
	if req.GetPageToken() == "" {
		after := convert.Position(req.GetAfter())
		at.Epoch, at.Offset, at.Newest = after.Epoch, after.Offset, req.GetNewestFirst()
	}
	at.List = a.String()
	resp := &publishv1.ListMessagesResponse{}
	var err error
	resp.Messages, resp.NextPageToken, err = gather(size, s.largest(a), at, func(at cursor, n int) (stretch[*publishv1.Message], error) {
		var page bus.Page
		var err error
		if at.Newest {
			page, err = s.store.Latest(ctx, a, keep, at.Offset, n)
		} else {
			page, err = s.store.Since(ctx, a, keep, bus.Position{Epoch: at.Epoch, Offset: at.Offset}, n)
		}
		resp.Top = convert.PositionProto(page.Top)
		p := stretch[*publishv1.Message]{next: at, more: page.More}
		for _, m := range page.Messages {
			p.next.Epoch, p.next.Offset = m.Position.Epoch, m.Position.Offset
			if client == "" || m.For(client, "") {
				p.add(convert.MessageProto(m), p.next)
			} else {
				p.pass(p.next)
			}
		}
		p.next.Epoch, p.next.Offset = page.Next.Epoch, page.Next.Offset
		return p, err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// readerOf returns the client that reads: its own, or the one that a back end names.
func readerOf(caller *rpc.Caller, named string) string {
	if caller.Trusted() {
		return named
	}
	return caller.Identity.Client
}

// chargeRead takes a read from the account of its reader: it makes the store remember the address.
func (s *Server) chargeRead(caller *rpc.Caller, client string, a bus.Address) error {
	return s.cfg.Charging.Take(caller.Author(bus.Sender{Client: client}), bus.Charge{Address: a})
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
	at.List = "members " + a.String()
	resp := &publishv1.ListMembersResponse{}
	var err error
	resp.Members, resp.NextPageToken, err = gather(size, largestMember, at, func(at cursor, n int) (stretch[*publishv1.Member], error) {
		page, err := s.store.Members(ctx, a, at.After, n)
		resp.TotalSize = int32(page.Total)
		p := stretch[*publishv1.Member]{next: at, more: page.More && len(page.Members) > 0}
		for _, m := range page.Members {
			p.next.After = m.Connection
			p.add(&publishv1.Member{Connection: m.Connection, Client: m.Client, User: m.User, JoinTime: convert.Time(m.Joined)}, p.next)
		}
		return p, err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}
