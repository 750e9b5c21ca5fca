// Package refusal is the one table of refusals. Statuses, HTTP answers, close codes, documents and the constants of clients
// are made from its rows; nothing else maps a reason to a number.
package refusal

import (
	"fmt"
	"slices"
)

// Code is a canonical code of google.rpc.Code. The numbers are the same as in gRPC.
type Code uint32

// The codes that refusals use.
const (
	Cancelled          Code = 1
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	Unauthenticated    Code = 16
)

// String returns the name of the code in google.rpc.Code, such as NOT_FOUND.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return fmt.Sprintf("CODE_%d", uint32(c))
}

var codeNames = map[Code]string{
	0: "OK", Cancelled: "CANCELLED", 2: "UNKNOWN", InvalidArgument: "INVALID_ARGUMENT", DeadlineExceeded: "DEADLINE_EXCEEDED",
	NotFound: "NOT_FOUND", AlreadyExists: "ALREADY_EXISTS", PermissionDenied: "PERMISSION_DENIED", ResourceExhausted: "RESOURCE_EXHAUSTED",
	FailedPrecondition: "FAILED_PRECONDITION", Aborted: "ABORTED", OutOfRange: "OUT_OF_RANGE", Unimplemented: "UNIMPLEMENTED",
	Internal: "INTERNAL", Unavailable: "UNAVAILABLE", 15: "DATA_LOSS", Unauthenticated: "UNAUTHENTICATED",
}

// Retry says what a client does after a refusal.
type Retry uint8

const (
	// Stop says that the same request is refused again: do not repeat it unchanged.
	Stop Retry = iota
	// Renew says to repeat it with a new token.
	Renew
	// Again says to repeat it after the delay that the refusal names, with full jitter where it names none.
	Again
)

// String returns the word that documents and clients use.
func (r Retry) String() string { return [...]string{"stop", "renew", "again"}[r] }

// Row is everything that is known of one reason.
type Row struct {
	// Reason is the name of a value of trunkline.errors.v1.ErrorReason without its prefix.
	Reason string
	Code   Code
	// HTTP is the status of a REST answer and of a refused handshake.
	HTTP int
	// Close is the close code of a WebSocket that ends for this reason; 0 for a reason that ends none by itself.
	Close int
	Retry Retry
	// When says in the words of a table when trying again can help.
	When string
	// Sentence is the message that callers read, unless the place of the refusal has a better one.
	Sentence string
	// Fix says what to do.
	Fix string
}

// Of returns the row of a reason, and that of INTERNAL for a reason that has none. It is safe for concurrent use.
func Of(reason string) Row {
	if i, ok := rows[reason]; ok {
		return table[i]
	}
	return table[rows["INTERNAL"]]
}

// Known says whether the reason is in the table.
func Known(reason string) bool {
	_, ok := rows[reason]
	return ok
}

// All returns every row, in the order of the documents.
func All() []Row { return slices.Clone(table) }

var rows = func() map[string]int {
	m := make(map[string]int, len(table))
	for i, r := range table {
		m[r.Reason] = i
	}
	return m
}()

// Bare is the reason of a status that gRPC itself makes, without details; INTERNAL for a code that has none.
func Bare(c Code) Row {
	if reason, ok := bare[c]; ok {
		return Of(reason)
	}
	return Of("INTERNAL")
}

var bare = map[Code]string{
	Unavailable: "UNAVAILABLE", DeadlineExceeded: "DEADLINE_EXCEEDED", Cancelled: "CANCELLED", Unimplemented: "METHOD_UNKNOWN",
	ResourceExhausted: "MESSAGE_TOO_LARGE", Unauthenticated: "TOKEN_INVALID", PermissionDenied: "PERMISSION_DENIED",
	InvalidArgument: "FIELD_INVALID",
}

// Closing is the close code of a connection that ends for the reason. Where the reason ends no connection by itself, it is the
// code of UNAVAILABLE where the client may come back, and otherwise of PROTOCOL_ERROR.
func (r Row) Closing(again bool) int {
	switch {
	case r.Close != 0:
		return r.Close
	case again:
		return Of("UNAVAILABLE").Close
	}
	return Of("PROTOCOL_ERROR").Close
}

// OfClose says what a client does after a close code that came without a reason. The rows of that code say it; for a code that no
// row has, such as a proxy's, it is Again.
func OfClose(code int) Retry {
	for _, r := range table {
		if r.Close == code {
			return r.Retry
		}
	}
	return Again
}
