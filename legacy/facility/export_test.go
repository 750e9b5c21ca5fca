package facility

import (
	"net/http"

	"github.com/trunkline/trunkline/internal/bus"
)

// Wished is what the query of a socket asks for, in the order in which it is served, and what in it means nothing.
func Wished(query string) (list []string, echo, state bool, strange []string) {
	w := wishes{subscribe: map[string]bool{}, publish: map[string]bool{}}
	strange = w.read(query)
	return w.list(), w.echo, w.state, strange
}

// ReadAnswer reads what the resolver of sessions answers; none is set where it knows nobody.
func (s *Sessions) ReadAnswer(key string, status int, body []byte) (who bus.OpaqueToken, none bool, err error) {
	r, err := s.read(key, status, body)
	return r.token, r.none, err
}

// HandshakeFlaw is what is wrong with a handshake; nil for nothing.
func HandshakeFlaw(r *http.Request) *bus.Error { return handshakeFlaw(r) }

// StateFrame is the frame that tells a value at a revision.
func StateFrame(revision uint64, value []byte) []byte {
	return stateAnswer{Revision: revision, Value: value}.append(nil)
}
