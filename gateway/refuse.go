package gateway

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/trunkline/trunkline/internal/payload"
	table "github.com/trunkline/trunkline/internal/refusal"
)

const domain = "trunkline"

// refusal is why a request is refused. Those of the gateway itself are made by refuse, those of a
// service are read from its status.
type refusal struct {
	http    int
	status  string // the name of the canonical code
	message string
	details []proto.Message
	retry   time.Duration
	// allow is the Allow header of a 405.
	allow string
}

// Error returns the sentence for the caller.
func (e *refusal) Error() string { return e.message }

func refuse(httpStatus int, code codes.Code, reason, message string, metadata map[string]string) *refusal {
	return &refusal{
		http: httpStatus, status: codeName(code), message: message,
		details: []proto.Message{&errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: metadata}},
	}
}

// invalid refuses wrong fields, all of them at once.
func invalid(reason, message string, fields ...*errdetails.BadRequest_FieldViolation) *refusal {
	var metadata map[string]string
	if reason == "UNKNOWN_FIELD" && len(fields) > 0 {
		metadata = map[string]string{"field": fields[0].GetField()}
	}
	e := refuse(http.StatusBadRequest, codes.InvalidArgument, reason, message, metadata)
	if len(fields) > 0 {
		e.details = append(e.details, &errdetails.BadRequest{FieldViolations: fields})
	}
	return e
}

func wrong(field, description string) *refusal {
	return invalid("FIELD_INVALID", field+": "+description, &errdetails.BadRequest_FieldViolation{Field: field, Description: description})
}

func addressInvalid(message string) *refusal { return invalid("ADDRESS_INVALID", message) }

func noRoute() *refusal {
	e := refuse(http.StatusNotFound, codes.NotFound, "METHOD_UNKNOWN", "there is no such route; /docs lists them", nil)
	return e
}

func tooLarge(limit int64) *refusal {
	text := strconv.FormatInt(limit, 10)
	return refuse(http.StatusRequestEntityTooLarge, codes.InvalidArgument, "MESSAGE_TOO_LARGE",
		"the body is larger than "+text+" bytes", map[string]string{"limit": text})
}

func mediaType(message, contentType string) *refusal {
	if len(contentType) > 100 {
		contentType = contentType[:100]
	}
	return refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", message,
		map[string]string{"contentType": contentType})
}

func codeName(c codes.Code) string { return table.Code(c).String() }

// refusalOf reads any error as a refusal.
func refusalOf(err error) *refusal {
	var own *refusal
	if errors.As(err, &own) {
		return own
	}
	var unread *payload.Error
	if errors.As(err, &unread) {
		fields := make([]*errdetails.BadRequest_FieldViolation, len(unread.Violations))
		for i, v := range unread.Violations {
			fields[i] = &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description}
		}
		return invalid(unread.Kind.Reason(), unread.Message, fields...)
	}
	return fromStatus(status.Convert(err))
}

func fromStatus(s *status.Status) *refusal {
	e := &refusal{status: codeName(s.Code()), message: s.Message()}
	known := false
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			known = known || d.GetDomain() == domain
			e.http = table.Of(d.GetReason()).HTTP
			e.details = append(e.details, d)
		case *errdetails.RetryInfo:
			e.retry = d.GetRetryDelay().AsDuration()
			e.details = append(e.details, d)
		case proto.Message:
			e.details = append(e.details, d)
		}
	}
	if known {
		return e
	}
	// The text of a status that gRPC itself made speaks of connections, and is not for callers.
	row := table.Bare(table.Code(s.Code()))
	return refuse(row.HTTP, codes.Code(row.Code), row.Reason, row.Sentence, nil)
}

// body returns the JSON form, with the request id among the details.
func (e *refusal) body(requestID string) []byte {
	type inner struct {
		Code    int               `json:"code"`
		Status  string            `json:"status"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	out := inner{Code: e.http, Status: e.status, Message: e.message}
	details := e.details
	if requestID != "" && !has[*errdetails.RequestInfo](details) {
		details = append(details[:len(details):len(details)], &errdetails.RequestInfo{RequestId: requestID})
	}
	for _, d := range details {
		packed, err := anypb.New(d)
		if err != nil {
			continue
		}
		if raw, err := payload.Marshal(packed); err == nil {
			out.Details = append(out.Details, raw)
		}
	}
	b, _ := json.Marshal(map[string]inner{"error": out}) // strings and valid JSON alone
	return b
}

func has[T proto.Message](details []proto.Message) bool {
	for _, d := range details {
		if _, ok := d.(T); ok {
			return true
		}
	}
	return false
}

// write answers with the refusal.
func (e *refusal) write(w http.ResponseWriter, requestID string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	switch e.http {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.retry.Seconds())))))
	}
	w.WriteHeader(e.http)
	_, _ = w.Write(e.body(requestID)) //nolint:gosec // JSON with a JSON content type and nosniff
}
