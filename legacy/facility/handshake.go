package facility

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/origin"
	table "github.com/trunkline/trunkline/internal/refusal"
	"github.com/trunkline/trunkline/services/edge/dialect"
)

type flawKey struct{}

// flawed is a handshake that is refused in words of the older server. text may repeat what the client sent.
func flawed(status int, text string) *bus.Error {
	return &bus.Error{Reason: bus.ErrProtocol.Reason, Message: text, Metadata: map[string]string{"status": strconv.Itoa(status)}}
}

// flawOf returns what Check has found wrong with the WebSocket part of a handshake, which is told after who connects was asked.
func flawOf(r *http.Request) *bus.Error {
	e, _ := r.Context().Value(flawKey{}).(*bus.Error)
	return e
}

// Check answers what is no handshake, in the order and the words of the older server. A version or a key that is wrong is
// left for later, because who may not connect is told that first.
func (f *Socket) Check(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case !strings.HasPrefix(r.URL.Path, f.cfg.Path):
		f.RefuseHandshake(w, flawed(http.StatusNotFound, "there is nothing here; sockets are at "+f.cfg.Path+"FACILITY"))
		return false
	case r.Method != http.MethodGet:
		f.RefuseHandshake(w, flawed(http.StatusBadRequest, "HTTP method must be a GET"))
		return false
	case r.ProtoMajor != 1 || r.ProtoMinor != 1:
		f.RefuseHandshake(w, flawed(http.StatusBadRequest, "HTTP server protocol must be 1.1"))
		return false
	case !strings.EqualFold(strings.TrimSpace(r.Header.Get("Upgrade")), "websocket"):
		f.RefuseHandshake(w, flawed(http.StatusBadRequest, "Client does not wish to upgrade to a websocket"))
		return false
	}
	if flaw := handshakeFlaw(r); flaw != nil {
		*r = *r.WithContext(context.WithValue(r.Context(), flawKey{}, flaw))
		r.Header.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(make([]byte, 16)))
	}
	// What the older server did not look at, and versions that are the same to a server.
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	return true
}

func handshakeFlaw(r *http.Request) *bus.Error {
	version, key := r.Header.Get("Sec-WebSocket-Version"), r.Header.Get("Sec-WebSocket-Key")
	switch strings.TrimSpace(version) {
	case "13", "8", "7":
	case "":
		return flawed(http.StatusUpgradeRequired, "")
	default:
		return flawed(http.StatusBadRequest, "Unsupported WebSocket Version: "+version)
	}
	if key == "" {
		return flawed(http.StatusBadRequest, "Sec-WebSocket-Key header is missing/empty")
	}
	if b, err := base64.StdEncoding.DecodeString(key); err != nil || len(b) != 16 {
		return flawed(http.StatusBadRequest, "Invalid key: "+key)
	}
	return nil
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// RefuseHandshake answers a handshake that is refused: the sentence alone, as text/html, and the connection is closed.
func (f *Socket) RefuseHandshake(w http.ResponseWriter, e *bus.Error) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Connection", "close")
	status, err := strconv.Atoi(e.Metadata["status"])
	if err != nil {
		status = statusOf(e)
	}
	if status == http.StatusUpgradeRequired {
		h.Set("Sec-WebSocket-Version", "13, 8, 7")
	}
	dialect.SetRetryAfter(h, e)
	body := escaper.Replace(e.Message)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client may be gone
}

// statusOf returns the status of a refusal that is not of the handshake itself: 403 for everybody who may not connect.
func statusOf(e *bus.Error) int {
	if code := table.Of(e.Reason).HTTP; code != http.StatusUnauthorized {
		return code
	}
	return http.StatusForbidden
}

// subprotocol returns the first that the client offers: browsers refuse a list for an answer.
func subprotocol(r *http.Request) string {
	first, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ",")
	first = strings.TrimSpace(first)
	for i := range len(first) {
		if c := first[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return ""
		}
	}
	return first
}

// sameSite says whether a page may connect: cookies are sent to every port of a host name, so that is what counts.
func (f *Socket) sameSite(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 || f.allowed.Every() {
		return true // no page, or any
	}
	page, ok := origin.Of(origins[0])
	if !ok || len(origins) > 1 {
		return false
	}
	server, ok := origin.Of("http://" + r.Host)
	return f.allowed.Allows(page) || ok && page.IsWeb() && page.Hostname() == server.Hostname()
}
