package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/watch"
	"github.com/rs/zerolog"
)

// trustOptions say who may be a node of the mesh. Without any of them, and without a secret in --join, everybody may.
type trustOptions struct {
	MeshSecretFile string `help:"File with the mesh secret, as by fastpubsub keygen: nodes without it stay out, and see nothing. Of several, one a line, the first is used and all are believed. Read again when it changes, and at SIGHUP." placeholder:"FILE" type:"path" group:"mesh" xor:"mesh-secret"`
	MeshSecret     string `env:"FASTPUBSUB_MESH_SECRET" hidden:"" xor:"mesh-secret"` // for containers: others on the machine can read a command line
	MeshCA         string `name:"mesh-ca" help:"Certificates (PEM) of the authorities whose nodes are believed, instead of one derived from the mesh secret, which then seals membership packets only. Read again when it changes, and at SIGHUP." placeholder:"FILE" type:"path" group:"mesh"`
	MeshCert       string `help:"This node's certificate chain (PEM) for other nodes, by such an authority and for clients and servers both. Read again when it changes, and at SIGHUP." placeholder:"FILE" type:"path" group:"mesh"`
	MeshKey        string `help:"Its key (PKCS #8 PEM, Ed25519), which is also the node's identity, instead of the one in --data-dir." placeholder:"FILE" type:"path" group:"mesh"`
}

// keygenCommand makes mesh secrets.
type keygenCommand struct{}

// Run prints a new secret.
func (keygenCommand) Run(std streams) error {
	_, err := fmt.Fprintln(std.out, trust.NewSecret().Text())
	return err
}

// seeds are the addresses of --join, and the secret in them, if any has one.
func seeds(join []string) (addrs []string, secret *trust.Secret, err error) {
	for _, text := range join {
		addr, s, err := trust.ParseSeed(text)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: --join: %w", errUsage, err)
		}
		if s != nil && secret != nil && *s != *secret {
			return nil, nil, fmt.Errorf("%w: --join: two secrets, %v and %v", errUsage, *secret, *s)
		}
		if s != nil {
			secret = s
		}
		addrs = append(addrs, addr)
	}
	return addrs, secret, nil
}

// check refuses what does not go together.
func (o *trustOptions) check(secret *trust.Secret) error {
	own := []string{o.MeshCA, o.MeshCert, o.MeshKey}
	switch {
	case slices.Contains(own, "") && slices.ContainsFunc(own, func(s string) bool { return s != "" }):
		return errors.New("--mesh-ca, --mesh-cert and --mesh-key go together")
	case o.MeshCA != "" && !o.closed(secret):
		return errors.New("--mesh-ca needs a mesh secret, too: membership packets travel outside of TLS and are sealed with it; see --mesh-secret-file")
	}
	return nil
}

// closed tells whether only nodes with a secret may join.
func (o *trustOptions) closed(secret *trust.Secret) bool {
	return o.MeshSecretFile != "" || o.MeshSecret != "" || secret != nil
}

// membership is what makes this node one of its mesh, and keeps that current.
type membership struct {
	options *trustOptions
	key     ed25519.PrivateKey
	seed    *trust.Secret // of --join
	current atomic.Pointer[trust.Credentials]
	apply   func(*trust.Credentials) error // nil until there is a node
	files   *watch.Files                   // nil: there is nothing that could change
	log     zerolog.Logger
}

