// Package door reaches a server as its users do: over WebSocket, REST, server-sent events and gRPC. It has none of the kindness of
// the clients. It shows what is on the wire, and keeps, repeats and hides nothing.
package door

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/trunkline/trunkline/internal/judge"
)

// Server is one that is reached by its URL, and by gRPC.
type Server struct {
	// GRPC is nil when gRPC is not to be used.
	GRPC grpc.ClientConnInterface

	base *url.URL // of REST
	tls  *tls.Config
	http *http.Client
}

// New returns the server at a URL: http(s):// or ws(s)://, whose path /v1/ws is left out. Secured is for TLS.
func New(server string, secured *tls.Config) (*Server, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a server", server)
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1/ws")
	return &Server{base: u, tls: secured, http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: secured, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second,
		},
		// Another server than the one that was named is never asked, and is not shown the credential.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close ends connections that nobody uses.
func (s *Server) Close() { s.http.CloseIdleConnections() }

// Publication is what is published.
type Publication struct {
	To, Key, Data string
	// AckWithin asks for an ack within a time; 0 for none.
	AckWithin time.Duration
}

// Answer is what a publish was answered.
type Answer struct {
	ID        string
	Position  judge.Position
	Duplicate bool
	// At is the time of the store.
	At time.Time
}

// Subscribed says that a session follows an address.
type Subscribed struct {
	Address   string
	Position  judge.Position
	Recovered bool
}

// Message is one that came.
type Message struct {
	ID, To, Data       string
	Position           judge.Position
	Redelivered, ToAck bool
}

// Gap says that messages are missing.
type Gap struct {
	Address   string
	After, To judge.Position
	Reason    string
}

// Change is of presence.
type Change struct {
	Client string
	Joined bool
}

// Event is what a server tells a session. One member is set.
type Event struct {
	Subscribed *Subscribed
	Message    *Message
	Gap        *Gap
	Changes    []Change
}

// position is a position as JSON has it.
type position struct {
	Epoch  string `json:"epoch,omitempty"`
	Offset string `json:"offset,omitempty"`
}

func (p *position) judge() judge.Position {
	if p == nil {
		return judge.Position{}
	}
	n, _ := strconv.ParseUint(p.Offset, 10, 64)
	return judge.Position{Epoch: p.Epoch, Seq: n}
}

func spelled(p judge.Position) *position {
	if p.Epoch == "" {
		return nil
	}
	w := &position{Epoch: p.Epoch}
	if p.Seq > 0 {
		w.Offset = strconv.FormatUint(p.Seq, 10)
	}
	return w
}
