package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// stream is what a program reads and writes.
type stream struct {
	in       io.Reader
	out, err io.Writer
	env      []string
}

func (s stream) getenv(name string) string {
	value := ""
	for _, e := range s.env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// named is one word that says where a server is, and what it was said with. The source is empty for what nobody has said.
type named struct{ text, source string }

// program is one run of the command line.
type program struct {
	stream
	server, grpc                     named
	token, tokenFile, output, caFile string
	timeout                          time.Duration
	noColor                          bool

	verb    string // with the words before it
	dialled string // host:port of gRPC, once something is asked there
	started bool   // the verb was understood; what fails from now on is no usage error
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, s stream, args []string) int {
	p := &program{stream: s}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	verb, err := root.ExecuteContextC(ctx)
	p.verb = verb.CommandPath()
	if err != nil && !p.started {
		err = usageError{err}
	}
	return p.finish(ctx, err)
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "trunkline",
		Short:         "A messaging backbone: typed gRPC and REST in, WebSocket out",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := checkAddresses(cmd.Use, args); err != nil {
				return err
			}
			if err := p.environment(cmd.Flags()); err != nil {
				return err
			}
			if err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
				return err // cobra looks after this, when a failure is no usage error any more
			}
			p.started = true
			return nil
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate("trunkline {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.StringVar(&p.server.text, "server", "", "URL of the server (TRUNKLINE_SERVER; http://localhost:8080)")
	f.StringVar(&p.grpc.text, "grpc", "", "host:port of gRPC, https://host:port for TLS (TRUNKLINE_GRPC; port 9090 of the server's host)")
	f.StringVar(&p.token, "token", "", "API key or token (TRUNKLINE_TOKEN); flags show in ps: prefer --token-file")
	f.StringVar(&p.tokenFile, "token-file", "", "file that holds it (TRUNKLINE_TOKEN_FILE)")
	f.StringVar(&p.caFile, "ca-file", "", "CA of the server's certificate (TRUNKLINE_CA_FILE; the system's)")
	f.StringVarP(&p.output, "output", "o", "", "table, json or jsonl (TRUNKLINE_OUTPUT; table)")
	f.DurationVar(&p.timeout, "timeout", 0, "how long to wait for the server (TRUNKLINE_TIMEOUT; 10s)")
	f.BoolVar(&p.noColor, "no-color", false, "no colour (NO_COLOR)")
	root.AddCommand(p.serve(), p.pub(), p.receipt(), p.inbox(), p.state(), p.explain(), p.verify(), p.sub(), p.events(), p.tokens(), p.history(), p.presence(), p.channels(), p.legacy(),
		p.config(), p.health(), p.version())
	return root
}

// environment fills in what no flag says.
func (p *program) environment(flags *pflag.FlagSet) error {
	from := func(v *string, name, standard string) {
		if *v == "" {
			*v = p.getenv(name)
		}
		if *v == "" {
			*v = standard
		}
	}
	if p.token == "" && p.tokenFile == "" {
		p.token, p.tokenFile = p.getenv("TRUNKLINE_TOKEN"), p.getenv("TRUNKLINE_TOKEN_FILE")
	}
	for flag, n := range map[string]*named{"server": &p.server, "grpc": &p.grpc} {
		n.source = "--" + flag
		if !flags.Changed(flag) {
			n.source = "TRUNKLINE_" + strings.ToUpper(flag)
			n.text = p.getenv(n.source)
		} else if n.text == "" { // of a variable that is not set; the default would be another server
			return fmt.Errorf("%s is empty", n.source)
		}
	}
	if p.server.text == "" {
		p.server = named{text: "http://localhost:8080"}
	}
	from(&p.caFile, "TRUNKLINE_CA_FILE", "")
	from(&p.output, "TRUNKLINE_OUTPUT", "table")
	if !slices.Contains([]string{"table", "json", "jsonl"}, p.output) {
		return fmt.Errorf("-o %q: allowed are table, json and jsonl", p.output)
	}
	if p.timeout == 0 {
		p.timeout = 10 * time.Second
		if s := p.getenv("TRUNKLINE_TIMEOUT"); s != "" {
			d, err := time.ParseDuration(s)
			if err != nil {
				return fmt.Errorf("TRUNKLINE_TIMEOUT: %q is not a duration (try \"5s\")", s)
			}
			p.timeout = d
		}
	}
	if p.timeout < 0 {
		return fmt.Errorf("--timeout %s is negative", p.timeout)
	}
	return nil
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if p.output != "table" {
				return p.writeJSON(map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(p.out, "trunkline", version)
			return err
		},
	}
}
