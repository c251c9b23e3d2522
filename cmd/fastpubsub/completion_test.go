package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/complete"
)

// Every command and option that people may see is offered.
func TestCompletionKnowsEverything(t *testing.T) {
	var c commands
	parser, err := kong.New(&c, options(streams{})...)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, leaf := range parser.Model.Leaves(true) {
		path := strings.Fields(leaf.Path())
		for _, flags := range leaf.AllFlags(true) {
			for _, flag := range flags {
				words := append(slices.Clip(path), "--"+flag.Name)
				candidates, _ := complete.Words(parser.Model, words)
				found := false
				for _, candidate := range candidates {
					found = found || candidate.Word == "--"+flag.Name
				}
				if !found {
					t.Errorf("%s: not offered", words)
				}
				checked++
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d options", checked)
	}
}

// inShell runs a script of a shell with the program on the path as fastpubsub, beside a file of that folder; the shell need not be there unless it must.
func inShell(t *testing.T, must bool, script string, shell ...string) string {
	t.Helper()
	if _, err := exec.LookPath(shell[0]); err != nil && !must {
		t.Skipf("no %s here", shell[0])
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "fastpubsub")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "certificate.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell[0], append(shell[1:], script)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "TERM=dumb")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestBashCompletes(t *testing.T) {
	got := inShell(t, true, `
source <(fastpubsub completion bash)
complete -p fastpubsub
try() { COMP_WORDS=(fastpubsub "$@"); COMP_CWORD=$#; _fastpubsub; echo "$*: ${COMPREPLY[*]}"; }
try no
try pub --mode ''
try pub --mode =
try pub --mode = deliver-one-r
try node --tls-cert cert
try node --no-
try nonsense --x
`, "bash", "--norc", "-c")
	want := `complete -F _fastpubsub fastpubsub
no: node
pub --mode : broadcast deliver-one-low-latency deliver-one-random
pub --mode =: broadcast deliver-one-low-latency deliver-one-random
pub --mode = deliver-one-r: deliver-one-random
node --tls-cert cert: certificate.pem
node --no-: --no-tcp
nonsense --x: 
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestFishCompletes(t *testing.T) {
	got := inShell(t, false, `
fastpubsub completion fish | source
complete -C 'fastpubsub no'
complete -C 'fastpubsub pub --mode=deliver-one-r'
complete -C 'fastpubsub pub --mode deliver-one-l'
complete -C 'fastpubsub node --tls-cert cert'
`, "fish", "--no-config", "-c")
	want := "node\tRun a node\n--mode=deliver-one-random\ndeliver-one-low-latency\ncertificate.pem\n"
	if got != want {
		t.Errorf("got %q", got)
	}
}

// Zsh completes only what is typed at a terminal, so what it would do with the words stands in here.
func TestZshCompletes(t *testing.T) {
	got := inShell(t, false, `
compdef() { print -r -- compdef "$@" }
_describe() { print -rl -- "${(@P)2}" }
_files() { print -r -- files "$@" }
source <(fastpubsub completion zsh)
try() { words=(fastpubsub "$@"); CURRENT=$#words; _fastpubsub }
try no
try pub --mode=deliver-one-r
try node --tls-cert ''
try node --acme-dir ''
try node --log-forma
try nonsense --x
`, "zsh", "-f", "-c")
	want := `compdef _fastpubsub fastpubsub
node:Run a node
--mode=deliver-one-random:
files
files -/
--log-format:How logs look (auto,console,json): auto is console on a terminal, else JSON
`
	if strings.ReplaceAll(got, "\n\n", "\n") != want {
		t.Errorf("got %q", got)
	}
}
