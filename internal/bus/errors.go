package bus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trunkline/trunkline/internal/refusal"
)

// Error is a refusal in the words of the catalogue (trunkline.errors.v1.ErrorReason without its
// prefix). Two Errors are the same for errors.Is when their reasons are. Errors are immutable.
type Error struct {
	Reason  string
	Message string
	// Metadata is facts for the caller: never a secret, never a detail of the store.
	Metadata map[string]string
	// Fields names every wrong field at once.
	Fields []FieldViolation
	// RetryAfter is set when trying again later can help.
	RetryAfter time.Duration

	cause error
}

// FieldViolation names one wrong field and the fix.
type FieldViolation struct {
	Field       string
	Description string
}

// Error returns the sentence for the caller.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what caused it, which is for the log and not for the wire.
func (e *Error) Unwrap() error { return e.cause }

// Is says whether target is an Error with the same reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason
}

// With returns a copy with a message and metadata of its own; an empty message keeps the old one.
func (e *Error) With(message string, metadata map[string]string) *Error {
	c := *e
	if message != "" {
		c.Message = message
	}
	if metadata != nil {
		c.Metadata = metadata
	}
	return &c
}

// Wrap returns a copy with a cause, which errors.Unwrap finds and the wire never shows.
func (e *Error) Wrap(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Retry returns a copy that asks the caller to come back after d.
func (e *Error) Retry(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Detail returns the error with everything that caused it, for logs.
func (e *Error) Detail() string {
	if e.cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.cause.Error()
}

// known is every refusal by its reason. It is filled while the package is initialized and never changes then.
var known = map[string]*Error{}

// usualDelay is how long a caller waits that may try again, unless the refusal says otherwise.
const usualDelay = time.Second

// of returns the refusal of a reason with what its row in the table says.
func of(reason string) *Error {
	row := refusal.Of(reason)
	e := &Error{Reason: row.Reason, Message: row.Sentence}
	if row.Retry == refusal.Again {
		e.RetryAfter = usualDelay
	}
	known[reason] = e
	return e
}

// The refusals, one a row of the table in internal/refusal. Compare with errors.Is; add facts with With, Wrap and Retry.
var (
	ErrTokenMissing       = of("TOKEN_MISSING")
	ErrTokenInvalid       = of("TOKEN_INVALID")
	ErrTokenExpired       = of("TOKEN_EXPIRED")
	ErrTokenNotYetValid   = of("TOKEN_NOT_YET_VALID")
	ErrTokenRevoked       = of("TOKEN_REVOKED")
	ErrRefreshTokenReused = of("REFRESH_TOKEN_REUSED")
	ErrAPIKeyInvalid      = of("API_KEY_INVALID")
	ErrOriginRefused      = of("ORIGIN_REFUSED")
	ErrPermissionDenied   = of("PERMISSION_DENIED")
	ErrSubscribeDenied    = of("CHANNEL_SUBSCRIBE_DENIED")
	ErrPublishDenied      = of("CHANNEL_PUBLISH_DENIED")
	ErrHistoryDenied      = of("CHANNEL_HISTORY_DENIED")
	ErrTicketInvalid      = of("TICKET_INVALID")
	ErrPresenceDenied     = of("CHANNEL_PRESENCE_DENIED")

	ErrAddressInvalid       = of("ADDRESS_INVALID")
	ErrFieldInvalid         = of("FIELD_INVALID")
	ErrUnknownField         = of("UNKNOWN_FIELD")
	ErrInvalidJSON          = of("INVALID_JSON")
	ErrMessageTooLarge      = of("MESSAGE_TOO_LARGE")
	ErrUnsupportedMediaType = of("UNSUPPORTED_MEDIA_TYPE")
	ErrGap                  = of("POSITION_EXPIRED")
	ErrIdempotencyMismatch  = of("IDEMPOTENCY_MISMATCH")
	ErrChannelNotFound      = of("CHANNEL_NOT_FOUND")
	ErrChannelExists        = of("CHANNEL_EXISTS")
	ErrRevisionMismatch     = of("REVISION_MISMATCH")
	ErrMessageNotFound      = of("MESSAGE_NOT_FOUND")

	ErrRateLimited       = of("RATE_LIMITED")
	ErrConnectionLimit   = of("CONNECTION_LIMIT")
	ErrSubscriptionLimit = of("SUBSCRIPTION_LIMIT")
	ErrSlowConsumer      = of("SLOW_CONSUMER")
	ErrDraining          = of("SERVER_DRAINING")
	ErrStoreUnavailable  = of("STORE_UNAVAILABLE")
	ErrAuthUnavailable   = of("AUTH_UNAVAILABLE")
	ErrStorageFull       = of("STORAGE_FULL")
	ErrStoredForeign     = of("STORED_DATA_FOREIGN")
	ErrOverloaded        = of("SERVER_OVERLOADED")
	ErrReplicasMissing   = of("REPLICAS_MISSING").With("", map[string]string{"setting": "min-replicas-to-write"})
	ErrUnavailable       = of("UNAVAILABLE")
	ErrNotReached        = of("DURABILITY_NOT_REACHED")
	ErrNotDurable        = of("DURABILITY_UNAVAILABLE")
	ErrAuthorizerAway    = of("AUTHORIZER_UNAVAILABLE")
	ErrChannelLimit      = of("CHANNEL_LIMIT")
	ErrQuotaExceeded     = of("QUOTA_EXCEEDED")
	ErrInboxFull         = of("INBOX_FULL")

	ErrProtocol         = of("PROTOCOL_ERROR")
	ErrAlreadyConnected = of("ALREADY_CONNECTED")
	ErrNotConnected     = of("NOT_CONNECTED")
	ErrConnectTimeout   = of("CONNECT_TIMEOUT")
	ErrIdleTimeout      = of("IDLE_TIMEOUT")
	ErrDeadlineExceeded = of("DEADLINE_EXCEEDED")
	ErrMethodDisabled   = of("METHOD_DISABLED")
	ErrEventsDisabled   = of("EVENTS_DISABLED")
	ErrMethodUnknown    = of("METHOD_UNKNOWN")
	ErrServiceUnknown   = of("SERVICE_UNKNOWN")
	ErrCancelled        = of("CANCELLED")
	ErrInternal         = of("INTERNAL")

	ErrValueLimit     = of("VALUE_LIMIT")
	ErrValueNotNumber = of("VALUE_NOT_A_NUMBER")
	ErrCommandRefused = of("COMMAND_REFUSED")

	// ErrTokenExists and ErrTokenNotFound are for callers of Tokens and never reach the wire.
	ErrTokenExists   = ErrInternal.With("token exists", nil)
	ErrTokenNotFound = ErrTokenInvalid
)

// Known returns the refusal of a reason with its usual sentence; ErrInternal for any other reason.
func Known(reason string) *Error {
	if e, ok := known[reason]; ok {
		return e
	}
	return ErrInternal
}

// Invalid collects wrong fields, so that a caller hears of all of them at once. The zero value is ready to use.
type Invalid struct{ fields []FieldViolation }

// maxWrong is how many wrong fields a refusal names. Nobody reads more, and a list of thousands would be work for us.
const maxWrong = 50

// full says whether no more are noted.
func (v *Invalid) full() bool { return len(v.fields) >= maxWrong }

// Add notes a wrong field.
func (v *Invalid) Add(field, format string, args ...any) {
	if v.full() {
		return
	}
	v.fields = append(v.fields, FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// Check notes the field when err is not nil.
func (v *Invalid) Check(field string, err error) {
	if err != nil {
		v.Add(field, "%s", err.Error())
	}
}

func (v *Invalid) has(field string) bool {
	return slices.ContainsFunc(v.fields, func(f FieldViolation) bool { return f.Field == field })
}

// Fields returns what was noted.
func (v *Invalid) Fields() []FieldViolation { return v.fields }

// Address parses s and notes the field when it is no address.
func (v *Invalid) Address(field, s string) Address {
	a, err := ParseAddress(s)
	v.Check(field, err)
	return a
}

// Err returns nil when nothing was noted, and otherwise an *Error with all fields.
func (v *Invalid) Err() error {
	if len(v.fields) == 0 {
		return nil
	}
	e := *ErrFieldInvalid
	parts := make([]string, len(v.fields))
	for i, f := range v.fields {
		parts[i] = f.Field + ": " + f.Description
	}
	e.Message = strings.Join(parts, "; ")
	e.Fields = v.fields
	return &e
}
