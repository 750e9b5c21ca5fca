package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
)

func (p *program) tokens() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Create, inspect and revoke tokens", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(p.tokenCreate(), p.tokenInspect(), p.tokenRevoke())
	return cmd
}

// list is what a command does that has only subcommands.
func list(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func (p *program) tokenCreate() *cobra.Command {
	req := &authv1.IssueTokenRequest{}
	var read, write, see []string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "create", Short: "Issue a token and print it", Args: cobra.NoArgs,
		Long: `Issue a token and print it; what is in it goes to standard error. A grant is an address or a prefix that ends with *,
such as channels/orders:*; a bare name is a channel.`,
		Example: "  trunkline token create --user ada --sub demo --ttl 1h\n  trunkline token create --client sensor-7 --pub 'telemetry:*'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.Grants = grants(read, write, see)
			if ttl != 0 {
				req.Ttl = durationpb.New(ttl)
			}
			return p.createToken(cmd.Context(), req)
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Client, "client", "", "client id; a UUID when empty")
	f.StringVar(&req.User, "user", "", "user")
	f.StringVar(&req.Session, "session", "", "session")
	f.StringSliceVar(&req.Groups, "group", nil, "group; again for more")
	f.StringSliceVar(&read, "sub", nil, "may subscribe to it, and read its history to resume; again for more")
	f.StringSliceVar(&write, "pub", nil, "may publish to it; again for more")
	f.StringSliceVar(&see, "presence", nil, "may see who is there; again for more")
	f.DurationVar(&ttl, "ttl", 0, "how long it lives (the server's default)")
	f.BoolVar(&req.Refreshable, "refreshable", false, "also print a refresh token")
	return cmd
}

// grants joins what is granted by address, in the order it was asked for.
func grants(read, write, see []string) []*authv1.Grant {
	var all []*authv1.Grant
	by := map[string]*authv1.Grant{}
	add := func(names []string, actions ...authv1.Action) {
		for _, n := range names {
			a := pattern(n)
			if by[a] == nil {
				by[a] = &authv1.Grant{Address: a}
				all = append(all, by[a])
			}
			by[a].Actions = append(by[a].Actions, actions...)
		}
	}
	add(read, reading...)
	add(write, authv1.Action_ACTION_PUBLISH)
	add(see, authv1.Action_ACTION_PRESENCE)
	return all
}

func (p *program) createToken(ctx context.Context, req *authv1.IssueTokenRequest) error {
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	resp, err := authv1.NewAuthServiceClient(conn).IssueToken(ctx, req)
	if err != nil {
		return p.remote(err)
	}
	if p.output != "table" {
		return p.writeJSON(resp)
	}
	p.say("client %s   token id %s   until %s", resp.GetClient(), resp.GetTokenId(), when(resp.GetExpireTime()))
	if resp.GetRefreshToken() != "" {
		p.say("refresh token %s   until %s", resp.GetRefreshToken(), when(resp.GetRefreshExpireTime()))
	}
	_, err = fmt.Fprintln(p.out, resp.GetToken())
	return err
}

func when(t *timestamppb.Timestamp) string { return t.AsTime().Local().Format(time.RFC3339) }

func (p *program) tokenInspect() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "inspect TOKEN", Short: "Show what is in a token, whether it is accepted, and why not", Args: cobra.ExactArgs(1),
		Long: `Show what is in a token and whether the server accepts it. When it does not, say which check failed, what the token has
there and what was wanted. With - the token is read from standard input, which keeps it out of the shell's history.
With --config no server is asked: the token is judged by the settings, and its revocation is not known.`,
		Example: "  trunkline token inspect - <token.txt\n  trunkline token inspect - --config trunkline.yaml <token.txt",
		RunE:    func(cmd *cobra.Command, args []string) error { return p.inspectToken(cmd.Context(), args[0], files) },
	}
	cmd.Flags().StringArrayVar(&files, "config", nil, "YAML file whose settings judge the token, in place of the server; again for more")
	return cmd
}

// inspection is what is known about a token.
type inspection struct {
	Header json.RawMessage `json:"header,omitempty"`
	Claims json.RawMessage `json:"claims,omitempty"`
	Valid  bool            `json:"valid"`
	// Reason and Message say why it is not valid; the others which check failed.
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	Check    string `json:"check,omitempty"`
	Value    string `json:"value,omitempty"`
	Wanted   string `json:"wanted,omitempty"`
	Identity any    `json:"identity,omitempty"`
}

func (p *program) inspectToken(ctx context.Context, token string, files []string) error {
	if token == "-" {
		content, err := io.ReadAll(io.LimitReader(p.in, 64<<10))
		if err != nil {
			return err
		}
		token = string(content)
	}
	token = strings.TrimSpace(token)
	var found inspection
	found.Header, found.Claims = decodeToken(token)
	judge := p.askAboutToken
	if len(files) > 0 {
		judge = func(ctx context.Context, token string) (*authv1.ValidateTokenResult, error) {
			loaded, err := app.Load(config.Sources{Files: files, Env: p.env})
			if err != nil {
				return nil, err
			}
			return app.InspectToken(ctx, loaded.Config, token)
		}
	}
	result, err := judge(ctx, token)
	if err != nil {
		return err
	}
	if id := result.GetIdentity(); id != nil {
		found.Valid = true
		if found.Identity, err = readable(id); err != nil {
			return err
		}
	} else {
		e := rpc.FromErrorProto(result.GetError())
		found.Reason, found.Message = e.Reason, e.Message
		found.Check, found.Value, found.Wanted = e.Metadata["check"], e.Metadata["value"], e.Metadata["wanted"]
	}
	if p.output != "table" {
		err = p.writeJSON(found)
	} else {
		err = p.showToken(found, result.GetIdentity())
	}
	if err == nil && !found.Valid {
		return silent(exitDenied)
	}
	return err
}

