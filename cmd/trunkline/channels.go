package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// channelService calls fn with the service.
func (p *program) channelService(ctx context.Context, fn func(ctx context.Context, s publishv1.ChannelServiceClient) error) error {
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	return fn(ctx, publishv1.NewChannelServiceClient(conn))
}

func (p *program) history() *cobra.Command {
	req := &publishv1.ListMessagesRequest{}
	var limit int
	var after string
	cmd := &cobra.Command{
		Use: "history ADDRESS", Short: "Print what an address has kept, oldest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.After, err = parsePosition(after); err != nil {
				return usageError{err}
			}
			if limit < 1 || limit > 1000 {
				return usageError{fmt.Errorf("--limit %d: allowed are 1 to 1000", limit)}
			}
			req.Address, req.PageSize = address(args[0]), int32(limit)
			return p.channelService(cmd.Context(), func(ctx context.Context, s publishv1.ChannelServiceClient) error {
				resp, err := s.ListMessages(ctx, req)
				if err != nil {
					return p.remote(err)
				}
				return p.showMessages(resp)
			})
		},
	}
	f := cmd.Flags()
	f.IntVar(&limit, "limit", 100, "at most this many")
	f.BoolVar(&req.NewestFirst, "newest-first", false, "newest first")
	f.StringVar(&after, "since-position", "", "only what came after EPOCH:OFFSET")
	f.StringVar(&req.PageToken, "page-token", "", "the next page")
	return cmd
}

func (p *program) showMessages(resp *publishv1.ListMessagesResponse) error {
	if p.output == "json" {
		return p.writeJSON(resp)
	}
	for _, m := range resp.GetMessages() {
		var err error
		if p.output == "jsonl" {
			err = p.writeJSON(m)
		} else {
			_, err = fmt.Fprintln(p.out, line(m))
		}
		if err != nil {
			return err
		}
	}
	if resp.GetNextPageToken() != "" {
		p.say("more: --page-token %s", resp.GetNextPageToken())
	}
	return nil
}

func (p *program) presence() *cobra.Command {
	req := &publishv1.ListMembersRequest{}
	cmd := &cobra.Command{
		Use: "presence ADDRESS", Short: "List who is subscribed to an address", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Address = address(args[0])
			return p.channelService(cmd.Context(), func(ctx context.Context, s publishv1.ChannelServiceClient) error {
				resp, err := s.ListMembers(ctx, req)
				if err != nil {
					return p.remote(err)
				}
				rows := [][]string{{"CONNECTION", "CLIENT", "USER", "SINCE"}}
				items := make([]any, 0, len(resp.GetMembers()))
				for _, m := range resp.GetMembers() {
					rows = append(rows, []string{m.GetConnection(), m.GetClient(), m.GetUser(), when(m.GetJoinTime())})
					items = append(items, m)
				}
				if err := p.show(resp, items, rows); err != nil {
					return err
				}
				if resp.GetNextPageToken() != "" {
					p.say("more: --page-token %s", resp.GetNextPageToken())
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&req.PageToken, "page-token", "", "the next page")
	return cmd
}

// show writes a list as one value, as one value a line, or as a table.
func (p *program) show(all any, items []any, rows [][]string) error {
	switch p.output {
	case "json":
		return p.writeJSON(all)
	case "jsonl":
		for _, item := range items {
			if err := p.writeJSON(item); err != nil {
				return err
			}
		}
		return nil
	}
	return p.table(rows...)
}

func (p *program) channels() *cobra.Command {
	cmd := &cobra.Command{Use: "channels", Short: "List, create and delete channels", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(p.channelsList(), p.channelsCreate(), p.channelsDelete())
	return cmd
}

func (p *program) channelsList() *cobra.Command {
	req := &publishv1.ListChannelsRequest{}
	cmd := &cobra.Command{
		Use: "list", Short: "List created channels", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.channelService(cmd.Context(), func(ctx context.Context, s publishv1.ChannelServiceClient) error {
				resp, err := s.ListChannels(ctx, req)
				if err != nil {
					return p.remote(err)
				}
				rows := [][]string{{"CHANNEL", "CREATED", "HISTORY", "LABELS"}}
				items := make([]any, 0, len(resp.GetChannels()))
				for _, c := range resp.GetChannels() {
					rows = append(rows, []string{
						c.GetName(), when(c.GetCreateTime()),
						fmt.Sprintf("%d, %s", c.GetHistoryLength(), c.GetHistoryAge().AsDuration()), labels(c.GetLabels()),
					})
					items = append(items, c)
				}
				if err := p.show(resp, items, rows); err != nil {
					return err
				}
				if resp.GetNextPageToken() != "" {
					p.say("more: --page-token %s", resp.GetNextPageToken())
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&req.PageToken, "page-token", "", "the next page")
	return cmd
}

func labels(m map[string]string) string {
	all := make([]string, 0, len(m))
	for k, v := range m {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

func (p *program) channelsCreate() *cobra.Command {
	req := &publishv1.CreateChannelRequest{}
	cmd := &cobra.Command{
		Use: "create CHANNEL", Short: "Create a channel and print its token, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = address(args[0])
			return p.channelService(cmd.Context(), func(ctx context.Context, s publishv1.ChannelServiceClient) error {
				resp, err := s.CreateChannel(ctx, req)
				if err != nil {
					return p.remote(err)
				}
				if p.output != "table" {
					return p.writeJSON(resp)
				}
				p.say("created %s; its token is shown this once", resp.GetChannel().GetName())
				_, err = fmt.Fprintln(p.out, resp.GetChannelToken())
				return err
			})
		},
	}
	cmd.Flags().StringToStringVar(&req.Labels, "label", nil, "label key=value; again for more")
	return cmd
}

func (p *program) channelsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete CHANNEL", Short: "Delete a created channel with its history", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := address(args[0])
			return p.channelService(cmd.Context(), func(ctx context.Context, s publishv1.ChannelServiceClient) error {
				resp, err := s.DeleteChannel(ctx, &publishv1.DeleteChannelRequest{Name: name})
				if err != nil {
					return p.remote(err)
				}
				if p.output != "table" {
					return p.writeJSON(resp)
				}
				_, err = fmt.Fprintln(p.out, "deleted", name)
				return err
			})
		},
	}
}
