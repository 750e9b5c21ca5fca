package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// checkCompose loads the files, a later one over those before, with Docker Compose's own library. Then it looks at what only shows when the containers start.
// These are files that are mounted, and services that wait for the health of one that has no health check.
func checkCompose(ctx context.Context, paths ...string) error {
	options, err := cli.NewProjectOptions(paths, cli.WithName("trunkline"))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for _, s := range project.Services {
		if s.Build == nil && s.Image == "" {
			problems = append(problems, fmt.Errorf("service %s has neither image nor build", s.Name))
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				problems = append(problems, fmt.Errorf("service %s mounts a file that is not there: %w", s.Name, err))
			}
		}
		for name, d := range s.DependsOn {
			other := project.Services[name]
			if d.Condition == types.ServiceConditionHealthy && other.HealthCheck == nil {
				problems = append(problems, fmt.Errorf("service %s waits for the health of %s, which has no health check", s.Name, name))
			}
		}
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				problems = append(problems, fmt.Errorf("service %s: %w", s.Name, err))
			}
		}
	}
	return errors.Join(problems...)
}
