package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/rs/zerolog"
)

// configCommand is about options.
type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Tell what a node's options are, by environment and config file, and whether a node could start with them."`
}

// configCheckCommand checks a node's options.
type configCheckCommand struct{}

// Run prints what is not as usual, or what is wrong.
func (configCheckCommand) Run(std streams, all *commands) error {
	args := []string{"node"}
	if all.Config != "" {
		args = []string{"--config", string(all.Config), "node"}
	}
	read, err := readNode(args)()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := read.check(); err != nil {
		return err
	}
	if err := read.startable(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, name := range read.given {
		value := read.values[name]
		if name == "mesh-secret" || name == "token-secret" || strings.Contains(value, "fps://") {
			value = "(secret)"
		}
		fmt.Fprintf(w, "%s\t%s\n", name, value)
	}
	fmt.Fprintln(w, "a node could start with these; all others are as fastpubsub node --help says")
	return w.Flush()
}

// startable refuses what a node finds wrong only at its start, as far as that shows without one: it binds no port and leaves nothing behind. A reload does without
// it, since a running node goes on with the files that it has read.
func (o *nodeOptions) startable() error {
	c := o.node
	if _, err := mesh.Advertised(c.Advertise, &net.UDPAddr{IP: net.IPv6loopback, Port: 1}); err != nil {
		return err
	}
	if err := writable(c.DataDir); err != nil {
		return err
	}
	_, secret, err := seeds(c.Join)
	if err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(nil) // in place of the one that a start makes
	if err == nil && c.MeshKey != "" {
		key, err = mesh.LoadKey(c.MeshKey)
	}
	if err != nil {
		return err
	}
	m := membership{options: &c.trustOptions, key: key, seed: secret}
	if _, err := m.read(); err != nil {
		return err
	}
	s, err := c.security(c.DataDir, &net.TCPAddr{IP: net.IPv6loopback, Port: 443}, "", new(hangups), zerolog.Nop())
	if err != nil {
		return err
	}
	return free(s.run)
}

// writable refuses a directory that could not be written to, or made.
func writable(dir string) error {
	if dir == "" {
		return nil
	}
	at := dir
	_, err := os.Stat(at)
	for ; errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at); _, err = os.Stat(at) {
		at = filepath.Dir(at)
	}
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(at, ".check"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("--data-dir %s: %w", dir, err)
	}
	return nil
}
