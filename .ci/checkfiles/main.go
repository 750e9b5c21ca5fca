// Command checkfiles reads docker-compose.yml, its override and the Dockerfile as Docker
// would and fails on what Docker would refuse, where no Docker is at hand.
//
// Usage: checkfiles ROOT.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: checkfiles ROOT")
		os.Exit(2)
	}
	root, failed := os.Args[1], false
	compose := func(ctx context.Context, path string) error { return checkCompose(ctx, path) }
	for name, check := range map[string]func(context.Context, string) error{
		"docker-compose.yml": compose,
		"deploy/legacy.yaml": func(ctx context.Context, path string) error {
			return checkCompose(ctx, filepath.Join(root, "docker-compose.yml"), path)
		},
		"Dockerfile": checkDockerfile,
	} {
		if err := check(context.Background(), filepath.Join(root, name)); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
	fmt.Println("docker-compose.yml, deploy/legacy.yaml over it, and Dockerfile are well formed")
}
