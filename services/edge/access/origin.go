package access

import (
	"fmt"
	"net/http"

	"github.com/trunkline/trunkline/internal/bus"
	"github.com/trunkline/trunkline/internal/loopback"
	"github.com/trunkline/trunkline/internal/origin"
)

// Origins decides which pages may connect. A client that sends no Origin is no page, and is let through to the token check.
type Origins struct {
	loopback bool
	allowed  origin.List
}

// NewOrigins returns the origins of a list; loopback allows every page of a loopback address too.
func NewOrigins(list []string, loopback bool) (*Origins, error) {
	allowed, err := origin.NewList(list)
	if err != nil {
		return nil, fmt.Errorf("edge.allowed_origins: %w", err)
	}
	return &Origins{loopback: loopback, allowed: allowed}, nil
}

// Check returns nil when the page that opens the connection may do so.
func (o *Origins) Check(r *http.Request) error {
	values := r.Header.Values("Origin")
	if len(values) == 0 || o.allowed.Every() {
		return nil
	}
	page, ok := origin.Of(values[0])
	if len(values) == 1 && ok && (o.allowed.Allows(page) || o.own(page, r)) {
		return nil
	}
	return bus.ErrOriginRefused.With(
		fmt.Sprintf("origin %.128q is not allowed; add it to edge.allowed_origins", values[0]),
		map[string]string{"setting": "edge.allowed_origins"})
}

// own says whether the page is of this server, or of this machine where that is enough.
func (o *Origins) own(page origin.Origin, r *http.Request) bool {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if server, ok := origin.Of(scheme + "://" + r.Host); ok && server == page {
		return true
	}
	return o.loopback && loopback.Host(page.Hostname())
}
