package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const cliPage = "../../docs/cli.md"

// TestDocs compares docs/cli.md with the commands; go test ./cmd/trunkline -run Docs -update writes it.
func TestDocs(t *testing.T) {
	content, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	const marker = "<!-- Made from cmd/trunkline; a test compares. -->\n"
	intro, _, ok := strings.Cut(string(content), marker)
	if !ok {
		t.Fatalf("%s has no line %q", cliPage, marker)
	}
	var b strings.Builder
	root := (&program{}).root()
	fmt.Fprintf(&b, "\nOf every verb:\n\n```text\n%s```\n", root.PersistentFlags().FlagUsages())
	describe(&b, root)
	page := intro + marker + b.String()
	if *update {
		if err := os.WriteFile(cliPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != string(content) {
		t.Errorf("%s is not what the commands are; run: go test ./cmd/trunkline -run Docs -update", cliPage)
	}
}

func describe(b *strings.Builder, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if !c.HasSubCommands() {
			about := c.Long
			if about == "" {
				about = c.Short + "."
			}
			fmt.Fprintf(b, "\n### %s\n\n%s\n\n```text\n%s\n", c.CommandPath(), about, c.UseLine())
			if flags := c.LocalFlags().FlagUsages(); flags != "" {
				fmt.Fprintf(b, "\n%s", flags)
			}
			if c.Example != "" {
				fmt.Fprintf(b, "\n%s\n", c.Example)
			}
			b.WriteString("```\n")
		}
		describe(b, c)
	}
}
