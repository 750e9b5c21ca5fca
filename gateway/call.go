package gateway

import (
	"context"
	"net/http"
	"strings"

	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
)

// call checks everything that can be checked without a service and hands the request on.
func (g *gateway) call(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(requestid.Header)
	in, cancel, err := g.prepare(w, r)
	if err != nil {
		rest.FromError(err).Write(w, id)
		return
	}
	defer cancel()
	if what, ok := streamed(in.URL.Path); ok {
		g.stream(w, in, what)
		return
	}
	g.mux.ServeHTTP(w, in)
}

// prepare returns the request as the services may see it.
func (g *gateway) prepare(w http.ResponseWriter, r *http.Request) (*http.Request, context.CancelFunc, error) {
	if err := checkPath(r.URL); err != nil {
		return nil, nil, err
	}
	u := spelled(r.URL)
	if len(r.Header.Values("Authorization")) > 1 {
		return nil, nil, rest.Refuse("TOKEN_INVALID", "authorization was sent more than once", nil)
	}
	_, stream := streamed(u.Path)
	method := r.Method
	if method == http.MethodHead && !stream {
		method = http.MethodGet // the HTTP server leaves out the body
	}
	if stream && method != http.MethodGet {
		return nil, nil, notAllowed(u.Path)
	}
	standard := g.cfg.Timeout
	if stream {
		standard = 0
	}
	timeout, bad := timeoutOf(r.Header, standard)
	if bad != nil {
		return nil, nil, bad
	}
	u, beside, err := setAside(method, u)
	if err == nil {
		err = checkQuery(method, u)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := checkHeaders(r.Header); err != nil {
		return nil, nil, err
	}
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	in := r.Clone(ctx)
	in.URL = u
	in.Method, in.Header, in.Body, in.ContentLength = method, keep(r.Header), http.NoBody, 0
	if !traceparent.MatchString(in.Header.Get("Traceparent")) {
		in.Header.Del("Traceparent")
	}
	if err := beside.put(in.Header); err != nil {
		cancel()
		return nil, nil, err
	}
	if g.cfg.DevKey != "" && in.Header.Get("Authorization") == "" && lendKey(r) {
		in.Header.Set("Authorization", "Bearer "+g.cfg.DevKey)
	}
	if method == http.MethodPost {
		if in, err = g.withBody(in, w, r); err != nil {
			cancel()
			return nil, nil, err
		}
	}
	return in, cancel, nil
}

// withBody returns the request in with the body of r, as its service reads it.
func (g *gateway) withBody(in *http.Request, w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	raw, err := g.read(w, r)
	if err != nil {
		return nil, err
	}
	b := &body{raw: raw, path: in.URL.Path, key: r.Header.Get("Idempotency-Key")}
	in = in.WithContext(context.WithValue(in.Context(), bodyKey{}, b))
	in.Body = b
	in.Header.Set("Content-Type", "application/json")
	return in, nil
}

func notAllowed(path string) *rest.Refusal {
	e := rest.Refuse("METHOD_UNKNOWN", "this route does not take this HTTP method", nil).At(http.StatusMethodNotAllowed)
	e.Allow = "GET, HEAD"
	_, stream := streamed(path)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	verb := strings.Contains(parts[len(parts)-1], ":")
	switch {
	case stream:
		e.Allow = http.MethodGet
	case path == "/v1/channels":
		e.Allow = "GET, HEAD, POST"
	case len(parts) == 3 && parts[1] == "channels" && strings.HasSuffix(path, ":publish"):
		e.Allow = "GET, HEAD, DELETE, POST"
	case len(parts) == 3 && parts[1] == "channels":
		e.Allow = "GET, HEAD, DELETE"
	case verb:
		e.Allow = http.MethodPost
	}
	e.Message += "; allowed: " + e.Allow
	return e
}
