package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	"github.com/trunkline/trunkline/internal/refusal"
)

// Error is a refusal of the server.
type Error struct {
	// Reason is a name of the catalogue, such as CHANNEL_SUBSCRIBE_DENIED.
	Reason string
	// Message is one sentence for people.
	Message string
	// Metadata is facts about the refusal.
	Metadata map[string]string
	// RetryAfter is set when trying again later can help.
	RetryAfter time.Duration
	// Close is the close code when the refusal ended the connection.
	Close int
	// HTTP is the status when the handshake was refused.
	HTTP int
}

// Error returns the reason and the sentence.
func (e *Error) Error() string { return e.Reason + ": " + e.Message }

// Is says whether target is an Error with the same reason.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Reason == e.Reason
}

var (
	// ErrLost says that the connection was lost before the answer came: whether the command was carried out is not known.
	ErrLost = errors.New("the connection was lost before the answer came")
	// ErrClosed says that Run has returned.
	ErrClosed = errors.New("the client has ended")
)

func refused(p *errorsv1.Error) *Error {
	return &Error{
		Reason: p.GetReason(), Message: p.GetMessage(), Metadata: p.GetMetadata(), RetryAfter: p.GetRetryDelay().AsDuration(),
	}
}

// tokenError says that the Token function failed.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "get a token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// permanent says whether coming back unchanged would be refused again.
func permanent(err error) bool {
	var e *Error
	if !errors.As(err, &e) || errors.As(err, new(*ticketError)) {
		return false // the next connect carries a token
	}
	switch {
	case errors.As(err, new(*tokenError)):
		return e.RetryAfter == 0
	case e.RetryAfter > 0:
		return false
	case refusal.Known(e.Reason) && (e.Close != 0 || e.HTTP == refusal.Of(e.Reason).HTTP):
		return refusal.Of(e.Reason).Retry == refusal.Stop // an expired token is replaced by the next one
	case e.Close == websocket.CloseMessageTooBig, e.Close == websocket.CloseProtocolError:
		return true
	}
	return e.Close != 0 && refusal.OfClose(e.Close) == refusal.Stop || wrongRequest(e.HTTP)
}

// wrongRequest says whether a status without a reason of ours, such as that of a proxy, blames the request. The class 4xx of
// RFC 9110 does, without the statuses that ask for a repeat.
func wrongRequest(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status/100 == 4
}

func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// dialError reads the answer of a refused handshake.
func dialError(resp *http.Response, err error) error {
	if resp == nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	e := &Error{Reason: "UNAVAILABLE", Message: "the handshake was answered with " + resp.Status, HTTP: resp.StatusCode}
	var body struct {
		Error struct {
			Message string `json:"message"`
			Details []struct {
				Reason   string            `json:"reason"`
				Metadata map[string]string `json:"metadata"`
			} `json:"details"`
		} `json:"error"`
	}
	if content, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)); json.Unmarshal(content, &body) == nil && body.Error.Message != "" {
		e.Message = body.Error.Message
		for _, d := range body.Error.Details {
			if d.Reason != "" {
				e.Reason, e.Metadata = d.Reason, d.Metadata
			}
		}
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds < 3600 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// lostError joins what the last error frame said with how the connection ended.
func lostError(last *Error, err error) error {
	var closed *websocket.CloseError
	code := 0
	if errors.As(err, &closed) {
		code = closed.Code
	}
	if last != nil && code != 0 {
		last.Close = code
		return last
	}
	if code >= 4000 { // the codes of applications (RFC 6455, 7.4.2), which a proxy does not use
		return &Error{Reason: closed.Text, Message: "the server closed the connection", Close: code}
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("connection lost: %w", err)
}

// ticketError says that a connect by ticket was refused.
type ticketError struct{ err error }

func (e *ticketError) Error() string { return "connect by ticket: " + e.err.Error() }

func (e *ticketError) Unwrap() error { return e.err }
