// Command fastpubsub runs a node of a FastPubSub mesh, talks to one, or shows a whole mesh at work on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the command line. Kong reads it: struct tags keep each option's flag, environment variable, default and help in one
// place, it resolves flags over environment over file, and it has no dependencies.
type commands struct {
	Config kong.ConfigFlag `help:"Read options from this TOML file: a table per command, keys as flags." placeholder:"FILE" env:"FASTPUBSUB_CONFIG"`

	Node     nodeCommand       `cmd:"" help:"Run a node."`
	Pub      pubCommand        `cmd:"" help:"Publish a message, or each line of standard input."`
	Sub      subCommand        `cmd:"" help:"Print the messages of channels as they come."`
	Status   statusCommand     `cmd:"" aliases:"routes" help:"Show a node's members, links and routes."`
	Top      topCommand        `cmd:"" help:"Watch the nodes and links of a mesh in the terminal: rates, drops, latencies, what happens."`
	Trace    traceCommand      `cmd:"" help:"Show the way of messages to a node or a channel: each hop with its times, what direct would have taken, and why other ways lost."`
	Doctor   doctorCommand     `cmd:"" help:"Look whether a node with these options would work, and what keeps it from its mesh: ports, UDP both ways, NAT, MTU, secrets, clock, TLS."`
	Demo     demoCommand       `cmd:"" help:"Run a mesh across emulated continents on this machine and watch it route."`
	Chaos    chaosCommand      `cmd:"" help:"Break a cluster of processes on this machine, and count what that costs."`
	Bench    benchCommand      `cmd:"" help:"Measure a mesh: latency, throughput, fan-out, memory."`
	Keygen   keygenCommand     `cmd:"" help:"Make a mesh secret, which keeps other nodes out."`
	Simulate simulateCommand   `cmd:"" help:"Run meshes of up to thousands of nodes in virtual time: what they cost, and how fast they are."`
	Options  configCommand     `cmd:"" name:"config" help:"Check a node's options."`
	Complete completionCommand `cmd:"" name:"completion" help:"Print a script that makes a shell complete command lines."`
	Version  versionCommand    `cmd:"" help:"Print the version."`
}

// streams are where a command reads and writes, so that tests can stand in.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Exit codes besides 0.
const (
	exitFailure = 1 // the command could not do its work
	exitUsage   = 2 // the command line, environment or config file is wrong
)

func main() {
	// It would write a line of its own form to standard error; package forward says the same in the log.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run parses and carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	if len(args) == 0 {
		fmt.Fprint(std.out, start)
		return 0
	}
	var c commands
	exit := -1
	parser, err := kong.New(&c, append(options(std), kong.Exit(func(code int) { exit = code }))...)
	if err != nil {
		fmt.Fprintln(std.err, "fastpubsub:", err)
		return exitFailure
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintln(std.err, "fastpubsub:", err)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(std, &c, optionsOf(&c, parsed), readNode(args))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(std.err, "fastpubsub:", err)
		if what := hint(err); what != "" {
			fmt.Fprintln(std.err, what)
		}
		if errors.Is(err, errUsage) {
			return exitUsage
		}
		return exitFailure
	}
	return 0
}

// options are how the command line is read, apart from what ends it.
func options(std streams) []kong.Option {
	return []kong.Option{
		kong.Name("fastpubsub"),
		kong.Description("Publish and subscribe across the Internet by the fastest path of the moment."),
		kong.Configuration(loadConfig),
		kong.Writers(std.out, std.err),
		kong.DefaultEnvars("FASTPUBSUB"),
	}
}

// errUsage marks errors that another command line would mend.
var errUsage = errors.New("usage")

// version is set by the linker in releases; otherwise the build's own information serves.
var version = ""

func versionText() string {
	info, ok := debug.ReadBuildInfo()
	text, commit := version, ""
	if ok {
		if text == "" {
			text = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				commit = " " + s.Value[:12]
			}
		}
	}
	if text == "" {
		text = "(devel)"
	}
	return text + commit
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(std streams) error {
	_, err := fmt.Fprintln(std.out, "fastpubsub", versionText())
	return err
}
