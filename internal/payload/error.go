package payload

import "strings"

// Kind says what is wrong with a body.
type Kind int

const (
	// InvalidJSON is a body that is not one JSON object.
	InvalidJSON Kind = iota + 1
	// UnknownField is a member that the request does not know.
	UnknownField
	// FieldInvalid is one or more members that have a wrong value.
	FieldInvalid
	// Malformed is a binary body that is no message of its type, or stops being one.
	Malformed
)

// Reason returns the name of the kind in the catalogue of refusals.
func (k Kind) Reason() string {
	switch k {
	case UnknownField:
		return "UNKNOWN_FIELD"
	case FieldInvalid, Malformed:
		return "FIELD_INVALID"
	}
	return "INVALID_JSON"
}

// Violation names one wrong member.
type Violation struct {
	// Field is its path, as the body spells it: publish.contentType, requests[3].to.
	Field string
	// Description says what is allowed.
	Description string
}

// Error says why a body cannot be read, in words for the caller. It is immutable.
type Error struct {
	Kind Kind
	// Message is one sentence.
	Message string
	// Violations names every wrong member; empty for InvalidJSON.
	Violations []Violation
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

func violations(kind Kind, list []Violation) *Error {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = v.Field + ": " + v.Description
	}
	return &Error{Kind: kind, Message: strings.Join(parts, "; "), Violations: list}
}
