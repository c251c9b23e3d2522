// Package web is what a node gives to browsers: fastpubsub.js, a client of llps.v1 for pages and for Node, its types, a
// chat page as the example, and the dashboard. All of it is embedded and served as it lies here; there is no build step.
//
//	fastpubsub.js     the client: an ES module without dependencies; its head is its specification
//	fastpubsub.d.ts   its types
//	chat.html         a chat with presence and measured latencies
//	dash/             the dashboard: a live map of the mesh, made from what its nodes report (package mesh/report)
//
// # The dashboard
//
// main.js subscribes the nodes' reports and hands them to model.js, which puts them together and computes routes as nodes do; map.js draws the map and the
// graph, panels.js everything else, try.js lets people subscribe and publish. land.js holds the coasts of the world. Where clients need tokens the page asks for one: it must
// allow to subscribe to $mesh.# in the tenant "~". It is kept for as long as the tab is open.
//
// # Caching
//
// A file's address does not change with its content, so every use asks whether the file changed. The answer is 304 as long as
// the ETag, a hash of the content, is the same.
//
// # Security
//
// Scripts and styles inside a page run only if the Content-Security-Policy names their hash, which is computed when the
// Handler is made; pages cannot be framed, and load nothing from elsewhere. They may connect anywhere, since the nodes of a mesh
// have names of their own. fastpubsub.js may be imported by pages from elsewhere: it is public, and no cookie protects anything.
//
// # Invariants
//
//  1. Nothing is served but the files above.
//  2. Pages load nothing from outside this folder.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"
)

// Prefix is the path below which Handler serves.
const Prefix = "/web/"

//go:embed fastpubsub.js fastpubsub.d.ts chat.html dash
var files embed.FS

// Dashboard is where the dashboard is.
const Dashboard = Prefix + "dash/"

// kinds are the media types of files by what their names end in.
const kinds = "html text/html js text/javascript css text/css ts text/plain"

// page is one file as it is served.
type page struct {
	name    string
	content []byte
	kind    string
	etag    string
	policy  string
}

// Handler serves the files below Prefix, by GET and HEAD. Prefix itself leads to the chat, Dashboard to the dashboard.
func Handler() http.Handler {
	mux := http.NewServeMux()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		sum := sha256.Sum256(content)
		p := page{name: name, content: content, kind: kindOf(name), etag: `"` + hex.EncodeToString(sum[:12]) + `"`, policy: policy(content)}
		address := "GET " + Prefix + name
		if strings.HasSuffix(name, "/index.html") {
			address = strings.TrimSuffix(address, "index.html") + "{$}"
		}
		mux.Handle(address, p)
		return err
	})
	if err != nil {
		panic(err) // the files are embedded
	}
	mux.Handle("GET "+Prefix+"{$}", http.RedirectHandler(Prefix+"chat.html", http.StatusFound))
	return mux
}

// kindOf is the media type of a file.
func kindOf(name string) string {
	_, kind, _ := strings.Cut(kinds, strings.TrimPrefix(path.Ext(name), ".")+" ")
	kind, _, _ = strings.Cut(kind, " ")
	return kind + "; charset=utf-8"
}

// ServeHTTP serves the file.
func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", p.kind)
	h.Set("ETag", p.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if strings.HasSuffix(p.name, ".js") {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	http.ServeContent(w, r, p.name, time.Time{}, bytes.NewReader(p.content))
}

// policy is the Content-Security-Policy of a file with these scripts and styles inside.
func policy(content []byte) string {
	return "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:; " +
		"connect-src 'self' ws: wss: http: https:; script-src 'self'" + hashes(content, "script") + "; style-src 'self'" + hashes(content, "style")
}

// hashes names the content of all elements with that tag, the way a Content-Security-Policy does.
func hashes(content []byte, tag string) string {
	var list strings.Builder
	for _, found := range regexp.MustCompile(fmt.Sprintf(`(?s)<%s\b[^>]*>(.*?)</%[1]s>`, tag)).FindAllSubmatch(content, -1) {
		sum := sha256.Sum256(found[1])
		list.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return list.String()
}
