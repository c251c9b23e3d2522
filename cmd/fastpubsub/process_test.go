package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh"
)

// asProgram makes the test binary behave as the program, so that tests can run it as separate processes. It is not named like an option, which a
// bench keeps from its nodes.
const asProgram = "TEST_AS_FASTPUBSUB"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience bounds every wait on real processes; what is asserted is that things happen, not how fast.
const patience = 60 * time.Second

// process is a node in a process of its own.
type process struct {
	cmd        *exec.Cmd
	name       string
	node, gate string // addresses
	stderr     *lockedBuffer
}

// lockedBuffer is a buffer that is read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

var announced = regexp.MustCompile(`(?s)nodes    udp (\S+).*clients  wss?://(\S+)/ws.*join it  (fastpubsub node [^\n]*)\n`)

func startProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{name: name, stderr: new(lockedBuffer)}
	p.cmd = program(t.Context(), append([]string{"node", "--listen", "127.0.0.1:0", "--ws", "127.0.0.1:0", "--name", name}, args...)...)
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&text, lines.Text())
		if found := announced.FindStringSubmatch(text.String()); found != nil {
			p.node, p.gate = found[1], found[2]
			return p
		}
	}
	t.Fatalf("%s announced nothing: %s\n%s", name, text.String(), p.stderr)
	return nil
}

// client runs a client command against the process and returns what it printed.
func (p *process) client(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := program(ctx, append(args, "--url", "ws://"+p.gate+"/ws")...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	return string(out), err
}

func (p *process) view(t *testing.T) (v mesh.View) {
	t.Helper()
	out, err := p.client(t, "", "status", "--json", "--token", testMaster)
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	if err != nil {
		t.Fatalf("status of %s: %v", p.name, err)
	}
	return v
}

// reaches reports whether the process has routes to all others.
func (p *process) reaches(t *testing.T, all []*process) bool {
	t.Helper()
	var names []string
	for _, r := range p.view(t).Routes {
		names = append(names, r.Name)
	}
	for _, other := range all {
		if other != p && !slices.Contains(names, other.name) {
			return false
		}
	}
	return true
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); {
		if time.Since(began) > patience {
			t.Fatalf("never: %s", what)
		}
	}
}

func wholeMesh(t *testing.T, all []*process) {
	t.Helper()
	waitFor(t, "every process reaches every other", func() bool {
		return !slices.ContainsFunc(all, func(p *process) bool { return !p.reaches(t, all) })
	})
}

// roundTrip subscribes at one process and publishes at another until the message comes; interest takes a moment to spread.
func roundTrip(t *testing.T, from, to *process) {
	t.Helper()
	channel := fmt.Sprintf("from.%s.to.%s", from.name, to.name)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sub := program(ctx, "sub", channel, "-n", "1", "--url", "ws://"+to.gate+"/ws")
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(out)
		got <- string(b)
	}()
	for {
		if _, err := from.client(t, "", "pub", channel, "hello"); err != nil {
			t.Fatalf("publish at %s: %v", from.name, err)
		}
		select {
		case text := <-got:
			if err := sub.Wait(); err != nil || text != channel+" hello\n" {
				t.Fatalf("%s to %s: %q, %v", from.name, to.name, text, err)
			}
			return
		default:
		}
	}
}

// TestFiveProcesses: five processes, each joined through one seed and not all the same, form one mesh; anybody reaches
// anybody; the seed's death disturbs nobody, and a newcomer joins through any of the others.
func TestFiveProcesses(t *testing.T) {
	all := []*process{startProcess(t, "p0")}
	for i := 1; i < 5; i++ {
		all = append(all, startProcess(t, fmt.Sprint("p", i), "--join", all[(i-1)/2].node))
	}
	wholeMesh(t, all)
	for i := range all {
		roundTrip(t, all[i], all[(i+2)%5])
	}
	if err := all[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest := append(all[1:5:5], startProcess(t, "p5", "--join", all[3].node))
	wholeMesh(t, rest)
	roundTrip(t, rest[4], rest[0])
	roundTrip(t, rest[1], rest[4])
	for _, p := range rest {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range rest {
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", p.name, err, p.stderr)
		}
	}
}

// TestRestartKeepsIdentity: a data directory makes the same node of the next start, and it finds its mesh without a seed.
func TestRestartKeepsIdentity(t *testing.T) {
	dir := t.TempDir()
	a := startProcess(t, "a")
	b := startProcess(t, "b", "--join", a.node, "--data-dir", dir)
	wholeMesh(t, []*process{a, b})
	before := b.view(t).Node
	_ = b.cmd.Process.Signal(os.Interrupt)
	if err := b.cmd.Wait(); err != nil {
		t.Fatalf("Ctrl-C: %v\n%s", err, b.stderr)
	}
	b = startProcess(t, "b", "--data-dir", dir)
	wholeMesh(t, []*process{a, b})
	after := b.view(t).Node
	if before.ID != after.ID || after.Boot <= before.Boot {
		t.Errorf("node %v boot %d became %v boot %d", before.ID, before.Boot, after.ID, after.Boot)
	}
}
