package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/trunkline/trunkline/internal/rest"
)

const (
	// proofHeader carries, to and from the service, what a stream with a ticket shows to come back. With liveHeader it comes back
	// without a position.
	proofHeader, liveHeader = "X-Stream-Proof", "x-stream-live"
	// proofMark stands between the position and the proof in the id of an event.
	proofMark = "~"
	// proofLength is how long a proof is: 16 bytes in base64.
	proofLength = 22
)

// cacheBusters are query keys that libraries add so that no cache answers. Nothing here is cached, so they mean nothing.
var cacheBusters = []string{"_", "cachebuster", "cacheBuster", "cb", "nocache", "r", "rnd", "t", "ts"}

// aside is what a URL says beside the fields of its request.
type aside struct {
	ticket string // for a stream
	last   string // the last event that a stream has had, from a client that cannot send the header
}

// setAside takes out of a URL what is no field of its request. That is cache busters, and at streams of addresses the ticket and
// the last event. What is not well formed stays, and is refused with the rest.
func setAside(method string, u *url.URL) (*url.URL, aside, error) {
	var a aside
	values, err := url.ParseQuery(u.RawQuery)
	if method != http.MethodGet || u.RawQuery == "" || err != nil {
		return u, a, nil //nolint:nilerr // see above
	}
	taken := false
	for _, key := range cacheBusters {
		if list := values[key]; len(list) == 1 && len(list[0]) <= 64 {
			delete(values, key)
			taken = true
		}
	}
	if what, ok := streamed(u.Path); ok && what.receipt == "" && !what.events {
		for key, into := range map[string]*string{"ticket": &a.ticket, "lastEventId": &a.last} {
			list, ok := values[key]
			if !ok {
				continue
			}
			if len(list) > 1 {
				return u, a, rest.Wrong(key, "stands there twice")
			}
			*into = list[0]
			delete(values, key)
			taken = true
			if key == "ticket" && (list[0] == "" || !printable(list[0])) {
				return u, a, rest.Refuse("TICKET_INVALID", "the ticket is none", nil)
			}
		}
	}
	if !taken {
		return u, a, nil
	}
	plain := *u
	plain.RawQuery = values.Encode()
	return &plain, a, nil
}

// put writes what was set aside where the stream looks for it. A ticket is a credential, and two say two things.
func (a aside) put(h http.Header) error {
	if h.Get("Last-Event-Id") == "" && a.last != "" {
		h.Set("Last-Event-Id", a.last)
	}
	last, proof := splitProof(h.Get("Last-Event-Id"))
	if proof != "" {
		h.Set("Last-Event-Id", last)
	}
	if a.ticket == "" {
		return nil
	}
	if h.Get("Authorization") != "" {
		return rest.Refuse("TOKEN_INVALID", "authorization and a ticket were sent; send one of them", nil)
	}
	h.Set("Authorization", "Ticket "+a.ticket)
	if proof != "" {
		h.Set(proofHeader, proof)
	}
	return nil
}

// splitProof takes the proof off the id of an event.
func splitProof(id string) (position, proof string) {
	i := strings.LastIndex(id, proofMark)
	if i < 0 || len(id)-i-1 != proofLength || strings.ContainsFunc(id[i+1:], func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) {
		return id, ""
	}
	return id[:i], id[i+1:]
}

// proves makes the ids of events prove that their reader may come back.
func (e *eventWriter) proves(told metadata.MD) {
	if proof := told.Get(proofHeader); len(proof) == 1 && len(proof[0]) == proofLength {
		e.proof = proof[0]
		e.live = slices.Contains(told.Get(liveHeader), "1")
	}
}
