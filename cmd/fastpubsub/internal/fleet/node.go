package fleet

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

// lookPatience is how long a node has to tell its state: many on few processors take long.
const lookPatience = 10 * time.Second

// Node is a site's node process, run after run at the same addresses with the same key.
type Node struct {
	Name string
	Gate string // where it listens for clients
	Dir  string // key, members last known, log

	listen  string // where it listens for nodes
	door    string // where others reach it
	join    string // "": it joins nobody
	program string
	http    *http.Client

	fullMesh int
	threads  int

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has been waited for
}

// Start starts the next run.
func (n *Node) Start() error {
	logs, err := os.OpenFile(filepath.Join(n.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	args := []string{
		"node", "--listen", n.listen, "--advertise", n.door, "--ws", n.Gate, "--name", n.Name,
		"--data-dir", n.Dir, "--mesh-secret-file", n.secretFile(), "--log-level", "info", "--log-format", "json",
	}
	if n.fullMesh > 0 {
		args = append(args, "--full-mesh", fmt.Sprint(n.fullMesh))
	}
	if n.join != "" {
		args = append(args, "--join", n.join)
	}
	program := n.program
	if nice, err := exec.LookPath("nice"); err == nil { // however many nodes there are, the network between them must not come late
		program, args = nice, append([]string{"-n", "10", n.program}, args...)
	}
	cmd := exec.CommandContext(context.Background(), program, args...) // it outlives every call; Kill ends it
	cmd.Stdout, cmd.Stderr = logs, logs
	if n.threads > 0 {
		cmd.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", n.threads))
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("fleet: start %s: %w", n.Name, err)
	}
	exited := make(chan struct{})
	n.mu.Lock()
	n.cmd, n.exited = cmd, exited
	n.mu.Unlock()
	go func() { // ends with the process, which Kill ends if nothing else does
		_ = cmd.Wait()
		close(exited)
	}()
	return nil
}

func (n *Node) secretFile() string { return filepath.Join(n.Dir, "mesh.secret") }

// Hold gives the node these secrets, from its next look or start on.
func (n *Node) Hold(secrets ...trust.Secret) error {
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

// Signal sends a signal to the present run.
func (n *Node) Signal(s os.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Signal(s)
}

// Gone is closed when the present run has ended.
func (n *Node) Gone() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.exited
}

// Kill ends the present run without a word and waits for it.
func (n *Node) Kill() {
	n.mu.Lock()
	cmd, exited := n.cmd, n.exited
	n.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-exited
	}
}

// Ready waits until clients are served.
func (n *Node) Ready(ctx context.Context) error {
	for n.ping(ctx) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.Gone():
			return fmt.Errorf("fleet: %s has ended; its log is %s", n.Name, filepath.Join(n.Dir, "log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (n *Node) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Gate+"/ping", nil)
	if err != nil {
		return err
	}
	res, err := n.http.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Look asks the node for its state, as GET /v1/mesh tells it, into what JSON can be decoded to.
func (n *Node) Look(ctx context.Context, into any) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Gate+"/v1/mesh", nil)
	if err != nil {
		return err
	}
	res, err := n.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

// Memory is the resident set of the process in bytes; 0 where the system does not tell.
func (n *Node) Memory() int64 {
	bytes, err := proc.Resident(n.pid())
	if err != nil {
		return 0
	}
	return bytes
}

// CPU is the processor time that the present run has taken; 0 where the system does not tell.
func (n *Node) CPU() time.Duration {
	took, err := proc.CPU(n.pid())
	if err != nil {
		return 0
	}
	return took
}

func (n *Node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}
