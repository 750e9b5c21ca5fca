// Package web is what a browser sees. There is the welcome page of development mode, the plain page of production, and the small
// client, which both offer as /sdk.js.
package web

import (
	"embed"
	"net/http"
)

//go:embed files
var files embed.FS

// policy forbids everything that the pages do not need: no inline script or style, no other host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Pages returns the handlers by exact path. With dev, / is the welcome page, which gets its token
// from GET /dev/token; without it, / says what this is.
func Pages(dev bool) map[string]http.Handler {
	pages := map[string]http.Handler{
		"/sdk.js":  file("files/sdk.js", "text/javascript; charset=utf-8", true),
		"/app.css": file("files/app.css", "text/css; charset=utf-8", false),
		"/":        file("files/about.html", "text/html; charset=utf-8", false),
	}
	if dev {
		pages["/"] = file("files/welcome.html", "text/html; charset=utf-8", false)
		pages["/app.js"] = file("files/app.js", "text/javascript; charset=utf-8", false)
	}
	return pages
}

// file serves one embedded file; a shared one may be imported by pages of other sites.
func file(name, contentType string, shared bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		content, err := files.ReadFile(name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		if shared {
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		}
		_, _ = w.Write(content)
	})
}
