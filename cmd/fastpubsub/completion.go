package main

import (
	"fmt"

	"github.com/alecthomas/kong"
	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/complete"
)

// completionCommand prints what makes shells complete command lines.
type completionCommand struct {
	Bash  completionScript `cmd:"" help:"Print the script for bash: source <(fastpubsub completion bash)."`
	Zsh   completionScript `cmd:"" help:"Print the script for zsh: source <(fastpubsub completion zsh), after compinit."`
	Fish  completionScript `cmd:"" help:"Print the script for fish: fastpubsub completion fish | source."`
	Words completionWords  `cmd:"" hidden:"" help:"Print the words that the last one may become; the scripts ask so."`
}

// completionScript prints the script of the shell that the command is named after.
type completionScript struct{}

// Run prints it.
func (completionScript) Run(std streams, line *kong.Context) error {
	script, err := complete.Script(line.Selected().Name)
	if err == nil {
		_, err = std.out.Write(script)
	}
	return err
}

// completionWords answers the scripts.
type completionWords struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"The command line after the program's name."`
}

// Run prints the candidates.
func (c *completionWords) Run(std streams, line *kong.Context) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	candidates, shell := complete.Words(line.Model, words)
	if shell != "" {
		_, err := fmt.Fprintln(std.out, shell)
		return err
	}
	for _, w := range candidates {
		if _, err := fmt.Fprintf(std.out, "%s\t%s\n", w.Word, w.Help); err != nil {
			return err
		}
	}
	return nil
}
