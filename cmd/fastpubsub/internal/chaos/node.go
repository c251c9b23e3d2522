package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/proc"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
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
		"--data-dir", n.dir, "--mesh-secret-file", n.secretFile(), "--log-level", "info", "--log-format", "json",
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

func (n *node) secretFile() string { return filepath.Join(n.dir, "mesh.secret") }

// hold gives the node these secrets, from its next look or start on.
func (n *node) hold(secrets []trust.Secret) error {
	var text strings.Builder
	for _, s := range secrets {
		text.WriteString(s.Text() + "\n")
	}
	temporary := n.secretFile() + ".tmp" // the node must not read half of it
	if err := os.WriteFile(temporary, []byte(text.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, n.secretFile())
}

// shows is an error unless node and peers all show certificates of the secret.
func (n *node) shows(ctx context.Context, secret trust.Secret, peers int) error {
	s, err := n.look(ctx)
	if err != nil {
		return err
	}
	shown := map[string]int{s.Node.Authority: 1}
	for _, l := range s.Links {
		shown[l.Authority]++
	}
	for authority, count := range shown {
		if !strings.HasSuffix(authority, secret.String()) || count != 1+peers {
			return fmt.Errorf("%w: after the secret became %v, %s sees certificates by %v", ErrBroken, secret, n.name, shown)
		}
	}
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
	Node struct {
		Authority string `json:"authority"`
	} `json:"node"`
	Routes []struct {
		Name string   `json:"name"`
		Path []string `json:"path"`
	} `json:"routes"`
	Links []struct {
		Name        string `json:"name"`
		MessagesOut uint64 `json:"messages_out"`
		Authority   string `json:"authority"`
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
