package main

import (
	"context"

	"github.com/spf13/cobra"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

func (p *program) state() *cobra.Command {
	cmd := &cobra.Command{Use: "state", Short: "Read and change the JSON object of an address", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(&cobra.Command{
		Use: "get ADDRESS", Short: "Print the object and its revision", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.stateService(cmd.Context(), func(ctx context.Context, s publishv1.StateServiceClient) (*publishv1.State, error) {
				resp, err := s.GetState(ctx, &publishv1.GetStateRequest{Address: address(args[0])})
				return resp.GetState(), err
			})
		},
	})
	var revision int64
	var key string
	merge := &cobra.Command{
		Use: "merge ADDRESS PATCH", Short: "Change the object by a JSON merge patch (RFC 7396)", Args: cobra.ExactArgs(2),
		Example: `  trunkline state merge game '{"score":{"home":2}}'` + "\n" + `  trunkline state merge game '{"pause":null}' --revision 7`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &publishv1.UpdateStateRequest{Address: address(args[0]), Data: []byte(args[1]), IdempotencyKey: key}
			if revision >= 0 {
				at := uint64(revision)
				req.Revision = &at
			}
			return p.stateService(cmd.Context(), func(ctx context.Context, s publishv1.StateServiceClient) (*publishv1.State, error) {
				resp, err := s.UpdateState(ctx, req)
				return resp.GetState(), err
			})
		},
	}
	merge.Flags().Int64Var(&revision, "revision", -1, "only if the object is at this revision; -1 for any")
	merge.Flags().StringVar(&key, "key", "", "idempotency key: a repeat with the same key and patch changes nothing more")
	cmd.AddCommand(merge)
	return cmd
}

// stateService calls fn with the service and prints the state.
func (p *program) stateService(ctx context.Context, fn func(context.Context, publishv1.StateServiceClient) (*publishv1.State, error)) error {
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	s, err := fn(ctx, publishv1.NewStateServiceClient(conn))
	if err != nil {
		return p.remote(err)
	}
	return p.writeJSON(s)
}
