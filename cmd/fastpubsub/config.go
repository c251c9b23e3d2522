package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"
)

// configFile is a TOML file of options: a table per command, keys named like its flags.
//
//	[node]
//	listen = "0.0.0.0:7946"
//	join = ["seed.example.org:7946"]
//
// The doctor takes a node's.
type configFile struct{ commands map[string]map[string]any }

// loadConfig reads a config file for kong.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	c := &configFile{}
	if _, err := toml.NewDecoder(r).Decode(&c.commands); err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	return c, nil
}

// Validate refuses tables and keys that name no command or flag: a misspelt option must not be silently without effect.
func (c *configFile) Validate(app *kong.Application) error {
	for command, options := range c.commands {
		var node *kong.Node
		for _, child := range app.Children {
			if child.Name == command {
				node = child
			}
		}
		if node == nil {
			return fmt.Errorf("config file: no command %q", command)
		}
		for option := range options {
			found := false
			for _, flag := range node.Flags {
				found = found || flag.Name == option
			}
			if !found {
				return fmt.Errorf("config file: %s has no option %q", command, option)
			}
		}
	}
	return nil
}

// Resolve is the file's value for a flag. The file yields to the environment, as the environment yields to flags; kong by itself would let the file win.
func (c *configFile) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	if parent.Command == nil {
		return nil, nil
	}
	value, ok := c.commands[parent.Command.Name][flag.Name]
	if !ok && parent.Command.Name == "doctor" {
		value, ok = c.commands["node"][flag.Name]
	}
	if !ok {
		return nil, nil
	}
	if list, ok := value.([]any); ok { // kong reads lists as it would on the command line
		var parts []string
		for _, item := range list {
			parts = append(parts, fmt.Sprint(item))
		}
		return strings.Join(parts, ","), nil
	}
	return fmt.Sprint(value), nil
}
