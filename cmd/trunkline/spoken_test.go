package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// typed are the commands that pages have within a sentence, or as an example of a verb.
var typed = regexp.MustCompile("(?m)`trunkline ([^`\n]+)`|^  (?:[^`\n]*\\| )?trunkline ([^`\n]+)$")

// word is one of a command: bare, or in quotes.
var word = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)

// Whatever a page tells to type is a command that there is: the verb, its flags and the number of its arguments.
// What stands in blocks of sh and console is run by a test of docs.
func TestPages_commandsExist(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/languages/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	tried := 0
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range typed.FindAllStringSubmatch(string(b), -1) {
			tried++
			command, _, _ := strings.Cut(m[1]+m[2], " <")
			if err := understood(command); err != nil {
				t.Errorf("%s: trunkline %s: %v", page, command, err)
			}
		}
	}
	if tried < 40 {
		t.Errorf("%d commands were found", tried)
	}
}

// understood returns why a command is none, without running it. A verb alone is named, not typed.
func understood(command string) error {
	var args []string
	for _, w := range word.FindAllString(command, -1) {
		args = append(args, strings.Trim(w, `'"`))
	}
	cmd, rest, err := (&program{}).root().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if !cmd.HasSubCommands() && len(rest) == 0 {
		return nil
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}
