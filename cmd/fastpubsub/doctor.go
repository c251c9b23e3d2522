package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/doctor"
	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/rs/zerolog"
)

// doctorCommand looks whether a node with these options would work, and be linked: it takes those of a node.
type doctorCommand struct {
	nodeCommand `embed:""`
	JSON        bool `name:"json" help:"Print the findings as JSON."`
}

// errUnwell reports findings that keep a node from working.
var errUnwell = errors.New("a node would not work well")

// Run looks at everything, and fails if something keeps a node from working.
func (c *doctorCommand) Run(ctx context.Context, std streams) error {
	var all []doctor.Finding
	tell := func(f doctor.Finding) {
		all = append(all, f)
		if !c.JSON {
			_ = doctor.Print(std.out, f)
		}
	}
	cfg, err := c.config()
	if err == nil {
		err = doctor.Run(ctx, cfg, tell)
	}
	switch {
	case errors.Is(err, errUsage):
		tell(doctor.Finding{Verdict: doctor.Fail, What: "options", Detail: err.Error(), Do: "fastpubsub node --help says what they are for"})
	case err != nil:
		return err
	}
	if c.JSON {
		if err := doctor.Write(std.out, all); err != nil {
			return err
		}
	}
	if n := doctor.Failures(all); n > 0 {
		return fmt.Errorf("%w: %d of %d findings", errUnwell, n, len(all))
	}
	return nil
}

// config is what the doctor is to look at.
func (c *doctorCommand) config() (doctor.Config, error) {
	if err := (&nodeOptions{node: &c.nodeCommand}).check(); err != nil {
		if !errors.Is(err, errUsage) { // as of files
			err = fmt.Errorf("%w: %w", errUsage, err)
		}
		return doctor.Config{}, err
	}
	join, secret, err := seeds(c.Join)
	if err != nil {
		return doctor.Config{}, err
	}
	// Not the node's own key, unless a certificate is for it: the node may be running, and the data directory is left as it is.
	identity, err := mesh.LoadIdentity("", c.MeshKey, time.Now())
	if err != nil {
		return doctor.Config{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	m := membership{options: &c.trustOptions, key: identity.Key, seed: secret, log: zerolog.Nop()}
	credentials, err := m.read()
	if err != nil {
		return doctor.Config{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	client := c.AdvertiseWS
	if client == "" {
		client = c.WS
	}
	return doctor.Config{
		Listen: c.Listen, Advertise: c.Advertise, TCP: c.TCP, Seeds: join, Trust: credentials, WS: c.WS, Client: client,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, Connections: c.MaxConnections, DataDir: c.DataDir,
	}, nil
}
