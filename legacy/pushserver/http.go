package pushserver

import (
	"bytes"
	"context"
	_ "embed" // of the script
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
	"github.com/trunkline/trunkline/legacy"
)

// NewHTTP returns the handler of the older push server's publisher API and of the script for its pages. Paths
// are prefixes and any method will do, as they were. conn must send no credentials of its own. The handler is safe for
// concurrent use.
func NewHTTP(conn grpc.ClientConnInterface, cfg legacy.HTTPConfig) http.Handler {
	return &publisherAPI{client: legacyv1.NewPushServerServiceClient(conn), cfg: cfg.WithDefaults(maxBodyRest)}
}

type publisherAPI struct {
	client legacyv1.PushServerServiceClient
	cfg    legacy.HTTPConfig
}

// pushAnswer is what the older server answers.
type pushAnswer struct {
	Type    string `json:"messageType"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data"`
}

// pushTrouble is the data of an ERROR.
type pushTrouble struct {
	Details *string `json:"errorDetails"`
}

func pushError(code int, message, details string) *pushAnswer {
	return &pushAnswer{Type: "ERROR", Code: code, Message: message, Data: pushTrouble{&details}}
}

// pushAck answers what was done to a channel. The token is null but for the channel that was created.
func pushAck(message, channel string, token *string) *pushAnswer {
	type data struct {
		Channel string  `json:"channel"`
		Token   *string `json:"channelToken"`
	}
	return &pushAnswer{Type: "SERVER_ACK", Code: http.StatusOK, Message: message, Data: data{channel, token}}
}

// ServeHTTP finds the path's handler.
func (s *publisherAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	id := requestid.Of(w, r)
	path := r.URL.Path
	if strings.HasPrefix(path, "/js/pushserver.js") {
		writeScript(w)
		return
	}
	ctx, cancel := context.WithTimeout(legacy.Outgoing(r, id), s.cfg.Timeout)
	defer cancel()
	var answer *pushAnswer
	switch do := pushActionOf(path); {
	case do != nil:
		answer = s.act(ctx, w, r, do)
	case strings.HasPrefix(path, "/sysadmin"):
		answer = s.statistics(ctx)
	default:
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<h1>404 Not Found</h1>No context found for request")
		return
	}
	answer.write(w)
}

// write answers with the status that the body tells.
func (a *pushAnswer) write(w http.ResponseWriter) {
	b, err := json.Marshal(a)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError) // texts and numbers always encode
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	switch a.Code {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(a.Code)
	_, _ = w.Write(b)
}

// act reads the message of a request and carries it out.
func (s *publisherAPI) act(ctx context.Context, w http.ResponseWriter, r *http.Request, do *pushAction) *pushAnswer {
	body, refused := s.cfg.ReadBody(w, r)
	if refused != nil {
		return pushError(refused.HTTP, http.StatusText(refused.HTTP), refused.Message)
	}
	if len(bytes.TrimSpace(body)) > 0 && (!json.Valid(body) || !utf8.Valid(body)) { // text after the value included
		return pushError(http.StatusBadRequest, "Bad Request", string(bytes.ToValidUTF8(body, []byte("\ufffd"))))
	}
	m, ok := do.read(body)
	if !ok {
		return pushError(http.StatusBadRequest, "Bad Request", "Invalid message")
	}
	answer, err := do.call(ctx, s.client, m)
	if err != nil {
		return pushRefusal(err)
	}
	return answer
}

// pushRefusal is the ERROR of a refused call. The sentences of refusals that the older server knew are its own, made by
// the service; of what went wrong inside, nothing is told.
func pushRefusal(err error) *pushAnswer {
	e := rest.FromError(err)
	switch e.Reason() {
	case "CHANNEL_NOT_FOUND":
		return pushError(http.StatusNotFound, "Not found", e.Message)
	case "MESSAGE_TOO_LARGE":
		e.HTTP = http.StatusRequestEntityTooLarge
	}
	if e.HTTP == http.StatusInternalServerError {
		return &pushAnswer{Type: "ERROR", Code: e.HTTP, Message: http.StatusText(e.HTTP), Data: pushTrouble{}}
	}
	return pushError(e.HTTP, http.StatusText(e.HTTP), e.Message)
}

// statistics collects the pages.
func (s *publisherAPI) statistics(ctx context.Context) *pushAnswer {
	type data struct {
		Channels []string `json:"channels"`
		Number   int      `json:"channelsAmount"`
		Clients  int32    `json:"clientsAmount"`
	}
	d := data{Channels: []string{}}
	req := &legacyv1.GetPushStatisticsRequest{}
	for {
		resp, err := s.client.GetPushStatistics(ctx, req)
		if err != nil {
			return pushRefusal(err)
		}
		d.Channels = append(d.Channels, resp.GetChannels()...)
		d.Clients = resp.GetClientsAmount()
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	d.Number = len(d.Channels)
	return &pushAnswer{Type: "SERVER_SYSADMIN", Code: http.StatusOK, Message: "OK", Data: d}
}

// pushScript is our own script for the pages of the push protocol.
//
//go:embed pushserver.js
var pushScript []byte

func writeScript(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(pushScript)))
	h.Set("Cache-Control", "no-cache")
	h.Set("Access-Control-Allow-Origin", "*") // pages of any origin may load it, also as a module
	_, _ = w.Write(pushScript)
}