// membership reads what the options name.
func (o *trustOptions) membership(key ed25519.PrivateKey, seed *trust.Secret, hangups *hangups, log zerolog.Logger) (*membership, error) {
	m := &membership{options: o, key: key, seed: seed, log: log}
	names := slices.DeleteFunc([]string{o.MeshSecretFile, o.MeshCA, o.MeshCert, o.MeshKey}, func(s string) bool { return s == "" })
	var err error
	if len(names) == 0 {
		err = m.load()
	} else {
		if m.files, err = watch.New(watch.Config{Names: names, Load: m.load, Report: m.report}); err == nil {
			hangups.reload(m.files.Reload)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return m, nil
}

// load reads everything and has the node use it. Errors never show what the files hold.
func (m *membership) load() error {
	next, err := m.read()
	if err == nil && m.apply != nil {
		err = m.apply(next)
	}
	if err != nil {
		return err
	}
	m.current.Store(next)
	return nil
}

func (m *membership) read() (*trust.Credentials, error) {
	secrets, err := m.secrets()
	if err != nil {
		return nil, err
	}
	o := m.options
	switch {
	case o.MeshCA != "":
		key, err := mesh.LoadKey(o.MeshKey)
		if err != nil {
			return nil, fmt.Errorf("--mesh-key: %w", err)
		}
		if !key.Equal(m.key) {
			return nil, fmt.Errorf("--mesh-key %s: a node keeps its key while it runs: restart it", o.MeshKey)
		}
		roots, err1 := os.ReadFile(o.MeshCA)
		chain, err2 := os.ReadFile(o.MeshCert)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return trust.Issued(m.key, chain, roots, secrets)
	case len(secrets) > 0:
		return trust.Sealed(m.key, secrets)
	default:
		return trust.Open(m.key)
	}
}

func (m *membership) secrets() ([]trust.Secret, error) {
	var secrets []trust.Secret
	text, source := m.options.MeshSecret, "FASTPUBSUB_MESH_SECRET"
	if m.options.MeshSecretFile != "" {
		source = "--mesh-secret-file " + m.options.MeshSecretFile
		b, err := os.ReadFile(m.options.MeshSecretFile)
		if err != nil {
			return nil, fmt.Errorf("--mesh-secret-file: %w", err)
		}
		text = string(b)
	}
	if m.options.MeshSecretFile != "" || text != "" { // an empty file must not open the node
		var err error
		if secrets, err = trust.ParseSecrets(text); err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
	}
	switch {
	case m.seed == nil:
	case len(secrets) == 0:
		secrets = []trust.Secret{*m.seed}
	case m.apply == nil && !slices.Contains(secrets, *m.seed): // later, what was on the command line may be over
		return nil, fmt.Errorf("--join carries secret %v, which is not in %s", *m.seed, source)
	}
	return secrets, nil
}

func (m *membership) report(err error) {
	if err != nil {
		m.log.Error().Err(err).Msg("the new mesh secret or certificate does not load; the old one stays")
		return
	}
	now := m.current.Load()
	m.log.Info().Str("trust", now.String()).Time("until", now.Until()).Msg("mesh secrets and certificates loaded")
}

// run keeps the credentials current until ctx ends.
func (m *membership) run(ctx context.Context) error {
	if m.files == nil {
		<-ctx.Done()
		return nil
	}
	return m.files.Run(ctx)
}

// expose says in the log, plainly, who can do what with this node.
func (c *nodeCommand) expose(m *membership, clients net.Addr, log zerolog.Logger) {
	anybody := false
	reach := func(addr, what string) string {
		host, _, _ := net.SplitHostPort(addr)
		if loopback(host) {
			return "any process on this machine " + what
		}
		anybody = true
		return "ANYBODY who reaches " + addr + " " + what
	}
	var nodes, gate string
	switch secrets := m.current.Load().Secrets(); {
	case c.MeshCA != "":
		nodes = fmt.Sprintf("only with a certificate by %s and mesh secret %v; that of this node is good until %v", c.MeshCA, secrets[0], m.current.Load().Until())
	case len(secrets) > 0:
		nodes = "only with mesh secret " + secrets[0].String()
	default:
		nodes = reach(c.Listen, "can join, read and write everything")
	}
	if c.wanted() {
		gate = "only with tokens"
	} else {
		gate = reach(clients.String(), "can read and write everything")
	}
	if c.secure() {
		gate += ", by TLS"
	} else if host, _, _ := net.SplitHostPort(clients.String()); !loopback(host) {
		gate += ", in the clear, unless something before this node speaks TLS"
	}
	event := log.Info()
	if anybody {
		event = log.Warn()
	}
	event.Str("nodes", nodes).Str("clients", gate).Msg("who may use this node")
	for _, name := range c.secretFiles() {
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
			log.Warn().Str("file", name).Stringer("mode", info.Mode().Perm()).Msg("anybody on this machine can read this secret: chmod o= it")
		}
	}
}

// secretFiles are the files of which whoever reads them has what they protect. Master tokens may be there as hashes only.
func (c *nodeCommand) secretFiles() []string {
	names := append([]string{c.MeshSecretFile, c.MeshKey, c.TokenSecretFile}, c.FormerTokenSecretFile...)
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// loopback tells whether a host is this machine for sure.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
