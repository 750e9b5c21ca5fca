package legacy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/internal/rest"
)

// HTTPConfig tunes an HTTP listener of an older system.
type HTTPConfig struct {
	// MaxBody is the largest request body, in bytes; as large as it was by default.
	MaxBody int64
	// BodyTimeout is how long a body may take to arrive; 10 s by default.
	BodyTimeout time.Duration
	// Timeout is how long a request may take; 10 s by default.
	Timeout time.Duration
}

// WithDefaults returns the config with what is not set, the largest body as given.
func (c HTTPConfig) WithDefaults(maxBody int64) HTTPConfig {
	if c.MaxBody <= 0 {
		c.MaxBody = maxBody
	}
	if c.BodyTimeout <= 0 {
		c.BodyTimeout = 10 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}

// ReadBody reads a request's body, whatever its type.
func (c HTTPConfig) ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, *rest.Refusal) {
	if r.ContentLength > c.MaxBody { // nobody waits for what is refused anyway
		w.Header().Set("Connection", "close")
		return nil, rest.TooLarge(c.MaxBody)
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(c.BodyTimeout)) // a writer without one has no connection to hold
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, c.MaxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, rest.TooLarge(c.MaxBody)
	}
	if err != nil {
		w.Header().Set("Connection", "close")
		return nil, rest.Refuse("DEADLINE_EXCEEDED", "the body did not arrive whole in time", nil).At(http.StatusRequestTimeout)
	}
	_ = control.SetReadDeadline(time.Time{})
	return body, nil
}

// Outgoing is the context of the calls for a request: they carry its id, and the credentials, which no original had.
func Outgoing(r *http.Request, id string) context.Context {
	ctx := metadata.AppendToOutgoingContext(r.Context(), "x-request-id", id)
	if a := r.Header.Get("Authorization"); a != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", a)
	}
	return ctx
}

// AllowEveryOrigin lets pages of every origin read the answer, as the originals did. It answers a preflight request, and
// then returns true.
func AllowEveryOrigin(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	h.Add("Vary", "Access-Control-Request-Headers")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}
