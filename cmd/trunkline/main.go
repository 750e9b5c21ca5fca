// Command trunkline is the server and every tool for it. docs/cli.md lists its verbs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/trunkline/trunkline/internal/app"
)

// version is set by the build.
var version = "dev"

func main() {
	app.TakeLogs()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal is not caught: it ends the program at once. The server catches it, to say what it leaves.
	context.AfterFunc(ctx, stop)
	code := run(ctx, stream{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ()}, os.Args[1:])
	stop()
	os.Exit(code)
}
