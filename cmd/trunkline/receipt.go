package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// ackFlags is what a publisher asks of the recipient.
type ackFlags struct {
	ack           bool
	eachDevice    bool
	timeout       time.Duration
	keep          time.Duration
	collapseKey   string
	maxDeliveries uint32
	deadLetter    string
	wait          bool
}

func (f *ackFlags) add(fl *pflag.FlagSet) {
	fl.BoolVar(&f.ack, "ack", false, "ask the recipient for an ack, and keep the message in its inbox until it comes")
	fl.BoolVar(&f.eachDevice, "each-device", false, "with --ack: every device acknowledges for itself")
	fl.DurationVar(&f.timeout, "ack-timeout", 0, "with --ack: after this the message counts as stored")
	fl.DurationVar(&f.keep, "keep", 0, "with --ack: how long it waits in the inbox")
	fl.StringVar(&f.collapseKey, "collapse-key", "", "with --ack: take the place of a waiting message with the same key")
	fl.Uint32Var(&f.maxDeliveries, "max-deliveries", 0, "with --ack: after so many deliveries it goes to --dead-letter")
	fl.StringVar(&f.deadLetter, "dead-letter", "", "with --max-deliveries: the channel that gets what nobody acknowledged")
	fl.BoolVar(&f.wait, "wait", false, "with --ack: show what becomes of it until it is acknowledged, stored, expired or denied")
}

func (f *ackFlags) check() error {
	asks := f.eachDevice || f.timeout != 0 || f.keep != 0 || f.collapseKey != "" || f.maxDeliveries != 0 || f.deadLetter != "" || f.wait
	if asks && !f.ack {
		return errors.New("--each-device, --ack-timeout, --keep, --collapse-key, --max-deliveries, --dead-letter and --wait need --ack")
	}
	return nil
}

func (f *ackFlags) policy() *publishv1.AckPolicy {
	if !f.ack {
		return nil
	}
	policy := &publishv1.AckPolicy{CollapseKey: f.collapseKey, MaxDeliveries: f.maxDeliveries}
	if f.eachDevice {
		policy.Scope = publishv1.AckScope_ACK_SCOPE_EACH_DEVICE
	}
	if f.timeout != 0 {
		policy.Timeout = durationpb.New(f.timeout)
	}
	if f.keep != 0 {
		policy.Keep = durationpb.New(f.keep)
	}
	if f.deadLetter != "" {
		policy.DeadLetter = address(f.deadLetter)
	}
	return policy
}

func (p *program) receipt() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "receipt ADDRESS ID",
		Short:   "Show what became of a message that asked for an ack",
		Example: "  trunkline receipt users/42 018f4e6e-7b7a-7c3e-9d2a-000000000000 --watch",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, conn, done, err := p.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			service := publishv1.NewPublishServiceClient(conn)
			if watch {
				return p.watch(ctx, service, args[0], args[1], func(*publishv1.Receipt) bool { return false })
			}
			resp, err := service.GetReceipt(ctx, &publishv1.GetReceiptRequest{Address: args[0], Id: args[1]})
			if err != nil {
				return p.remote(err)
			}
			return p.showReceipt(resp.GetReceipt())
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until it does not change any more")
	return cmd
}

// await shows the receipt of a published message until it is acknowledged, stored, expired or denied.
func (p *program) await(ctx context.Context, service publishv1.PublishServiceClient, to, id string) error {
	var last publishv1.DeliveryState
	err := p.watch(ctx, service, to, id, func(r *publishv1.Receipt) bool {
		last = r.GetState()
		return last == publishv1.DeliveryState_DELIVERY_STATE_STORED || last == publishv1.DeliveryState_DELIVERY_STATE_DENIED
	})
	if err == nil && last != publishv1.DeliveryState_DELIVERY_STATE_ACKED {
		return silent(exitPartly)
	}
	return err
}

// watch shows a receipt whenever it changes, until it does not any more or enough is true.
func (p *program) watch(ctx context.Context, service publishv1.PublishServiceClient, to, id string, enough func(*publishv1.Receipt) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	receipts, err := service.WatchReceipts(ctx, &publishv1.WatchReceiptsRequest{Address: to, Id: id})
	for err == nil {
		var resp *publishv1.WatchReceiptsResponse
		if resp, err = receipts.Recv(); err != nil {
			break
		}
		if resp.GetHeartbeat() != nil {
			continue
		}
		if err := p.showReceipt(resp.GetReceipt()); err != nil {
			return err
		}
		if enough(resp.GetReceipt()) {
			return nil
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	}
	return p.remote(err)
}

func stateName(s publishv1.DeliveryState) string {
	return strings.TrimPrefix(s.String(), "DELIVERY_STATE_")
}

func (p *program) showReceipt(r *publishv1.Receipt) error {
	if p.output != "table" {
		return p.writeJSON(r)
	}
	var devices []string
	for _, d := range r.GetRecipients() {
		devices = append(devices, d.GetClient()+" "+stateName(d.GetState()))
	}
	detail := strings.Join(devices, ", ")
	if r.GetReason() != "" {
		detail = strings.TrimPrefix(detail+", "+r.GetReason(), ", ")
	}
	_, err := fmt.Fprintln(p.out, strings.TrimRight(fmt.Sprintf("%s  %-7s  %s", time.Now().Format("15:04:05.000"), stateName(r.GetState()), detail), " "))
	return err
}

func (p *program) inbox() *cobra.Command {
	var ack []string
	cmd := &cobra.Command{
		Use:     "inbox ADDRESS",
		Short:   "List the messages that wait for an ack",
		Example: "  trunkline inbox users/42\n  trunkline inbox users/42 --ack 018f4e6e-7b7a-7c3e-9d2a-000000000000",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, conn, done, err := p.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			service := publishv1.NewInboxServiceClient(conn)
			if len(ack) > 0 {
				resp, err := service.AckMessages(ctx, &publishv1.AckMessagesRequest{Address: args[0], Ids: ack})
				if err != nil {
					return p.remote(err)
				}
				return p.writeJSON(resp)
			}
			return p.listInbox(ctx, service, args[0])
		},
	}
	cmd.Flags().StringSliceVar(&ack, "ack", nil, "acknowledge the message with this id instead; again for more")
	return cmd
}

func (p *program) listInbox(ctx context.Context, service publishv1.InboxServiceClient, to string) error {
	rows := [][]string{{"ID", "STATE", "PUBLISHED", "DELIVERIES", "DATA"}}
	for token := ""; ; {
		resp, err := service.ListInbox(ctx, &publishv1.ListInboxRequest{Address: to, PageToken: token})
		if err != nil {
			return p.remote(err)
		}
		if p.output != "table" {
			if err := p.writeJSON(resp); err != nil {
				return err
			}
		}
		for _, e := range resp.GetEntries() {
			m := e.GetMessage()
			rows = append(rows, []string{
				m.GetId(), stateName(e.GetState()), m.GetPublishTime().AsTime().Local().Format(time.DateTime), fmt.Sprint(e.GetDeliveries()), payload(m),
			})
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if p.output != "table" {
		return nil
	}
	return p.table(rows...)
}
