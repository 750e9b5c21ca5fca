package door

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/internal/refusal"
)

// Refused is the answer of a server that does not do what it was asked.
type Refused struct {
	Reason, Message string
	// Again says that the same request may be answered otherwise later; After is when, if the server says so.
	Again bool
	After time.Duration
}

// Error returns the reason and the sentence.
func (r *Refused) Error() string { return r.Reason + ": " + r.Message }

// Denied says whether an error is the refusal of somebody who has not the right.
func Denied(err error) bool {
	r, ok := errors.AsType[*Refused](err)
	return ok && refusal.Of(r.Reason).Code == refusal.PermissionDenied
}

// Unauthenticated says whether an error is the refusal of a credential.
func Unauthenticated(err error) bool {
	r, ok := errors.AsType[*Refused](err)
	return ok && refusal.Of(r.Reason).Code == refusal.Unauthenticated
}

// Final says whether an error is a refusal that stays. Everything else leaves open what has happened.
func Final(err error) bool {
	r, ok := errors.AsType[*Refused](err)
	return ok && !r.Again
}

// Wait is how long a server asks to wait; 0 when it does not say.
func Wait(err error) time.Duration {
	if r, ok := errors.AsType[*Refused](err); ok {
		return r.After
	}
	return 0
}

func again(reason string, after time.Duration) bool {
	return after > 0 || !refusal.Known(reason) || refusal.Of(reason).Retry == refusal.Again
}

// ofStatus reads the status of a call over gRPC.
func ofStatus(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	r := &Refused{Reason: refusal.Bare(refusal.Code(s.Code())).Reason, Message: s.Message()}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			r.After = d.GetRetryDelay().AsDuration()
		case *errdetails.ErrorInfo:
			r.Reason = d.GetReason()
		}
	}
	r.Again = again(r.Reason, r.After)
	return r
}

// body is an error as REST and event streams write it.
type body struct {
	Error struct {
		Message string
		Details []struct{ Reason, RetryDelay string }
	}
}

// ofREST reads an answer that is no success. One without a reason comes from something between.
func ofREST(status int, header http.Header, content []byte) error {
	var b body
	r := &Refused{Reason: "UNAVAILABLE", Message: "the answer is " + strconv.Itoa(status) + " " + http.StatusText(status)}
	if json.Unmarshal(content, &b) == nil && b.Error.Message != "" {
		r.Message = b.Error.Message
	}
	known := false
	for _, d := range b.Error.Details {
		if d.Reason != "" {
			r.Reason, known = d.Reason, true
		}
		if after, err := time.ParseDuration(d.RetryDelay); err == nil {
			r.After = after
		}
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 && r.After == 0 {
		r.After = time.Duration(seconds) * time.Second
	}
	r.Again = again(r.Reason, r.After)
	if !known && status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
		r.Again = false
		if status == http.StatusNotFound {
			r.Message += "; is this the URL of the server?"
		}
	}
	return r
}

// failure is an error as a frame has it.
type failure struct{ Reason, Message, RetryDelay string }

func (f failure) refused() error {
	after, _ := time.ParseDuration(f.RetryDelay)
	return &Refused{Reason: f.Reason, Message: f.Message, After: after, Again: again(f.Reason, after)}
}

// Short is an error in one line, without what is in it twice.
func Short(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return text
}
