package gateway

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/loopback"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
)

const maxTimeout = time.Minute

// inward lets no header through but these; the mux itself adds authorization.
func inward(name string) (string, bool) {
	switch name {
	case requestid.Header, "Traceparent":
		return strings.ToLower(name), true
	}
	return "", false
}

func nothing(string) (string, bool) { return "", false }

// kept are the headers of a request that anything behind the gateway may see.
var kept = []string{"Authorization", "Accept", "Content-Type", requestid.Header, "Traceparent", "Last-Event-Id"}

// keep returns the headers that are let through.
func keep(in http.Header) http.Header {
	out := http.Header{}
	for _, name := range kept {
		if values := in.Values(name); len(values) > 0 {
			out[name] = values
		}
	}
	return out
}

// checkHeaders refuses values that no call can carry: those that are not visible ASCII.
func checkHeaders(in http.Header) error {
	for _, name := range []string{"Idempotency-Key", "Last-Event-Id"} {
		if !printable(in.Get(name)) {
			return rest.Wrong(name, "must be visible ASCII characters")
		}
	}
	if !printable(in.Get("Authorization")) {
		return rest.Refuse("TOKEN_INVALID", "authorization has bytes that are not visible ASCII characters", nil)
	}
	return nil
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

var grpcTimeout = regexp.MustCompile(`^([0-9]{1,8})([HMSmun])$`)

var timeoutUnits = map[string]time.Duration{
	"H": time.Hour, "M": time.Minute, "S": time.Second,
	"m": time.Millisecond, "u": time.Microsecond, "n": time.Nanosecond,
}

// timeoutOf returns what the caller asked for, or the default.
func timeoutOf(h http.Header, standard time.Duration) (time.Duration, *rest.Refusal) {
	values := h.Values("Grpc-Timeout")
	if len(values) == 0 {
		return standard, nil
	}
	if m := grpcTimeout.FindStringSubmatch(values[0]); m != nil && len(values) == 1 {
		n, _ := strconv.ParseInt(m[1], 10, 64) // at most eight digits
		if n > 0 && n <= int64(maxTimeout/timeoutUnits[m[2]]) {
			return time.Duration(n) * timeoutUnits[m[2]], nil
		}
	}
	return 0, rest.Wrong("Grpc-Timeout", "must be a number and a unit (H M S m u n), more than 0 and at most 60 seconds, such as 5S")
}

// lendKey says whether a caller without credentials gets the key of development mode: a program on
// this machine, or a page of this server. Another site's page must not, whatever name it gives this server (DNS rebinding).
// Neither must a caller that a proxy on this machine speaks for.
func lendKey(r *http.Request) bool {
	if !loopback.Peer(r.RemoteAddr) || !loopback.Host(r.Host) {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && loopback.Host(u.Host) && u.Port() == portOf(r.Host)
}

// LocalPage says whether a request comes from a page of this server or a program on this machine. By the same rules development mode lends its key.
func LocalPage(r *http.Request) bool { return lendKey(r) }

func portOf(host string) string {
	_, port, _ := net.SplitHostPort(host)
	return port
}
