package main

import (
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
)

func (p *program) explain() *cobra.Command {
	req := &adminv1.ExplainDeliveryRequest{}
	cmd := &cobra.Command{
		Use: "explain ADDRESS ID --client CLIENT", Short: "Say why a client did or did not get a message", Args: cobra.ExactArgs(2),
		Example: "  trunkline explain users/42 018f4e6e-7b7a-7c3e-9d2a-000000000000 --client phone --user 42",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, conn, done, err := p.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			req.Address, req.Id = address(args[0]), args[1]
			resp, err := adminv1.NewAdminServiceClient(conn).ExplainDelivery(ctx, req)
			if err != nil {
				return p.remote(err)
			}
			if p.output != "table" {
				return p.writeJSON(resp)
			}
			rows := [][]string{{"STEP", "EFFECT", "DETAIL"}}
			for _, d := range resp.GetDecisions() {
				rows = append(rows, []string{d.GetStep(), strings.TrimPrefix(d.GetEffect().String(), "EFFECT_"), d.GetDetail()})
			}
			return p.table(append(rows, []string{"=", "", resp.GetVerdict()})...)
		},
	}
	cmd.Flags().StringVar(&req.Client, "client", "", "client id of who should have it")
	cmd.Flags().StringVar(&req.User, "user", "", "its user")
	_ = cmd.MarkFlagRequired("client") // the flag is there
	return cmd
}
