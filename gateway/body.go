package gateway

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/rest"
)

// BodyLimit is how large a body has to be allowed for messages of at most payload bytes, and batches of at most message bytes. JSON
// spells a byte of text in up to six, and base64 spells three bytes in four.
func BodyLimit(payload, message int64) int64 {
	const rest = 1 << 20 // attributes, recipients and what is around them
	return max(6*payload, message/3*4) + rest
}

// read returns the body, decompressed, within its limits of type, size and time.
func (g *gateway) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	compressed, err := checkContent(r)
	if err != nil {
		return nil, err
	}
	limit := g.cfg.MaxBody
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout)) // a writer without one has no connection to hold
	if r.ContentLength > limit {
		return nil, tooLarge(w, limit)
	}
	raw, err := readAll(r.Body, limit, compressed)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, tooLarge(w, limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, rest.Refuse("DEADLINE_EXCEEDED", "the body did not arrive in time", nil).At(http.StatusRequestTimeout)
	case errors.Is(err, errNotGzip):
		return nil, rest.Invalid("INVALID_JSON", err.Error())
	case err != nil:
		return nil, rest.Invalid("INVALID_JSON", "the body did not arrive whole")
	}
	_ = control.SetReadDeadline(time.Time{})
	return raw, nil
}

var (
	errTooLarge = errors.New("too large")
	errNotGzip  = errors.New("the body is not gzip, as Content-Encoding says, or ends too early")
)

// readAll reads at most limit bytes, before and after decompression.
func readAll(from io.Reader, limit int64, compressed bool) ([]byte, error) {
	sent := &io.LimitedReader{R: from, N: limit + 1}
	if !compressed {
		raw, err := io.ReadAll(sent)
		if err == nil && sent.N == 0 {
			err = errTooLarge
		}
		return raw, err
	}
	faulty := &noting{Reader: sent}
	unzipped, err := gzip.NewReader(faulty)
	var raw []byte
	if err == nil {
		raw, err = io.ReadAll(io.LimitReader(unzipped, limit+1))
	}
	switch {
	case int64(len(raw)) > limit || sent.N == 0:
		return nil, errTooLarge
	case faulty.err != nil:
		return nil, faulty.err
	case err != nil:
		return nil, errNotGzip
	}
	return raw, nil
}

// noting keeps how its reader failed, which a decompressor does not always tell.
type noting struct {
	io.Reader
	err error
}

// Read reads, and notes a failure.
func (n *noting) Read(b []byte) (int, error) {
	k, err := n.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// tooLarge refuses a body for its size, and ends the connection.
func tooLarge(w http.ResponseWriter, limit int64) *rest.Refusal {
	w.Header().Set("Connection", "close")
	return rest.TooLarge(limit)
}

// checkContent accepts JSON in UTF-8, and says whether it is compressed. Command-line clients call JSON a form when they are not told,
// which is accepted from anything but a web page.
func checkContent(r *http.Request) (compressed bool, err error) {
	if e := r.Header.Values("Content-Encoding"); len(e) > 0 {
		switch kind := strings.ToLower(strings.TrimSpace(e[0])); {
		case len(e) == 1 && (kind == "gzip" || kind == "x-gzip"):
			compressed = true
		case len(e) > 1 || kind != "identity" && kind != "":
			return false, rest.MediaType("this content encoding is not spoken here; send gzip, or no Content-Encoding", strings.Join(e, ", "))
		}
	}
	all := r.Header.Values("Content-Type")
	if len(all) == 0 {
		return compressed, nil
	}
	kind, params, err := mime.ParseMediaType(all[0])
	form := kind == "application/x-www-form-urlencoded" && r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == ""
	if err != nil || len(all) > 1 || kind != "application/json" && !form {
		return false, rest.MediaType("this content type is not spoken here; send application/json", all[0])
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return false, rest.MediaType("the body must be UTF-8", all[0])
	}
	return compressed, nil
}
