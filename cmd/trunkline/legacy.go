package main

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
)

func (p *program) legacy() *cobra.Command {
	session := &cobra.Command{Use: "session", Short: "Say whose the sessions of the facility protocol are", Args: cobra.NoArgs, RunE: list}
	session.AddCommand(p.sessionAdd(), p.sessionRemove())
	cmd := &cobra.Command{Use: "legacy", Short: "Look after the older protocols", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(session)
	return cmd
}

func (p *program) sessionAdd() *cobra.Command {
	var ttl time.Duration
	var read, write []string
	cmd := &cobra.Command{
		Use: "add KEY [USER] [GROUP,GROUP]", Short: "Register a session, or say anew who it is", Args: cobra.RangeArgs(1, 3),
		Long: `Register a session, or say anew who it is. KEY is the value of its cookie; with - it is read from standard input, which keeps it out of
the shell's history. Without --pub and --sub it may publish to every facility of broadcast, its user, its groups and itself.`,
		Example: "  trunkline legacy session add - john chatusers,staff --ttl 24h <key",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := p.sessionKey(args[0])
			if err != nil {
				return err
			}
			req := &legacyv1.RegisterSessionRequest{Key: key, Grants: grants(read, write, nil)}
			if len(args) > 1 {
				req.User = args[1]
			}
			if len(args) > 2 && args[2] != "" {
				req.Groups = strings.Split(args[2], ",")
			}
			if ttl != 0 {
				req.Ttl = durationpb.New(ttl)
			}
			return p.facilityService(cmd.Context(), func(ctx context.Context, s legacyv1.FacilityServiceClient) error {
				resp, err := s.RegisterSession(ctx, req)
				if err != nil {
					return err
				}
				if p.output != "table" {
					return p.writeJSON(resp)
				}
				p.say("registered until %s", when(resp.GetExpireTime()))
				return nil
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it lives (14 days)")
	cmd.Flags().StringSliceVar(&read, "sub", nil, "may also subscribe to it; again for more")
	cmd.Flags().StringSliceVar(&write, "pub", nil, "may publish to it; again for more")
	return cmd
}

func (p *program) sessionRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm KEY", Short: "Forget a session and end its connections", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := p.sessionKey(args[0])
			if err != nil {
				return err
			}
			return p.facilityService(cmd.Context(), func(ctx context.Context, s legacyv1.FacilityServiceClient) error {
				_, err := s.UnregisterSession(ctx, &legacyv1.UnregisterSessionRequest{Key: key})
				return err
			})
		},
	}
}

// sessionKey returns the key of an argument; - is the first line of standard input.
func (p *program) sessionKey(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	lines := bufio.NewScanner(p.in)
	if !lines.Scan() || lines.Text() == "" {
		return "", usageError{errors.New("standard input has no key")}
	}
	return lines.Text(), nil
}

// facilityService calls fn with the service.
func (p *program) facilityService(ctx context.Context, fn func(context.Context, legacyv1.FacilityServiceClient) error) error {
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := fn(ctx, legacyv1.NewFacilityServiceClient(conn)); err != nil {
		return p.remote(err)
	}
	return nil
}
