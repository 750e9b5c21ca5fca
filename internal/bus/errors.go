package bus

import (
	"fmt"
	"slices"
	"strings"
	"time"
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

func refusal(reason, message string) *Error {
	e := &Error{Reason: reason, Message: message}
	if known[reason] == nil {
		known[reason] = e
	}
	return e
}

func passing(reason, message string) *Error {
	e := refusal(reason, message)
	e.RetryAfter = time.Second
	return e
}

// The refusals. Compare with errors.Is; add facts with With, Wrap and Retry.
var (
	ErrTokenMissing       = refusal("TOKEN_MISSING", "no credentials; send them as authorization: Bearer TOKEN")
	ErrTokenInvalid       = refusal("TOKEN_INVALID", "token is not valid")
	ErrTokenExpired       = refusal("TOKEN_EXPIRED", "token has expired; get a new one")
	ErrTokenRevoked       = refusal("TOKEN_REVOKED", "token was revoked; sign in again")
	ErrRefreshTokenReused = refusal("REFRESH_TOKEN_REUSED", "refresh token was used before; sign in again")
	ErrAPIKeyInvalid      = refusal("API_KEY_INVALID", "API key is not valid")
	ErrOriginRefused      = refusal("ORIGIN_REFUSED", "this origin is not allowed; add it to edge.allowed_origins")
	ErrPermissionDenied   = refusal("PERMISSION_DENIED", "these credentials do not allow this")
	ErrSubscribeDenied    = refusal("CHANNEL_SUBSCRIBE_DENIED", "these credentials do not grant subscribe on this address")
	ErrPublishDenied      = refusal("CHANNEL_PUBLISH_DENIED", "these credentials do not grant publish on this address")
	ErrHistoryDenied      = refusal("CHANNEL_HISTORY_DENIED", "these credentials do not grant history on this address")
	ErrTicketInvalid      = refusal("TICKET_INVALID", "ticket is not valid; connect with the token")
	ErrPresenceDenied     = refusal("CHANNEL_PRESENCE_DENIED", "these credentials do not grant presence on this address")

	ErrAddressInvalid       = refusal("ADDRESS_INVALID", "not an address")
	ErrFieldInvalid         = refusal("FIELD_INVALID", "the request has wrong fields")
	ErrUnknownField         = refusal("UNKNOWN_FIELD", "the request has a field that is not known")
	ErrInvalidJSON          = refusal("INVALID_JSON", "not JSON")
	ErrMessageTooLarge      = refusal("MESSAGE_TOO_LARGE", "the message is too large")
	ErrUnsupportedMediaType = refusal("UNSUPPORTED_MEDIA_TYPE", "this content type is not spoken here; send application/json")
	ErrGap                  = refusal("POSITION_EXPIRED", "the position is no longer kept or belongs to another epoch")
	ErrIdempotencyMismatch  = refusal("IDEMPOTENCY_MISMATCH", "the idempotency key was used with another body; use a new key")
	ErrChannelNotFound      = refusal("CHANNEL_NOT_FOUND", "there is no such channel")
	ErrChannelExists        = refusal("CHANNEL_EXISTS", "a channel of that name exists")
	ErrRevisionMismatch     = refusal("REVISION_MISMATCH", "the state is at another revision; read it and try again")
	ErrMessageNotFound      = refusal("MESSAGE_NOT_FOUND", "there is no such message here")

	ErrRateLimited       = passing("RATE_LIMITED", "too many requests")
	ErrConnectionLimit   = passing("CONNECTION_LIMIT", "too many connections")
	ErrSubscriptionLimit = refusal("SUBSCRIPTION_LIMIT", "the connection has as many subscriptions as it may have")
	ErrSlowConsumer      = passing("SLOW_CONSUMER", "the client reads more slowly than it is sent to; connect again and resume")
	ErrDraining          = passing("SERVER_DRAINING", "the server is shutting down; connect again")
	ErrStoreUnavailable  = passing("STORE_UNAVAILABLE", "the store does not answer")
	ErrAuthUnavailable   = passing("AUTH_UNAVAILABLE", "the auth service does not answer")
	ErrStorageFull       = passing("STORAGE_FULL", "the store is full")
	ErrOverloaded        = passing("SERVER_OVERLOADED", "the server has as many connects in progress as it can answer in time; come back after the delay")
	ErrReplicasMissing   = passing("REPLICAS_MISSING", "Redis refuses writes: fewer replicas are in step than its min-replicas-to-write asks for; nothing was done").With("", map[string]string{"setting": "min-replicas-to-write"})
	ErrUnavailable       = passing("UNAVAILABLE", "the service does not answer")
	ErrNotReached        = passing("DURABILITY_NOT_REACHED", "the message was appended, but fewer replicas than asked for said so in time; repeat it with the same idempotency key")
	ErrNotDurable        = refusal("DURABILITY_UNAVAILABLE", "the store cannot give the durability that was asked for; nothing was published")
	ErrAuthorizerAway    = passing("AUTHORIZER_UNAVAILABLE", "the authorizer does not answer")
	ErrChannelLimit      = refusal("CHANNEL_LIMIT", "as many channels were created as there may be; delete some, or raise channels.created")
	ErrInboxFull         = passing("INBOX_FULL", "the inbox of the recipient is full; the message was refused")

	ErrProtocol         = refusal("PROTOCOL_ERROR", "the frame breaks the protocol")
	ErrAlreadyConnected = refusal("ALREADY_CONNECTED", "connect came twice on one connection")
	ErrNotConnected     = refusal("NOT_CONNECTED", "the first command must be connect")
	ErrConnectTimeout   = passing("CONNECT_TIMEOUT", "no connect command came in time")
	ErrIdleTimeout      = passing("IDLE_TIMEOUT", "the client answered no ping in time")
	ErrDeadlineExceeded = passing("DEADLINE_EXCEEDED", "the call did not end in time; repeat it with the same idempotency key")
	ErrMethodDisabled   = refusal("METHOD_DISABLED", "this is switched off here")
	ErrEventsDisabled   = refusal("EVENTS_DISABLED", "no events are kept here; set hooks.events.enabled on every process")
	ErrMethodUnknown    = refusal("METHOD_UNKNOWN", "there is no such method")
	ErrCancelled        = refusal("CANCELLED", "the caller gave up")
	ErrInternal         = passing("INTERNAL", "something went wrong on our side; quote the request id")

	ErrValueLimit     = refusal("VALUE_LIMIT", "there are as many values as there may be; delete some")
	ErrValueNotNumber = refusal("VALUE_NOT_A_NUMBER", "the value is not a number of 64 bits, or would leave their range")
	ErrCommandRefused = refusal("COMMAND_REFUSED", "the command is not allowed here")

	// ErrTokenExists and ErrTokenNotFound are for callers of Tokens and never reach the wire.
	ErrTokenExists   = refusal("INTERNAL", "token exists")
	ErrTokenNotFound = refusal("TOKEN_INVALID", "token is not valid")
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

// Add notes a wrong field.
func (v *Invalid) Add(field, format string, args ...any) {
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
