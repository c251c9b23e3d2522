package wsgate

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Edge is a node that clients can connect to.
type Edge struct {
	Host   string   `json:"host"` // host:port
	Name   string   `json:"name,omitempty"`
	Region string   `json:"region,omitempty"`
	Lat    *float64 `json:"lat,omitempty"`
	Lon    *float64 `json:"lon,omitempty"`
	Cost   float64  `json:"cost_ms"` // one way from the node that answers; 0 for itself
}

const (
	edgesDefault = 8           // edges in an answer: the official SDK pings every one, and gives up if one does not answer
	edgesMost    = 64          // that a client can ask for
	edgesFresh   = time.Second // how long a list is used again
)

// edgeList is the last list of edges.
type edgeList struct {
	mu    sync.Mutex // guards what follows; held while a list is made: one at a time, since that costs the control plane
	at    time.Time
	edges []Edge
}

// forget has the next answer made from a new list.
func (l *edgeList) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}

// current is the list, by ascending cost, with each host once; it is shared and must not be changed.
func (l *edgeList) current(now time.Time, list func() []Edge) []Edge {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && now.Sub(l.at) < edgesFresh {
		return l.edges
	}
	edges := slices.DeleteFunc(list(), func(e Edge) bool { return e.Host == "" })
	slices.SortStableFunc(edges, func(a, b Edge) int { return cmp.Or(cmp.Compare(a.Cost, b.Cost), cmp.Compare(a.Host, b.Host)) })
	seen := map[string]bool{} // two processes can share a host while one takes over from the other
	edges = slices.DeleteFunc(edges, func(e Edge) bool {
		again := seen[e.Host]
		seen[e.Host] = true
		return again
	})
	l.at, l.edges = now, edges
	return edges
}

// serveEdges answers which nodes a client should try: those on its own network, then this one, then the others as they are far from this one, which
// is a guess at how far they are from the client.
func (s *Server) serveEdges(w http.ResponseWriter, r *http.Request) {
	most := edgesDefault
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > edgesMost {
			writeFault(w, http.StatusBadRequest, "limit must be 1 to "+strconv.Itoa(edgesMost))
			return
		}
		most = n
	}
	near, far := []Edge{}, []Edge(nil) // an empty list is no null
	for _, e := range s.edges.current(time.Now(), s.listEdges) {
		if sameNetwork(e.Host, r.RemoteAddr) {
			near = append(near, e)
		} else {
			far = append(far, e)
		}
	}
	edges := append(near, far...)
	w.Header().Set("Access-Control-Allow-Origin", "*") // pages choose among nodes, wherever they come from
	writeJSON(w, http.StatusOK, map[string]any{"edges": edges[:min(len(edges), most)], "updated_at": time.Now().UTC().Format(time.RFC3339)})
}

// sameNetwork reports whether two host:port addresses share the first 24 bits of IPv4, or 48 of IPv6.
func sameNetwork(a, b string) bool {
	prefix := func(hostPort string) (p netip.Prefix, ok bool) {
		host, _, err := net.SplitHostPort(hostPort)
		if err != nil {
			return p, false
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return p, false
		}
		bits := 48
		if addr = addr.Unmap().WithZone(""); addr.Is4() {
			bits = 24
		}
		p, err = addr.Prefix(bits)
		return p, err == nil
	}
	pa, okA := prefix(a)
	pb, okB := prefix(b)
	return okA && okB && pa == pb
}

// writeJSON answers with a JSON object that must not be cached.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // what the overlay describes itself by does not encode
		http.Error(w, "no answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client is gone if this fails.
	_, _ = w.Write(append(body, '\n'))
}

// writeFault answers with an error.
func writeFault(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}
