package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/fastpubsub/fastpubsub/wsgate/cert"
	"github.com/rs/zerolog"
)

// tlsOptions say how the client port speaks TLS.
type tlsOptions struct {
	TLSCert   string   `name:"tls-cert" help:"Serve clients by TLS with this certificate chain (PEM). Read again when it changes, and at SIGHUP." placeholder:"FILE" type:"path" group:"tls"`
	TLSKey    string   `name:"tls-key" help:"Key of the certificate (PEM)." placeholder:"FILE" type:"path" group:"tls"`
	Domain    []string `help:"Serve clients by TLS with a certificate got by ACME for this domain, whose port 443 must lead to the client port; may be given several times. By using it you agree to the terms of the authority." group:"tls"`
	ACMEEmail string   `name:"acme-email" help:"Where the authority writes to about certificates." placeholder:"EMAIL" group:"tls"`
	ACMECA    string   `name:"acme-ca" help:"Directory URL of the ACME authority; default Let's Encrypt." placeholder:"URL" group:"tls"`
	ACMEDir   string   `name:"acme-dir" help:"Directory that keeps ACME keys and certificates; default acme in --data-dir. Nodes of one domain should share it." placeholder:"DIR" type:"path" group:"tls"`
}

// check refuses what does not go together.
func (o *tlsOptions) check(dataDir string) error {
	switch {
	case (o.TLSCert == "") != (o.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case o.TLSCert != "" && len(o.Domain) > 0:
		return errors.New("either --tls-cert or --domain")
	case len(o.Domain) == 0 && (o.ACMEEmail != "" || o.ACMECA != "" || o.ACMEDir != ""):
		return errors.New("--acme-email, --acme-ca and --acme-dir need --domain")
	case len(o.Domain) > 0 && o.ACMEDir == "" && dataDir == "":
		return errors.New("--domain needs --data-dir or --acme-dir, to keep the certificate in")
	}
	return nil
}

// secure tells whether clients are to speak TLS.
func (o *tlsOptions) secure() bool { return o.TLSCert != "" || len(o.Domain) > 0 }

// security is TLS for the client port, and what keeps its certificate current.
type security struct {
	config *tls.Config // nil: none
	run    func(context.Context) error
}

// security makes what the options ask for. client is the address that clients are told.
func (o *tlsOptions) security(dataDir string, bound net.Addr, client string, hangups *hangups, log zerolog.Logger) (security, error) {
	switch {
	case o.TLSCert != "":
		files, err := cert.NewFiles(cert.FilesConfig{Cert: o.TLSCert, Key: o.TLSKey, Log: log})
		if err != nil {
			return security{}, err
		}
		if host, _, err := net.SplitHostPort(client); err == nil {
			if err := files.Leaf().VerifyHostname(host); err != nil {
				log.Warn().Err(err).Msg("clients will refuse the certificate for the address that they are told; see --advertise-ws")
			}
		}
		hangups.reload(files.Reload)
		return security{files.TLS(), files.Run}, nil
	case len(o.Domain) > 0:
		dir := o.ACMEDir
		if dir == "" {
			dir = filepath.Join(dataDir, "acme")
		}
		acme, err := cert.NewACME(cert.ACMEConfig{Domains: o.Domain, Dir: dir, Email: o.ACMEEmail, CA: o.ACMECA, Listen: bound, Log: log})
		if err != nil {
			return security{}, fmt.Errorf("%w: %w", errUsage, err)
		}
		return security{acme.TLS(), acme.Run}, nil
	default:
		return security{run: func(ctx context.Context) error { <-ctx.Done(); return nil }}, nil
	}
}

// clientAddr is where clients are told to reach the node: as given; or else at the domain that the certificate is for; or where it listens, as far as that can be told.
func (c *nodeCommand) clientAddr(bound net.Addr) string {
	if c.AdvertiseWS != "" {
		return c.AdvertiseWS
	}
	if len(c.Domain) > 0 {
		if _, port, err := net.SplitHostPort(bound.String()); err == nil {
			return net.JoinHostPort(c.Domain[0], port)
		}
	}
	return clientAddr(c.Advertise, bound)
}
