package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// checkDockerfile parses the file with BuildKit's own parser; its warnings are
// failures here.
func checkDockerfile(_ context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		return err
	}
	var problems []error
	for _, w := range parsed.Warnings {
		problems = append(problems, errors.New(w.Short))
	}
	rules := linter.New(&linter.Config{
		Warn: func(rule, _, _, message string, _ []parser.Range) {
			problems = append(problems, fmt.Errorf("%s: %s", rule, message))
		},
	})
	stages, _, err := instructions.Parse(parsed.AST, rules)
	if err != nil {
		return err
	}
	if len(stages) < 2 {
		problems = append(problems, errors.New("a build stage and a final stage are wanted"))
	}
	return errors.Join(problems...)
}
