package gateway

import (
	"net/http"

	"github.com/rs/cors"

	"github.com/trunkline/trunkline/internal/origin"
	"github.com/trunkline/trunkline/internal/requestid"
)

// preflightAge is how long a browser may remember a preflight, in seconds: the most that Chromium does.
const preflightAge = 7200

// crossOrigin lets pages of the origins call. The credentials are a token that the page sends itself, so cookies are never
// allowed. Every header is: libraries add their own, and none of them opens anything here.
func crossOrigin(allowed origin.List) *cors.Cors {
	return cors.New(cors.Options{
		AllowOriginFunc: func(text string) bool {
			o, ok := origin.Of(text)
			return ok && allowed.Allows(o)
		},
		// A method that a route does not take is answered in words, which a page can read only when the preflight allows it.
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{requestid.Header, "Idempotent-Replayed", "Retry-After", "WWW-Authenticate", "Allow"},
		MaxAge:         preflightAge,
	})
}
