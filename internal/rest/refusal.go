// Package rest is the way in which HTTP surfaces refuse: a status, and an error as google.rpc.Status has it in JSON.
package rest

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/trunkline/trunkline/internal/payload"
	table "github.com/trunkline/trunkline/internal/refusal"
)

const (
	domain    = "trunkline"
	ownDetail = "trunkline.errors.v1.Error"
)

// Refusal is why a request is refused. Those of an HTTP surface itself are made by Refuse, those of a
// service are read from its status.
type Refusal struct {
	// HTTP is the status of the answer, and Status the name of the canonical code.
	HTTP   int
	Status string
	// Message is the sentence for the caller.
	Message string
	// Retry is how long the caller is to wait; 0 when nothing is known of it.
	Retry time.Duration
	// Allow is the Allow header of a 405.
	Allow string

	details []proto.Message
}

// Error returns the sentence for the caller.
func (e *Refusal) Error() string { return e.Message }

// Refuse returns the refusal of a reason, as its row in the table has it. A message that is not empty says more than the sentence
// of the row.
func Refuse(reason, message string, metadata map[string]string) *Refusal {
	row := table.Of(reason)
	return &Refusal{
		HTTP: row.HTTP, Status: row.Code.String(), Message: cmp.Or(message, row.Sentence),
		details: []proto.Message{&errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: metadata}},
	}
}

// At returns the refusal with a status that HTTP has for just this, where that of the reason is for every surface.
func (e *Refusal) At(status int) *Refusal {
	at := *e
	at.HTTP = status
	return &at
}

// Invalid refuses wrong fields, all of them at once.
func Invalid(reason, message string, fields ...*errdetails.BadRequest_FieldViolation) *Refusal {
	var metadata map[string]string
	if reason == "UNKNOWN_FIELD" && len(fields) > 0 {
		metadata = map[string]string{"field": fields[0].GetField()}
	}
	e := Refuse(reason, message, metadata)
	if len(fields) > 0 {
		e.details = append(e.details, &errdetails.BadRequest{FieldViolations: fields})
	}
	return e
}

// Wrong refuses one field.
func Wrong(field, description string) *Refusal {
	return Invalid("FIELD_INVALID", field+": "+description, &errdetails.BadRequest_FieldViolation{Field: field, Description: description})
}

// AddressInvalid refuses a path that can name nothing.
func AddressInvalid(message string) *Refusal { return Invalid("ADDRESS_INVALID", message) }

// NoRoute refuses a path that is no route; routes says which there are.
func NoRoute(routes string) *Refusal {
	e := Refuse("METHOD_UNKNOWN", "there is no such route; "+routes, nil).At(http.StatusNotFound)
	e.Status = table.NotFound.String() // to HTTP a path that is not there is no method that is not there
	return e
}

// TooLarge refuses a body that is larger than the limit, in bytes.
func TooLarge(limit int64) *Refusal {
	text := strconv.FormatInt(limit, 10)
	return Refuse("MESSAGE_TOO_LARGE", "the body is larger than "+text+" bytes", map[string]string{"limit": text}).
		At(http.StatusRequestEntityTooLarge)
}

// MediaType refuses a body by its type.
func MediaType(message, contentType string) *Refusal {
	if len(contentType) > 100 {
		contentType = contentType[:100]
	}
	return Refuse("UNSUPPORTED_MEDIA_TYPE", message, map[string]string{"contentType": contentType})
}

// Reason returns the reason of the refusal; empty when it has none of ours.
func (e *Refusal) Reason() string {
	for _, d := range e.details {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return info.GetReason()
		}
	}
	return ""
}

// FromError reads any error as a refusal.
func FromError(err error) *Refusal {
	if own, ok := errors.AsType[*Refusal](err); ok {
		return own
	}
	if unread, ok := errors.AsType[*payload.Error](err); ok {
		fields := make([]*errdetails.BadRequest_FieldViolation, len(unread.Violations))
		for i, v := range unread.Violations {
			fields[i] = &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description}
		}
		return Invalid(unread.Kind.Reason(), unread.Message, fields...)
	}
	return fromStatus(status.Convert(err))
}

func fromStatus(s *status.Status) *Refusal {
	e := &Refusal{Status: table.Code(s.Code()).String(), Message: s.Message()}
	known := false
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			known = known || d.GetDomain() == domain
			e.HTTP = table.Of(d.GetReason()).HTTP
			e.details = append(e.details, d)
		case *errdetails.RetryInfo:
			e.Retry = d.GetRetryDelay().AsDuration()
			e.details = append(e.details, d)
		case proto.Message:
			if d.ProtoReflect().Descriptor().FullName() == ownDetail {
				continue // it says the same again, for clients without the protos of the others
			}
			e.details = append(e.details, d)
		}
	}
	if known {
		return e
	}
	// The text of a status that gRPC itself made speaks of connections, and is not for callers.
	return Refuse(table.Bare(table.Code(s.Code())).Reason, "", nil)
}

// Body returns the JSON form, with the request id among the details.
func (e *Refusal) Body(requestID string) []byte {
	type inner struct {
		Code    int               `json:"code"`
		Status  string            `json:"status"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	out := inner{Code: e.HTTP, Status: e.Status, Message: e.Message}
	details := e.details
	if requestID != "" && !has[*errdetails.RequestInfo](details) {
		details = append(slices.Clip(details), &errdetails.RequestInfo{RequestId: requestID})
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

// Write answers with the refusal.
func (e *Refusal) Write(w http.ResponseWriter, requestID string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.Allow != "" {
		h.Set("Allow", e.Allow)
	}
	if e.HTTP == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if e.Retry > 0 || e.HTTP == http.StatusTooManyRequests || e.HTTP == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.Retry.Seconds())))))
	}
	w.WriteHeader(e.HTTP)
	_, _ = w.Write(e.Body(requestID))
}
