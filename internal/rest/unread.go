package rest

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// drained is how much of a body is read on and thrown away after the answer. A client that writes its body before it reads
// would see a broken connection otherwise, and not why it was refused.
const drained = 64 << 20

// drainTimeout is how long a client may take for the rest of a body that nobody wants.
const drainTimeout = 5 * time.Second

// unread is the body of a request, and whether its end was seen.
type unread struct {
	io.Reader
	ended bool
}

// ReadOn serves with h, and then reads what h left of the request's body, so that the client comes to read the answer. It
// leaves a body alone where nothing is to be read on:
//   - there is no body, or more than is read on
//   - the client sends it only when it is asked to (RFC 9110, 10.1.1)
//   - the connection becomes something else
//   - the protocol ends one request without the others (RFC 9113, 8.1)
func ReadOn(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 || r.ContentLength > drained || r.ProtoMajor > 1 || r.Header.Get("Expect") != "" || r.Header.Get("Upgrade") != "" {
			h(w, r)
			return
		}
		body := &unread{Reader: r.Body}
		r.Body = body
		h(w, r)
		body.readOn(w)
	})
}

// Read reads, and notes the end.
func (u *unread) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	u.ended = u.ended || errors.Is(err, io.EOF)
	return n, err
}

// Close leaves the body open for readOn. The server closes it after the request.
func (*unread) Close() error { return nil }

// readOn sends the answer, and reads what is left of the body.
func (u *unread) readOn(w http.ResponseWriter) {
	if u.ended {
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(drainTimeout)) // a writer without one has no connection to hold
	_ = control.Flush()
	_, _ = io.CopyN(io.Discard, u.Reader, drained)
	_ = control.SetReadDeadline(time.Time{})
}
