package wsgate

import (
	"net"
	"net/http"
	"sync"
)

// knocksMost bounds the connections whose first request has not come, of all addresses together: each holds a goroutine and buffers for Timing.Request.
const knocksMost = 8192

// knocks are the connections whose first request has not come.
type knocks struct {
	useless func() // counts one that ends as such

	mu      sync.Mutex // guards what follows
	waiting map[net.Conn]struct{}
}

func newKnocks(useless func()) *knocks {
	return &knocks{useless: useless, waiting: map[net.Conn]struct{}{}}
}

// turned takes note of what became of a connection, as http.Server.ConnState tells.
func (k *knocks) turned(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !k.add(c) {
			k.useless()
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		if k.remove(c) {
			k.useless()
		}
	case http.StateActive, http.StateIdle:
	}
}

func (k *knocks) add(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.waiting) >= knocksMost {
		return false
	}
	k.waiting[c] = struct{}{}
	return true
}

// remove says whether the connection was among those that wait.
func (k *knocks) remove(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, waited := k.waiting[c]
	delete(k.waiting, c)
	return waited
}

// heard takes note that a connection has brought a request.
func (k *knocks) heard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := callerOf(r.Context()).conn; c != nil {
			k.remove(c)
		}
		next.ServeHTTP(w, r)
	})
}
