package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/wsgate/web"
)

// get asks the Handler. header holds names and values in turn.
func get(method, path string, header ...string) (*http.Response, string) {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	return w.Result(), string(body)
}

func TestFiles(t *testing.T) {
	for name, kind := range map[string]string{
		"fastpubsub.js":   "text/javascript; charset=utf-8",
		"fastpubsub.d.ts": "text/plain; charset=utf-8",
		"chat.html":       "text/html; charset=utf-8",
		"dash/":           "text/html; charset=utf-8",
		"dash/main.js":    "text/javascript; charset=utf-8",
		"dash/style.css":  "text/css; charset=utf-8",
	} {
		file := name
		if strings.HasSuffix(name, "/") {
			file += "index.html"
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		response, body := get("GET", web.Prefix+name)
		if response.StatusCode != 200 || body != string(want) {
			t.Errorf("%s: %s, %d bytes of %d", name, response.Status, len(body), len(want))
		}
		for header, value := range map[string]string{
			"Content-Type": kind, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		} {
			if got := response.Header.Get(header); got != value {
				t.Errorf("%s: %s: %q, want %q", name, header, got, value)
			}
		}
		if head, body := get("HEAD", web.Prefix+name); head.StatusCode != 200 || body != "" || head.ContentLength != int64(len(want)) {
			t.Errorf("HEAD %s: %s, %d bytes, length %d", name, head.Status, len(body), head.ContentLength)
		}
		etag := response.Header.Get("ETag")
		if again, body := get("GET", web.Prefix+name, "If-None-Match", etag); again.StatusCode != 304 || body != "" {
			t.Errorf("%s with ETag %s: %s, %q", name, etag, again.Status, body)
		}
		if again, _ := get("GET", web.Prefix+name, "If-None-Match", `"other"`); again.StatusCode != 200 {
			t.Errorf("%s with another ETag: %s", name, again.Status)
		}
	}
}

func TestNothingElse(t *testing.T) { // invariant 1
	for _, path := range []string{"dash", "dash/none.js", "web.go", "testdata/vectors.json", "../../go.mod", "fastpubsub.test.js", "chat.html/"} {
		if response, _ := get("GET", web.Prefix+path); response.StatusCode == 200 {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	if response, _ := get("POST", web.Prefix+"chat.html"); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", response.Status)
	}
	if response, _ := get("GET", web.Prefix); response.Header.Get("Location") != web.Prefix+"chat.html" {
		t.Errorf("%s leads to %q", web.Prefix, response.Header.Get("Location"))
	}
}

func TestPolicy(t *testing.T) {
	response, body := get("GET", web.Prefix+"chat.html")
	policy := response.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "script-src 'self' 'sha256-", "style-src 'self' 'sha256-"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %q in %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
	if inline := regexp.MustCompile(`(?i)\s(on[a-z]+|style)\s*=\s*["']`).FindString(body); inline != "" {
		t.Errorf("the policy forbids the attribute%s", inline)
	}
	script, _ := get("GET", web.Prefix+"fastpubsub.js")
	if got := script.Header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("fastpubsub.js: Access-Control-Allow-Origin %q", got)
	}
}

// TestNoExternalURLs: what is served loads nothing from elsewhere. Addresses in comments are examples.
func TestNoExternalURLs(t *testing.T) { // invariant 2
	names, err := filepath.Glob("dash/*.*s")
	if err != nil || len(names) < 6 {
		t.Fatal(names, err)
	}
	for _, name := range append(names, "dash/", "chat.html", "fastpubsub.js", "fastpubsub.d.ts") {
		_, body := get("GET", web.Prefix+name)
		for _, url := range regexp.MustCompile(`(?i)(https?|wss?):?//[a-z0-9.-]+`).FindAllString(body, -1) {
			if !strings.HasSuffix(url, "//node.example.org") && url != "http://www.w3.org" { // an XML name space
				t.Errorf("%s refers to %s", name, url)
			}
		}
		for _, found := range regexp.MustCompile(`(?:\bfrom|\bimport\(|\bsrc=|\bhref=)\s*["']([^"']+)`).FindAllStringSubmatch(body, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), found[1])); err == nil {
				continue
			}
			if target := found[1]; !strings.HasPrefix(target, "./") && !strings.HasPrefix(target, "#") && !strings.HasPrefix(target, "data:") && !strings.HasPrefix(target, "https://node.example.org/") {
				t.Errorf("%s refers to %s", name, target)
			}
		}
	}
}