// askAboutToken lets the server judge a token.
func (p *program) askAboutToken(ctx context.Context, token string) (*authv1.ValidateTokenResult, error) {
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	req := &authv1.BatchValidateTokensRequest{Tokens: []string{token}, Explain: true}
	resp, err := authv1.NewAuthServiceClient(conn).BatchValidateTokens(ctx, req)
	if err != nil {
		return nil, p.remote(err) // ours to ask, not the token's validity
	}
	if len(resp.GetResults()) != 1 {
		return nil, errors.New("the server answered with no result")
	}
	return resp.GetResults()[0], nil
}

func (p *program) showToken(found inspection, id *authv1.Identity) error {
	rows := [][]string{}
	if found.Header != nil {
		rows = append(rows, []string{"header", string(found.Header)}, []string{"claims", string(found.Claims)})
	} else {
		rows = append(rows, []string{"form", "opaque, not a JWT"})
	}
	if !found.Valid {
		rows = append(rows, []string{"valid", "NO, " + found.Reason + ": " + found.Message})
		if found.Check != "" {
			rows = append(rows, []string{"check", found.Check}, []string{"value", found.Value}, []string{"wanted", found.Wanted})
		}
		return p.table(rows...)
	}
	rows = append(rows, []string{"valid", fmt.Sprintf("yes, until %s (in %s)", when(id.GetExpireTime()), time.Until(id.GetExpireTime().AsTime()).Round(time.Second))},
		[]string{"client", id.GetClient()}, []string{"user", id.GetUser()}, []string{"session", id.GetSession()},
		[]string{"groups", strings.Join(id.GetGroups(), ", ")})
	for _, g := range id.GetGrants() {
		actions := make([]string, len(g.GetActions()))
		for i, a := range g.GetActions() {
			actions[i] = strings.ToLower(strings.TrimPrefix(a.String(), "ACTION_"))
		}
		rows = append(rows, []string{"may", strings.Join(actions, ", ") + " on " + g.GetAddress()})
	}
	return p.table(rows...)
}

// decodeToken returns the parts of a JWT without believing them; nil when it is none.
func decodeToken(token string) (header, claims json.RawMessage) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil
	}
	read := func(s string) json.RawMessage {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || !json.Valid(b) {
			return nil
		}
		return b
	}
	header, claims = read(parts[0]), read(parts[1])
	if header == nil || claims == nil {
		return nil, nil
	}
	return header, claims
}

func (p *program) tokenRevoke() *cobra.Command {
	var id, client, session, user, before string
	cmd := &cobra.Command{
		Use: "revoke [TOKEN]", Short: "End tokens before their time", Args: cobra.MaximumNArgs(1),
		Long: "End one token, or all tokens of a client, session or user that were issued before now, or all issued before a time. Open connections end too.",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &authv1.RevokeTokenRequest{}
			set := 0
			target := func(s string, apply func()) {
				if s != "" {
					apply()
					set++
				}
			}
			if len(args) == 1 {
				target(args[0], func() { req.Target = &authv1.RevokeTokenRequest_Token{Token: args[0]} })
			}
			target(id, func() { req.Target = &authv1.RevokeTokenRequest_TokenId{TokenId: id} })
			target(client, func() { req.Target = &authv1.RevokeTokenRequest_Client{Client: client} })
			target(session, func() { req.Target = &authv1.RevokeTokenRequest_Session{Session: session} })
			target(user, func() { req.Target = &authv1.RevokeTokenRequest_User{User: user} })
			var bad error
			target(before, func() {
				t, err := time.Parse(time.RFC3339, before)
				if err != nil {
					bad = fmt.Errorf("--issued-before %q is not a time (try \"2026-12-31T00:00:00Z\")", before)
				}
				req.Target = &authv1.RevokeTokenRequest_IssuedBefore{IssuedBefore: timestamppb.New(t)}
			})
			if bad == nil && set != 1 {
				bad = errors.New("name one of TOKEN, --id, --client, --session, --user and --issued-before")
			}
			if bad != nil {
				return usageError{bad}
			}
			return p.revokeToken(cmd.Context(), req)
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "the token of this id")
	f.StringVar(&client, "client", "", "tokens of this client")
	f.StringVar(&session, "session", "", "tokens of this session")
	f.StringVar(&user, "user", "", "tokens of this user")
	f.StringVar(&before, "issued-before", "", "all tokens issued before this time")
	return cmd
}

func (p *program) revokeToken(ctx context.Context, req *authv1.RevokeTokenRequest) error {
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	resp, err := authv1.NewAuthServiceClient(conn).RevokeToken(ctx, req)
	if err != nil {
		return p.remote(err)
	}
	if p.output != "table" {
		return p.writeJSON(resp)
	}
	_, err = fmt.Fprintln(p.out, "revoked at", when(resp.GetRevokeTime()))
	return err
}
