package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/alecthomas/kong"
	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
	"github.com/rs/zerolog"
)

// options of a node as they were read: the command, and the value of each by its flag's name.
type nodeOptions struct {
	node   *nodeCommand
	values map[string]string
	given  []string // names of those that are not at their defaults
}

// readOptions reads command line, environment and config file.
type readOptions func() (*nodeOptions, error)

// readNode is readOptions for a command line.
func readNode(args []string) readOptions {
	return func() (*nodeOptions, error) {
		var c commands
		parser, err := kong.New(&c, append(options(streams{nil, io.Discard, io.Discard}), kong.Exit(func(int) {}))...)
		if err != nil {
			return nil, err
		}
		parsed, err := parser.Parse(args)
		if err != nil {
			return nil, err
		}
		return optionsOf(&c, parsed), nil
	}
}

// optionsOf are the options in what was parsed.
func optionsOf(c *commands, parsed *kong.Context) *nodeOptions {
	read := &nodeOptions{node: &c.Node, values: map[string]string{}}
	for _, flag := range parsed.Selected().Flags {
		value := fmt.Sprint(flag.Target.Interface())
		read.values[flag.Name] = value
		if value != flag.Default && (flag.HasDefault || !flag.Target.IsZero()) {
			read.given = append(read.given, flag.Name)
		}
	}
	slices.Sort(read.given)
	return read
}

// check refuses options that do not go together, and reads the files that they name.
func (o *nodeOptions) check() error {
	c := o.node
	_, secret, err := seeds(c.Join)
	if err != nil {
		return err
	}
	if err := c.check(secret); err != nil {
		return err
	}
	if err := c.limitOptions.check(); err != nil {
		return err
	}
	if _, err := parseGeo(c.Geo); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	var secrets []trust.Secret
	if c.closed(secret) {
		m := membership{options: &c.trustOptions, seed: secret}
		if secrets, err = m.secrets(); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if !c.wanted() {
		return nil
	}
	_, err = c.authority(c, secrets, zerolog.Nop(), func() *mesh.Node { return nil })
	return err
}

// reloader takes over at SIGHUP what may change while a node runs. Files of certificates and mesh secrets are read again by whoever uses them.
type reloader struct {
	read      readOptions
	now       *nodeOptions
	node      *mesh.Node
	server    *wsgate.Server
	member    *membership
	tokens    *atomic.Pointer[tokenOptions] // those that the authority goes by
	authority *access.Authority             // nil: clients need no tokens
	log       zerolog.Logger
}

// changeable tells whether an option is taken over. Whether clients need tokens at all is not; by which, is. Of other options that name files the names are not,
// but what the files hold is.
func (r *reloader) changeable(name string) bool {
	switch name {
	case "log-level", "join", "max-connections", "max-per-address", "max-subscriptions", "max-per-token", "max-token-subscriptions", "max-strikes",
		"rate-messages", "rate-bytes", "rate-token-messages", "rate-token-bytes", "rate-subscriptions", "rate-connections":
		return true
	case "require-tokens", "token-secret", "token-secret-file", "former-token-secret-file", "master-token-file", "jwt-key":
		return r.authority != nil
	default:
		return false
	}
}

func (r *reloader) reload() {
	next, err := r.read()
	if err == nil {
		err = next.check()
	}
	var takeTokens func()
	if err == nil {
		takeTokens, err = r.readTokens(&next.node.tokenOptions)
	}
	var addrs []string
	if err == nil {
		if addrs, _, err = seeds(next.node.Join); err == nil {
			err = r.node.SetSeeds(addrs)
		}
	}
	if err == nil { // the last that could fail, and does not, as the limits were checked
		err = r.server.SetLimits(next.node.limits(), next.node.rates())
	}
	if err != nil {
		r.log.Error().Err(err).Msg("the options are wrong now; those before stay")
		return
	}
	takeTokens()
	r.tell(next)
}

// tell has the log say what was taken over, and what was not; and sets its level.
func (r *reloader) tell(next *nodeOptions) {
	var taken, kept []string
	for _, name := range slices.Sorted(maps.Keys(next.values)) {
		switch {
		case next.values[name] == r.now.values[name]:
		case r.changeable(name):
			taken = append(taken, name)
		default:
			kept = append(kept, name)
		}
	}
	if level, err := zerolog.ParseLevel(next.node.LogLevel); err == nil { // it was one of those known
		zerolog.SetGlobalLevel(level)
	}
	for _, name := range taken {
		r.now.values[name] = next.values[name]
	}
	if len(kept) > 0 {
		r.log.Warn().Strs("options", kept).Msg("these have changed, but a node takes them at its start only")
	}
	r.log.Info().Strs("changed", taken).Msg("options read again")
}

// readTokens reads the files that the options name now; take has them used.
func (r *reloader) readTokens(o *tokenOptions) (take func(), err error) {
	switch {
	case r.authority == nil:
		return func() {}, nil
	case !o.wanted():
		return nil, errors.New("clients of this node need tokens, and no option says any more by which secret or key: name one, or restart the node if it is to be open")
	}
	keys, masters, err := o.credentials(r.member.current.Load().Secrets())
	return func() {
		r.tokens.Store(o) // first: who turns to another mesh secret meanwhile goes by them
		r.authority.SetKeys(keys)
		r.authority.SetMasters(masters)
	}, err
}
