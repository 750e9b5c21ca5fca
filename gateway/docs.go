package gateway

import (
	"embed"
	"net/http"

	"github.com/trunkline/trunkline/gen/openapi"
	"github.com/trunkline/trunkline/internal/requestid"
	"github.com/trunkline/trunkline/internal/rest"
)

//go:embed docs
var docs embed.FS

var docsFiles = map[string]struct{ file, contentType string }{
	"/docs":          {"docs/docs.html", "text/html; charset=utf-8"},
	"/docs/docs.js":  {"docs/docs.js", "text/javascript; charset=utf-8"},
	"/docs/docs.css": {"docs/docs.css", "text/css; charset=utf-8"},
}

const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// serveDocs answers /openapi.json and the page that renders it.
func serveDocs(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(requestid.Header)
	f, ok := docsFiles[r.URL.Path]
	if !ok && r.URL.Path != "/openapi.json" {
		rest.NoRoute("/docs lists them").Write(w, id)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(r.URL.Path).Write(w, id)
		return
	}
	content := openapi.JSON
	w.Header().Set("Content-Type", "application/json")
	if ok {
		var err error
		if content, err = docs.ReadFile(f.file); err != nil {
			rest.NoRoute("/docs lists them").Write(w, id)
			return
		}
		w.Header().Set("Content-Type", f.contentType)
		w.Header().Set("Content-Security-Policy", docsPolicy)
	}
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(content)
}
