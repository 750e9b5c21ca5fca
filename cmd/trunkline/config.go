package main

import (
	"github.com/spf13/cobra"

	"github.com/trunkline/trunkline/internal/app"
)

func (p *program) config() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and show the configuration", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(p.configCheck(), p.configShow(), p.configEnv())
	return cmd
}

func (p *program) configCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Say everything that is wrong with the configuration", Args: cobra.NoArgs,
		Long: `Read the configuration and build what serve builds, and say what is wrong, as serve does.
No port is taken, and nobody is asked. Exit code 3 when something is wrong.`,
	}
	load := p.settingsFrom(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if _, err := load(); err != nil {
			return err
		}
		if p.output != "table" {
			return p.writeJSON(map[string]bool{"ok": true})
		}
		_, err := p.out.Write([]byte("ok\n"))
		return err
	}
	return cmd
}

func (p *program) configShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Print every setting; secrets as dots", Args: cobra.NoArgs}
	load := p.settingsFrom(cmd)
	origin := cmd.Flags().Bool("origin", false, "also print where each comes from")
	cmd.RunE = func(*cobra.Command, []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		values := loaded.Values()
		var rows [][]string
		items := make([]any, len(values))
		for i, v := range values {
			row := []string{v.Key, v.Value}
			if *origin {
				row = append(row, v.Origin)
			}
			rows, items[i] = append(rows, row), v
		}
		return p.show(values, items, rows)
	}
	return cmd
}

func (p *program) configEnv() *cobra.Command {
	return &cobra.Command{
		Use: "env", Short: "List the environment variables", Args: cobra.NoArgs,
		Long: "List the environment variable of every setting. Each also has one with _FILE after its name, which names a file with the value.",
		RunE: func(*cobra.Command, []string) error {
			variables := app.Default().Variables()
			rows := make([][]string, len(variables))
			items := make([]any, len(variables))
			for i, v := range variables {
				rows[i], items[i] = []string{v.Name, v.Default, v.Doc}, v
			}
			return p.show(variables, items, rows)
		},
	}
}
