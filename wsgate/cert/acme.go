package cert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ACMEConfig configures an ACME.
type ACMEConfig struct {
	Domains []string       // required
	Dir     string         // that keeps keys and certificates; required
	Email   string         // for the authority to write to; may be empty
	CA      string         // URL of the authority's directory. Default Let's Encrypt
	Listen  net.Addr       // of the client port, required
	Log     zerolog.Logger // the zero value logs nothing
}

// ACME is certificates of an authority for a list of domains.
type ACME struct {
	domains []string
	cache   *certmagic.Cache
	magic   *certmagic.Config
}

// NewACME checks the configuration. An ACME must be run, at least with a context that has ended.
func NewACME(cfg ACMEConfig) (*ACME, error) {
	if cfg.Dir == "" {
		return nil, errors.New("cert: ACME needs a directory that keeps keys and certificates")
	}
	if len(cfg.Domains) == 0 {
		return nil, errors.New("cert: ACME needs a domain")
	}
	for _, domain := range cfg.Domains {
		if !certmagic.SubjectQualifiesForPublicCert(domain) {
			return nil, fmt.Errorf("cert: no authority certifies the domain %q", domain)
		}
	}
	host, text, err := net.SplitHostPort(cfg.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("cert: client port: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("cert: client port: %w", err)
	}
	log := zap.New(logCore{cfg.Log})
	a := &ACME{domains: cfg.Domains}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		Logger:           log,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: cfg.Dir}, Logger: log,
		DefaultServerName: cfg.Domains[0], // of clients that name none, as those that connect to an address
	})
	a.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.magic, certmagic.ACMEIssuer{
		CA: cfg.CA, Email: cfg.Email, Agreed: true, Logger: log,
		DisableHTTPChallenge: true,
		ListenHost:           host, AltTLSALPNPort: port, // where we listen ourselves, so certmagic need not
	})}
	return a, nil
}

// TLS is what to serve with.
func (a *ACME) TLS() *tls.Config { return serverConfig(a.magic.GetCertificate, acmez.ACMETLS1Protocol) }

// Run gets certificates where there are none, and renews them, until ctx ends.
func (a *ACME) Run(ctx context.Context) error {
	defer a.cache.Stop()
	if err := a.magic.ManageAsync(ctx, a.domains); err != nil && ctx.Err() == nil {
		return fmt.Errorf("cert: %w", err)
	}
	<-ctx.Done()
	return nil
}

// logCore passes certmagic's log on. Its everyday news is for debugging; what went wrong is not.
type logCore struct{ to zerolog.Logger }

// Enabled takes all: zerolog has a level of its own.
func (c logCore) Enabled(zapcore.Level) bool { return true }

// With adds fields.
func (c logCore) With(fields []zapcore.Field) zapcore.Core {
	return logCore{c.to.With().Fields(fieldMap(fields)).Logger()}
}

// Check takes all.
func (c logCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return checked.AddCore(e, c)
}

// Write logs one entry.
func (c logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	event := c.to.Debug()
	switch {
	case e.Level >= zapcore.ErrorLevel:
		event = c.to.Error()
	case e.Level == zapcore.WarnLevel:
		event = c.to.Warn()
	}
	event.Str("from", "certmagic").Fields(fieldMap(fields)).Msg(e.Message)
	return nil
}

// Sync has nothing to do.
func (c logCore) Sync() error { return nil }

func fieldMap(fields []zapcore.Field) map[string]any {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	return m.Fields
}
