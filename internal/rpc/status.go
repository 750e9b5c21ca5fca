package rpc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/refusal"
)

// Domain is the domain of every ErrorInfo that Trunkline sends.
const Domain = "trunkline"

// Code returns the canonical code of a reason; Internal for one that is not in the catalogue.
func Code(reason string) codes.Code {
	return codes.Code(refusal.Of(reason).Code)
}

// refusalOf returns the *bus.Error that err stands for. Anything that nobody gave a reason becomes
// ErrInternal, which keeps the cause for the log and not for the wire.
func refusalOf(err error) *bus.Error {
	var e *bus.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return bus.ErrDeadlineExceeded.Wrap(err)
	case errors.Is(err, context.Canceled):
		return bus.ErrCancelled.Wrap(err)
	}
	if s, ok := status.FromError(err); ok {
		return fromStatus(s)
	}
	return bus.ErrInternal.Wrap(err)
}

// A status travels in trailers, of which the libraries of some languages take 8 KiB. It has the sentence three times, and the fields
// twice, in base64.
const (
	maxSentence = 700
	maxFields   = 1500
)

// brief returns the refusal with no more of its sentence and its fields than fits. The first wrong fields stay.
func brief(e *bus.Error) *bus.Error {
	total, keep := 0, 0
	for _, f := range e.Fields {
		if total += len(f.Field) + len(f.Description) + 4; total > maxFields && keep > 0 {
			break
		}
		keep++
	}
	if len(e.Message) <= maxSentence && keep == len(e.Fields) {
		return e
	}
	short := *e
	short.Message, short.Fields = cut(e.Message, maxSentence), slices.Clone(e.Fields[:keep])
	for i, f := range short.Fields {
		short.Fields[i].Description = cut(f.Description, maxFields)
	}
	return &short
}

// cut returns a text of at most limit bytes, whose end says that there was more.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
}

// Status returns the status of a refusal: the code of its reason, ErrorInfo, and BadRequest, QuotaFailure, RetryInfo and RequestInfo
// where they apply. The last detail is the refusal once more, in the contract's own words. Only this file builds a status.
func Status(err error, requestID string) *status.Status {
	e := brief(refusalOf(err))
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: e.Reason, Domain: Domain, Metadata: e.Metadata}}
	if len(e.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range e.Fields {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: f.Field, Description: f.Description})
		}
		details = append(details, bad)
	}
	if v := violation(e); v != nil {
		details = append(details, &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{v}})
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if requestID != "" {
		details = append(details, &errdetails.RequestInfo{RequestId: requestID})
	}
	return detailed(status.New(Code(e.Reason), e.Message), append(details, ErrorProto(e)))
}

func detailed(s *status.Status, details []protoadapt.MessageV1) *status.Status {
	if full, err := s.WithDetails(details...); err == nil {
		return full
	}
	return s
}

// violation names the limit that a refusal is for; nil when it is for none.
func violation(e *bus.Error) *errdetails.QuotaFailure_Violation {
	facts := e.Metadata
	if Code(e.Reason) != codes.ResourceExhausted {
		return nil
	}
	limit, _ := strconv.ParseInt(facts["limit"], 10, 64) // 0 for a limit that is not a number
	return &errdetails.QuotaFailure_Violation{
		Subject: cmp.Or(facts["account"], facts["address"], e.Reason), Description: e.Message,
		QuotaId: cmp.Or(facts["setting"], facts["rule"], e.Reason), QuotaValue: limit,
	}
}

// foreign returns the status of a handler that is not ours, such as that of the health service. The code and the words stay, and the
// nearest reason of the catalogue is added. It returns nil for any other error.
func foreign(err error, requestID string) *status.Status {
	if _, ours := errors.AsType[*bus.Error](err); ours {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok || len(s.Details()) > 0 {
		return nil
	}
	reason := refusal.Bare(refusal.Code(s.Code())).Reason
	if s.Code() == codes.NotFound {
		reason = bus.ErrServiceUnknown.Reason
	}
	own := ErrorProto(&bus.Error{Reason: reason, Message: s.Message()})
	own.Code = int32(s.Code())
	return detailed(s, []protoadapt.MessageV1{
		&errdetails.ErrorInfo{Reason: reason, Domain: Domain}, &errdetails.RequestInfo{RequestId: requestID}, own,
	})
}

// FromError returns the refusal that err stands for: a *bus.Error as it is, a status of a peer with
// everything it carries. It returns nil for nil.
func FromError(err error) *bus.Error {
	if err == nil {
		return nil
	}
	return refusalOf(err)
}

func fromStatus(s *status.Status) *bus.Error {
	e := bus.Known(refusal.Bare(refusal.Code(s.Code())).Reason).Wrap(s.Err())
	known := false
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == Domain {
				e = &bus.Error{Reason: d.GetReason(), Message: s.Message(), Metadata: d.GetMetadata(), Fields: e.Fields, RetryAfter: 0}
				known = true
			}
		case *errdetails.BadRequest:
			for _, f := range d.GetFieldViolations() {
				e.Fields = append(e.Fields, bus.FieldViolation{Field: f.GetField(), Description: f.GetDescription()})
			}
		case *errdetails.RetryInfo:
			if known {
				e.RetryAfter = d.GetRetryDelay().AsDuration()
			}
		}
	}
	return e
}

// ErrorProto returns a refusal as it stands inside an answer.
func ErrorProto(err error) *errorsv1.Error {
	e := brief(refusalOf(err))
	p := &errorsv1.Error{
		Code:        int32(Code(e.Reason)),
		Reason:      e.Reason,
		Message:     e.Message,
		Metadata:    e.Metadata,
		ErrorReason: errorsv1.ErrorReason(errorsv1.ErrorReason_value["ERROR_REASON_"+e.Reason]),
	}
	for _, f := range e.Fields {
		p.FieldViolations = append(p.FieldViolations, &errorsv1.FieldViolation{Field: f.Field, Description: f.Description})
	}
	if e.RetryAfter > 0 {
		p.RetryDelay = durationpb.New(e.RetryAfter)
	}
	return p
}

// Shorten leaves of a refusal what an answer with very many of them has room for: its reason, and the beginning of its sentence.
func Shorten(p *errorsv1.Error) {
	p.Message, p.FieldViolations, p.Metadata = cut(p.GetMessage(), 200), nil, nil
}

// FromErrorProto is the reverse of ErrorProto.
func FromErrorProto(p *errorsv1.Error) *bus.Error {
	e := &bus.Error{Reason: p.GetReason(), Message: p.GetMessage(), Metadata: p.GetMetadata()}
	for _, f := range p.GetFieldViolations() {
		e.Fields = append(e.Fields, bus.FieldViolation{Field: f.GetField(), Description: f.GetDescription()})
	}
	if p.GetRetryDelay() != nil {
		e.RetryAfter = p.GetRetryDelay().AsDuration()
	}
	return e
}
