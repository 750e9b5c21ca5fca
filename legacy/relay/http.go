package relay

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // names an answer, secures nothing
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
	"github.com/trunkline/trunkline/legacy"
)

// NewHTTP returns the handler of the older relay's token server: GET /token, GET /auth/{token} and
// POST /publish, read as liberally as the original reads them. What crashed the original or showed
// its insides gets a clear answer instead. conn must send no credentials of its own. The handler is
// safe for concurrent use.
func NewHTTP(conn grpc.ClientConnInterface, cfg legacy.HTTPConfig) http.Handler {
	return &tokenServer{client: legacyv1.NewRelayServiceClient(conn), cfg: cfg.WithDefaults(maxRecord)}
}

type tokenServer struct {
	client legacyv1.RelayServiceClient
	cfg    legacy.HTTPConfig
}

// ServeHTTP answers pages of every origin, as the original does.
func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if legacy.AllowEveryOrigin(w, r) {
		return
	}
	id := requestid.Of(w, r)
	ctx, cancel := context.WithTimeout(legacy.Outgoing(r, id), s.cfg.Timeout)
	defer cancel()
	answer, err := s.route(ctx, w, r)
	if err != nil {
		rest.FromError(err).Write(w, id)
		return
	}
	writeRelay(w, answer)
}

// route finds the handler. It reads paths without regard to case or to one slash at the end, and a token may hold an encoded
// slash.
func (s *tokenServer) route(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	name, token, nested := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case read && !nested && strings.EqualFold(name, "token"):
		res, err := s.client.CreateRelayToken(ctx, &legacyv1.CreateRelayTokenRequest{})
		return map[string]string{"token": res.GetToken()}, err
	case read && nested && strings.EqualFold(name, "auth") && token != "" && !strings.Contains(token, "/"):
		token, err := url.PathUnescape(token)
		if err != nil || !utf8.ValidString(token) {
			return nil, rest.Wrong("token", "is not well-formed percent-encoded UTF-8")
		}
		res, err := s.client.CheckRelayToken(ctx, &legacyv1.CheckRelayTokenRequest{Token: token})
		return map[string]bool{"auth": res.GetAuth()}, err
	case r.Method == http.MethodPost && !nested && strings.EqualFold(name, "publish"):
		record, err := s.record(w, r)
		if err != nil {
			return nil, err
		}
		_, err = s.client.PublishArticle(ctx, &legacyv1.PublishArticleRequest{Record: record})
		return map[string]bool{"status": true}, err
	}
	return nil, rest.NoRoute("there are GET /token, GET /auth/{token} and POST /publish")
}

// writeRelay answers as Express does: with the charset and a weak ETag.
func writeRelay(w http.ResponseWriter, answer any) {
	b, err := json.Marshal(answer)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	sum := sha1.Sum(b) //nolint:gosec // see above
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("ETag", fmt.Sprintf(`W/"%x-%s"`, len(b), base64.StdEncoding.EncodeToString(sum[:])[:27]))
	_, _ = w.Write(b)
}

// record returns the body of a publish as compact JSON. A type that is neither JSON nor a form, and
// no body at all, count as an empty record.
func (s *tokenServer) record(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded" {
		return []byte("{}"), nil //nolint:nilerr // another type of content counts as an empty record
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") {
		return nil, rest.MediaType("the body must be UTF-8", r.Header.Get("Content-Type"))
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, rest.MediaType("the body is encoded; send it without Content-Encoding", e)
	}
	raw, refused := s.cfg.ReadBody(w, r)
	if refused != nil {
		return nil, refused
	}
	if kind != "application/json" {
		return formJSON(string(raw))
	}
	raw = bytes.TrimSpace(bytes.TrimPrefix(bytes.ToValidUTF8(raw, []byte("\ufffd")), []byte("\ufeff")))
	if len(raw) == 0 {
		return []byte("{}"), nil
	}
	if raw[0] != '{' && raw[0] != '[' {
		return nil, rest.Invalid("INVALID_JSON", "the body must be a JSON object or list")
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return nil, rest.Invalid("INVALID_JSON", "the body is not JSON")
	}
	return line.Bytes(), nil
}
