// Package requestid names requests, so that an answer and the lines of the log about it can be brought together.
package requestid

import (
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// Header carries the id of a request, from a caller that makes one and to every caller.
const Header = "X-Request-Id"

// Sane says whether an id may be logged and returned as it came: 1 to 64 of letters, digits, - and _.
func Sane(id string) bool {
	return id != "" && len(id) <= 64 && strings.IndexFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}

// Of returns the id of a request, and tells it in the answer. It is the caller's if that is a sane one, and otherwise a new one.
func Of(w http.ResponseWriter, r *http.Request) string {
	id := r.Header.Get(Header)
	if !Sane(id) {
		id = uuid.Must(uuid.NewV7()).String()
	}
	w.Header().Set(Header, id)
	return id
}
