package events

import (
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/trunkline/trunkline/internal/hooks"
)

// newClient returns a client that follows no redirect, uses no proxy and, unless private ones are allowed, reaches public
// addresses alone. They are checked when a connection is made, after the name was resolved: a name that means another
// address the next time changes nothing.
func newClient(allowPrivate bool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !allowPrivate {
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return hooks.CheckPublic(address) }
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second, DisableCompression: true, ForceAttemptHTTP2: true,
		},
	}
}

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 64 << 10
