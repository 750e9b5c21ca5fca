package web

import "net/http"

// Handler returns one handler for all of Pages; any other path is 404.
func Handler(dev bool) http.Handler {
	pages := Pages(dev)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := pages[r.URL.Path]; ok {
			p.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
}
