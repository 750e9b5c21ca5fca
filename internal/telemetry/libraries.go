package telemetry

import (
	"fmt"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/grpclog"
)

// newest is the log of the newest Telemetry, where libraries speak.
var newest atomic.Pointer[slog.Logger]

// TakeLibraries gives a log to libraries that have one for the whole process: gRPC, and whatever uses the standard log. They would
// write lines of their own form to stderr. Call it before anything else: gRPC reads its logger without a lock.
func TakeLibraries() {
	grpclog.SetLoggerV2(grpcLog{})
	log.SetFlags(0)
	log.SetOutput(standardLog{})
}

// said logs a sentence of a library; nothing before there is a log.
func said(level func(*slog.Logger, string, ...any), library, text string) {
	if l := newest.Load(); l != nil {
		level(l, "a library said", slog.String("library", library), slog.String("said", strings.TrimSpace(text)))
	}
}

// warn bounds how often libraries warn: they do it as often as something fails.
var warn = rate.NewLimiter(rate.Every(10*time.Second), 5)

// warned logs a sentence as a warning, or at the level debug when there were many.
func warned(library, text string) {
	if warn.Allow() {
		said((*slog.Logger).Warn, library, text)
		return
	}
	said((*slog.Logger).Debug, library, text)
}

// standardLog takes what is written to the standard log. What a caller has to know is in errors.
type standardLog struct{}

// Write logs at the level debug.
func (standardLog) Write(b []byte) (int, error) {
	said((*slog.Logger).Debug, "standard log", string(b))
	return len(b), nil
}

// grpcLog takes the errors of gRPC as warnings, as callers are answered all the same. Its warnings are news only to a reader that
// looks for them, and the rest is about every connection.
type grpcLog struct{}

// Info drops it.
func (grpcLog) Info(...any) {}

// Infoln drops it.
func (grpcLog) Infoln(...any) {}

// Infof drops it.
func (grpcLog) Infof(string, ...any) {}

// Warning logs at the level debug.
func (grpcLog) Warning(args ...any) { said((*slog.Logger).Debug, "grpc", fmt.Sprint(args...)) }

// Warningln logs at the level debug.
func (grpcLog) Warningln(args ...any) { said((*slog.Logger).Debug, "grpc", fmt.Sprintln(args...)) }

// Warningf logs at the level debug.
func (grpcLog) Warningf(format string, args ...any) {
	said((*slog.Logger).Debug, "grpc", fmt.Sprintf(format, args...))
}

// Error logs at the level warn.
func (grpcLog) Error(args ...any) { warned("grpc", fmt.Sprint(args...)) }

// Errorln logs at the level warn.
func (grpcLog) Errorln(args ...any) { warned("grpc", fmt.Sprintln(args...)) }

// Errorf logs at the level warn.
func (grpcLog) Errorf(format string, args ...any) {
	warned("grpc", fmt.Sprintf(format, args...))
}

// Fatal panics: gRPC counts on it not to return.
func (grpcLog) Fatal(args ...any) { panic("grpc: " + fmt.Sprint(args...)) }

// Fatalln panics.
func (grpcLog) Fatalln(args ...any) { panic("grpc: " + fmt.Sprintln(args...)) }

// Fatalf panics.
func (grpcLog) Fatalf(format string, args ...any) { panic("grpc: " + fmt.Sprintf(format, args...)) }

// V says that nothing is told in more detail.
func (grpcLog) V(int) bool { return false }
