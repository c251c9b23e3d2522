package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// fetch gets a page of the process, with a token if bearer is not empty.
func (p *process) fetch(t *testing.T, path, bearer string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.gate+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// page fetches a page of the process, and reads it as JSON into v unless that is nil.
func (p *process) page(t *testing.T, path string, v any) (status int) {
	t.Helper()
	status, body := p.fetch(t, path, "")
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			t.Fatal(err)
		}
	}
	return status
}

// hosts are the addresses that the process gives to clients.
func (p *process) hosts(t *testing.T) (hosts []string) {
	t.Helper()
	var list struct{ Edges []struct{ Host string } }
	p.page(t, "/v1/bootstrap", &list)
	for _, e := range list.Edges {
		hosts = append(hosts, e.Host)
	}
	return hosts
}

// TestHangupAtOnce: a SIGHUP as soon as the node tells where it is, and many more, do not end it, though there is nothing to read again.
func TestHangupAtOnce(t *testing.T) {
	p := startProcess(t, "p")
	for range 50 {
		hangUp(t, p)
	}
	if status := p.page(t, "/healthz", nil); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
}

// TestDrainAndSecondSignal: a node that drains is not ready and no longer given to clients, by itself or others, but stays a member while a client stays; a second
// signal ends that.
func TestDrainAndSecondSignal(t *testing.T) {
	a := startProcess(t, "a")
	b := startProcess(t, "b", "--join", a.node, "--drain", "10m")
	wholeMesh(t, []*process{a, b})
	waitFor(t, "both are given to clients", func() bool { return len(a.hosts(t)) == 2 && len(b.hosts(t)) == 2 })
	if status := b.page(t, "/readyz", nil); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stays, _, err := websocket.Dial(ctx, "ws://"+b.gate+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stays.CloseNow() }()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, line, err := stays.Read(ctx); err != nil || string(line) != "RECONNECT" {
		t.Fatalf("got %q, %v", line, err)
	}
	if status := b.page(t, "/readyz", nil); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz while it drains: %d", status)
	}
	for _, p := range []*process{a, b} {
		waitFor(t, "only the other is given to clients", func() bool { hosts := p.hosts(t); return len(hosts) == 1 && hosts[0] == a.gate })
	}
	if !a.reaches(t, []*process{a, b}) {
		t.Error("it left the mesh before its client")
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, _, err := stays.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, want 1001", err)
	}
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, b.stderr)
	}
}
