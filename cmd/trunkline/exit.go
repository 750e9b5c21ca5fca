package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/client"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/rpc"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3
	exitDenied      = 4
	exitUnreachable = 5
	exitTimeout     = 6
	exitPartly      = 7
	exitInterrupted = 130
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// partly says that some of several messages were refused.
type partly struct{ refused, all int }

func (e partly) Error() string {
	return fmt.Sprintf("%d of %d messages were refused", e.refused, e.all)
}

// silent ends the program with a code; everything was said.
type silent int

func (e silent) Error() string { return fmt.Sprintf("exit %d", int(e)) }

var errInterrupted = errors.New("interrupted")

// finish says what went wrong, in one line and how to fix it, and returns the exit code.
func (p *program) finish(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[silent](err); ok {
		return int(code)
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		p.say("%v", problems)
		s := "s"
		if len(problems) == 1 {
			s = ""
		}
		p.say("%d problem%s, exit %d.   docs: docs/configuration.md", len(problems), s, exitConfig)
		return exitConfig
	}
	if errors.Is(err, errInterrupted) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if _, ok := errors.AsType[usageError](err); ok {
		p.say("error: %v", err)
		p.say("fix: %s --help", p.verb)
		return exitUsage
	}
	if _, ok := errors.AsType[partly](err); ok {
		p.say("error: %v", err)
		return exitPartly
	}
	reason, message := reasonOf(err)
	p.say("error: %s", message)
	if fix := p.fix(reason); fix != "" {
		p.say("fix: %s", fix)
	}
	switch rpc.Code(reason) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return exitDenied
	case codes.Unavailable:
		return exitUnreachable
	case codes.DeadlineExceeded:
		return exitTimeout
	}
	return exitFailed
}

func (p *program) say(format string, args ...any) { _, _ = fmt.Fprintf(p.err, format+"\n", args...) }

// failure is an error that has a reason of the catalogue.
type failure struct {
	reason  string
	message string
}

func (e failure) Error() string { return e.message }

// reasonOf returns the reason of a refusal, empty for an error of our own, and the line to print.
func reasonOf(err error) (reason, message string) {
	var own failure
	var refused *client.Error
	switch {
	case errors.As(err, &own):
		return own.reason, err.Error()
	case errors.As(err, &refused):
		return refused.Reason, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "DEADLINE_EXCEEDED", "the server did not answer in time"
	}
	return "", err.Error()
}

// remote turns the error of a call into a failure.
func (p *program) remote(err error) error {
	if err == nil {
		return nil
	}
	e := rpc.FromError(err)
	message := e.Reason + ": " + e.Message
	if e.Reason == "UNAVAILABLE" && e.Metadata == nil {
		message = "no server answers at " + p.dialled
	}
	if e.Reason == "INTERNAL" {
		message = e.Detail()
	}
	return failure{reason: e.Reason, message: message}
}

func (p *program) fix(reason string) string {
	switch {
	case reason == "TOKEN_MISSING":
		return "pass --token, or set TRUNKLINE_TOKEN, to an API key or a token"
	case reason == "API_KEY_INVALID":
		return "the server knows no such key; see api_keys in its configuration"
	case reason == "TOKEN_EXPIRED":
		return "get a new one: trunkline token create"
	case reason == "UNAVAILABLE":
		return "start one with: trunkline serve --dev; or say where it is: --server URL --grpc HOST:PORT"
	case reason == "AUTH_UNAVAILABLE", reason == "STORE_UNAVAILABLE", reason == "REPLICAS_MISSING":
		return "ask the server what it misses: curl http://localhost:9091/readyz?verbose on its host"
	case reason == "POSITION_EXPIRED":
		return "leave the position out, or begin with --from-beginning"
	case strings.HasSuffix(reason, "_DENIED") && reason != "PERMISSION_DENIED":
		return "use credentials that grant it, such as: trunkline token create --sub NAME --pub NAME"
	}
	return ""
}
