package web_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/web"
)

func get(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestPages(t *testing.T) {
	for _, dev := range []bool{true, false} {
		h := web.Handler(dev)
		for path, contentType := range map[string]string{"/": "text/html", "/sdk.js": "text/javascript", "/app.css": "text/css"} {
			w := get(h, "GET", path)
			if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), contentType) {
				t.Errorf("%s: got %d %v", path, w.Code, w.Header())
			}
			csp := w.Header().Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: the policy is %q", path, csp)
			}
		}
		if code := get(h, "GET", "/app.js").Code; (code == 200) != dev {
			t.Errorf("dev %v: /app.js is %d", dev, code)
		}
		if w := get(h, "POST", "/"); w.Code != 405 || w.Header().Get("Allow") == "" {
			t.Errorf("POST: got %d", w.Code)
		}
		if w := get(h, "GET", "/files/app.js"); w.Code != 404 {
			t.Errorf("other path: got %d", w.Code)
		}
	}
	if w := get(web.Handler(true), "GET", "/sdk.js"); w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Error("a page of another site cannot import the client")
	}
	if body := get(web.Handler(false), "GET", "/").Body.String(); !strings.Contains(body, `href="/docs"`) || strings.Contains(body, "app.js") {
		t.Errorf("the plain page is %s", body)
	}
}

// The pages stay small, load nothing from elsewhere, and hold no inline script, style or handler.
func TestFiles(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<script(?: type="module")?>|<style|\son[a-z]+=|\sstyle=|innerHTML|insertAdjacentHTML|document\.write|eval\(`)
	remote := regexp.MustCompile(`(?i)(src|href)="(https?:)?//`)
	total := 0
	err := fs.WalkDir(os.DirFS("files"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile("files/" + path)
		if err != nil {
			return err
		}
		total += len(b)
		if m := remote.Find(b); m != nil {
			t.Errorf("%s loads %q", path, m)
		}
		if m := inline.Find(b); m != nil && (strings.HasSuffix(path, ".html") || !strings.HasPrefix(string(m), "<script")) {
			t.Errorf("%s has %q", path, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > 20<<10 {
		t.Errorf("the files have %d bytes, the limit is 20 KiB", total)
	}
}
