package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/trunkline/trunkline/internal/verify"
	"github.com/trunkline/trunkline/internal/verify/door"
)

func (p *program) verify() *cobra.Command {
	var c verify.Config
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find out whether a deployment keeps its promises",
		Long: `Find out whether a deployment keeps its promises, while it runs. It publishes over REST, gRPC and WebSocket, and follows over
WebSocket, server-sent events and gRPC. It breaks its own connections and resumes, withholds acks, revokes tokens of
its own, and lets others end. Everything is on channels, tokens and an inbox that nobody else can have, and is removed
at the end. What the credential may not do is skipped, and skipped is not held. docs/operations.md has the rows.

Exit code 0 when every promise was held, 1 when one was not or cannot be told, 7 when some were skipped.`,
		Example: "  trunkline verify\n  trunkline verify --server https://push.example.com --token-file key --for 10m --rate 50\n" +
			"  trunkline verify --only delivery,repeat -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				p.output = "json"
			}
			return p.look(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&c.For, "for", 30*time.Second, "how long to publish, 1s to 24h")
	f.Float64Var(&c.Rate, "rate", 20, "messages per second, over all doors together")
	f.IntVar(&c.Size, "size", 200, "bytes of a message, at least")
	f.StringSliceVar(&c.Only, "only", nil, "look at these alone: "+strings.Join(verify.Parts(), ", "))
	f.StringVar(&c.Namespace, "namespace", verify.Namespace, "namespace of the channels; they are NAMESPACE:RUN:…")
	f.DurationVar(&c.Delay, "max-delay", time.Second, "how long after its answer a message may come, for 99 of 100")
	f.BoolVar(&asJSON, "json", false, "the same as -o json")
	return cmd
}

// look runs the prober, and prints what it has seen.
func (p *program) look(ctx context.Context, c verify.Config) error {
	if err := c.Check(); err != nil {
		return usageError{err}
	}
	if _, err := p.endpoint(); err != nil {
		return err
	}
	_, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	secured, err := p.tls()
	if err != nil {
		return err
	}
	if c.Server, err = door.New(p.server.text, secured); err != nil {
		return usageError{err}
	}
	if c.Credential, err = p.credential(); err != nil {
		return err
	}
	c.Server.GRPC = conn
	c.URL, c.Target, c.GRPCNamed, c.Timeout = p.server.text, p.dialled, p.grpc.text != "", p.timeout
	progress, cleared := p.progress()
	c.Progress = progress
	report, err := verify.Run(ctx, c)
	cleared()
	if err != nil {
		return p.unverified(err)
	}
	if p.output == "table" {
		err = p.report(report)
	} else {
		err = p.writeJSON(report)
	}
	if err != nil {
		return err
	}
	switch report.Verdict {
	case verify.Held:
		return nil
	case verify.Partly:
		return silent(exitPartly)
	}
	return silent(exitFailed)
}

// unverified gives the error of a run that saw nothing a reason.
func (p *program) unverified(err error) error {
	if refused, ok := errors.AsType[*door.Refused](err); ok {
		return failure{reason: refused.Reason, message: err.Error()}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return failure{reason: "UNAVAILABLE", message: fmt.Sprintf("no server answers at %s: %v", p.server.text, err)}
}

// progress draws a bar on a terminal, and nothing elsewhere.
func (p *program) progress() (draw func(part float64, what string), cleared func()) {
	file, ok := p.err.(*os.File)
	if !ok {
		return nil, func() {}
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil, func() {}
	}
	const steps = 1000
	bar := progressbar.NewOptions(steps, progressbar.OptionSetWriter(io.Writer(file)), progressbar.OptionSetWidth(40),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	return func(part float64, what string) {
			bar.Describe(what)
			_ = bar.Set(min(int(part*steps), steps-1)) // a full bar is cleared
		}, func() {
			_ = bar.Finish()
		}
}

// report writes the rows for people.
func (p *program) report(r verify.Report) error {
	rows := [][]string{{"PROMISE", "VERDICT", "FIGURE", "BOUND", "CHECKED", ""}}
	for _, q := range r.Promises {
		figure, bound := number(q.Figure)+" "+q.Unit, number(q.Bound)
		if q.Checked == 0 {
			figure = "-"
		}
		says := q.Says
		if q.Reason != "" {
			says = q.Reason
		}
		rows = append(rows, []string{q.ID, string(q.Verdict), figure, bound, strconv.Itoa(q.Checked), says})
	}
	if err := p.table(rows...); err != nil {
		return err
	}
	rows = [][]string{{"\nTIME, ms", "COUNT", "P50", "P90", "P99", "P99.9", "MAX", ""}}
	for _, t := range r.Times {
		rows = append(rows, []string{t.Name, strconv.FormatInt(t.Count, 10), number(t.P50), number(t.P90), number(t.P99), number(t.P999), number(t.Max), t.Says})
	}
	if err := p.table(rows...); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, q := range r.Promises {
		for _, f := range q.Findings {
			fmt.Fprintf(&b, "! %s  %s\n", q.ID, f)
		}
	}
	for _, d := range r.Doors {
		if !d.Used {
			fmt.Fprintf(&b, "- not used: %s, because %s\n", d.Name, d.Reason)
		}
	}
	for _, l := range r.Left {
		fmt.Fprintf(&b, "- left behind: %s\n", l)
	}
	fmt.Fprintf(&b, "%s: run %s at %s, %d published, %d delivered, %d resumes, %s s\n",
		strings.ToUpper(string(r.Verdict)), r.Run, r.Server, r.Counts.Published, r.Counts.Delivered, r.Counts.Resumes, number(r.Seconds))
	_, err := io.WriteString(p.out, b.String())
	return err
}

// number is a figure with as many digits as it needs.
func number(f float64) string {
	if f >= 100 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
