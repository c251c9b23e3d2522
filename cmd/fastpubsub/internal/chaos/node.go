package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/proc"
)

// node is a site's node process, run after run at the same addresses with the same key.
type node struct {
	name         string
	listen, gate string // where it listens for nodes and for clients
	door         string // where others reach it
	join         []string
	dir          string // key, members last known, log
	program      string
	http         *http.Client

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has been waited for
}

// start starts the next run.
func (n *node) start() error {
	logs, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	args := []string{
		"node", "--listen", n.listen, "--advertise", n.door, "--ws", n.gate, "--name", n.name,
		"--data-dir", n.dir, "--log-level", "info", "--log-format", "json",
	}
	for _, addr := range n.join {
		args = append(args, "--join", addr)
	}
	cmd := exec.CommandContext(context.Background(), n.program, args...) // it outlives every call; Run ends it
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("chaos: start %s: %w", n.name, err)
	}
	exited := make(chan struct{})
	n.mu.Lock()
	n.cmd, n.exited = cmd, exited
	n.mu.Unlock()
	go func() { // ends with the process, which stop kills if nothing else does
		_ = cmd.Wait()
		close(exited)
	}()
	return nil
}

// signal sends a signal to the present run.
func (n *node) signal(s os.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Signal(s)
}

// gone is closed when the present run has ended.
func (n *node) gone() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.exited
}

// kill ends the present run without a word and waits for it.
func (n *node) kill() {
	n.mu.Lock()
	cmd, exited := n.cmd, n.exited
	n.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-exited
	}
}

// ready waits until clients are served.
func (n *node) ready(ctx context.Context) error {
	for n.ping(ctx) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.gone():
			return fmt.Errorf("chaos: %s has ended; its log is %s", n.name, filepath.Join(n.dir, "log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (n *node) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.gate+"/ping", nil)
	if err != nil {
		return err
	}
	res, err := n.http.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// state is what a drill wants to know of GET /v1/mesh.
type state struct {
	Routes []struct {
		Name string   `json:"name"`
		Path []string `json:"path"`
	} `json:"routes"`
	Links []struct {
		Name        string `json:"name"`
		MessagesOut uint64 `json:"messages_out"`
	} `json:"links"`
}

// look asks the node for its state.
func (n *node) look(ctx context.Context) (s state, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.gate+"/v1/mesh", nil)
	if err != nil {
		return s, err
	}
	res, err := n.http.Do(req)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s)
}

// memory is the resident set of the process in bytes; 0 where the system does not tell.
func (n *node) memory() int64 {
	n.mu.Lock()
	pid := n.cmd.Process.Pid
	n.mu.Unlock()
	bytes, err := proc.Resident(pid)
	if err != nil {
		return 0
	}
	return bytes
}
