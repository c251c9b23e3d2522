package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// startPatience bounds the start of a process, and how long it may take until all nodes have routes to each other.
	startPatience = 30 * time.Second
	// wordsMost bounds what is kept of a process's log, in bytes.
	wordsMost = 4 << 10
)

// cluster is node processes on this computer.
type cluster struct{ nodes []*process }

// process is a node.
type process struct {
	cmd        *exec.Cmd
	node, gate string // addresses
	words      lastWords
	exited     chan struct{} // closed when the process has been waited for
}

// startCluster starts nodes and waits until each has routes to all others.
func startCluster(ctx context.Context, program string, count int) (c *cluster, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errors.New("bench: nodes do not come up"))
	defer cancel()
	c = &cluster{}
	defer func() {
		if err != nil {
			c.end()
		}
	}()
	for i := range count {
		args := []string{"node", "--listen", "127.0.0.1:0", "--ws", "127.0.0.1:0", "--name", fmt.Sprint("bench-", i+1), "--log-level", "warn", "--log-format", "json"}
		args = append(args, unlimited()...)
		if i > 0 {
			args = append(args, "--join", c.nodes[0].node)
		}
		p, err := startProcess(ctx, program, args)
		if p != nil {
			c.nodes = append(c.nodes, p)
		}
		if err != nil {
			return c, err
		}
	}
	return c, c.ready(ctx)
}

// unlimited are the options without which a node would limit what clients do, as all of a measurement's come from one address and do what they can.
func unlimited() []string {
	return []string{"--max-per-address=0", "--rate-messages=0", "--rate-bytes=0", "--rate-subscriptions=0", "--rate-connections=0"}
}

// startProcess starts a node and waits for its addresses. If it returns a process, that must be ended.
func startProcess(ctx context.Context, program string, args []string) (*process, error) {
	p := &process{exited: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, args...) // it outlives every call; end ends it
	p.cmd.Stderr = &p.words
	p.cmd.Env = nodeEnvironment(os.Environ())
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("bench: start a node: %w", err)
	}
	found := make(chan addresses, 1)
	go func() { // ends with the process, which end kills if nothing else does
		readAddresses(out, found)
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	select {
	case a := <-found:
		p.node, p.gate = a.node, a.gate
		return p, nil
	case <-p.exited:
		return p, fmt.Errorf("bench: a node did not start: %s", p.words.String())
	case <-ctx.Done():
		return p, context.Cause(ctx)
	}
}

// nodeEnvironment is an environment without the options of fastpubsub: a node must not join, by a variable, the mesh that this user runs.
func nodeEnvironment(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(v string) bool { return strings.HasPrefix(strings.ToUpper(v), "FASTPUBSUB_") })
}

// addresses are where a node listens.
type addresses struct{ node, gate string }

// readAddresses reads what a node prints to the end, and sends its addresses once.
func readAddresses(out io.Reader, found chan<- addresses) {
	var a addresses
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if known := a.gate != ""; a.parseLine(lines.Text()) && !known {
			found <- a
		}
	}
	_, _ = io.Copy(io.Discard, out) // a line that was too long ends the Scanner, not the node
}

// parseLine takes an address out of a line if there is one, and reports whether both are known.
func (a *addresses) parseLine(line string) bool {
	line = strings.TrimSpace(line)
	if rest, ok := strings.CutPrefix(line, "nodes "); ok {
		if addr, ok := strings.CutPrefix(strings.TrimSpace(rest), "udp "); ok {
			a.node = addr
		}
	}
	if rest, ok := strings.CutPrefix(line, "clients "); ok && a.node != "" {
		a.gate = strings.TrimSpace(rest)
	}
	return a.gate != ""
}

// ready waits until each node has routes to all others.
func (c *cluster) ready(ctx context.Context) error {
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, p := range c.nodes {
		for routes := -1; routes < len(c.nodes)-1; {
			var err error
			if routes, err = p.routes(ctx, web); err != nil {
				routes = -1
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-p.exited:
				return fmt.Errorf("bench: a node has ended: %s", p.words.String())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// routes asks the node how many it has.
func (p *process) routes(ctx context.Context, web *http.Client) (int, error) {
	address := "http" + strings.TrimSuffix(strings.TrimPrefix(p.gate, "ws"), "/ws") + "/v1/mesh"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := web.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var view struct {
		Routes []struct{} `json:"routes"`
	}
	err = json.NewDecoder(response.Body).Decode(&view)
	return len(view.Routes), err
}

// pids are the processes.
func (c *cluster) pids() (all []int) {
	for _, p := range c.nodes {
		all = append(all, p.cmd.Process.Pid)
	}
	return all
}

// end ends all nodes and waits for them. They are killed, since they leave nothing behind that would want to be put in order.
func (c *cluster) end() {
	for _, p := range c.nodes {
		_ = p.cmd.Process.Kill()
	}
	for _, p := range c.nodes {
		<-p.exited
	}
}

// lastWords keeps the end of a log.
type lastWords struct {
	mu   sync.Mutex // guards text
	text []byte
}

// Write takes it all and keeps the end.
func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	w.text = w.text[max(len(w.text)-wordsMost, 0):]
	return len(p), nil
}

// String is the end of the log.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.text))
}
