package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/watch"
	"github.com/rs/zerolog"
)

// FilesConfig configures Files.
type FilesConfig struct {
	Cert, Key string         // PEM files; required
	Every     time.Duration  // between looks for changes. Default 10 s
	Log       zerolog.Logger // the zero value logs nothing
}

// Files is a certificate and its key in files that may be replaced at any time.
type Files struct {
	cfg     FilesConfig
	files   *watch.Files
	current atomic.Pointer[tls.Certificate]
}

// NewFiles loads the pair, which must be good.
func NewFiles(cfg FilesConfig) (*Files, error) {
	f := &Files{cfg: cfg}
	files, err := watch.New(watch.Config{Names: []string{cfg.Cert, cfg.Key}, Every: cfg.Every, Load: f.load, Report: f.report})
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	f.files = files
	return f, nil
}

// TLS is what to serve with.
func (f *Files) TLS() *tls.Config {
	return serverConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current.Load(), nil })
}

// Leaf is the certificate that is served now.
func (f *Files) Leaf() *x509.Certificate { return f.current.Load().Leaf }

// Run looks for changes until ctx ends.
func (f *Files) Run(ctx context.Context) error { return f.files.Run(ctx) }

// Reload reads the files now, changed or not.
func (f *Files) Reload() { f.files.Reload() }

func (f *Files) load() error {
	pair, err := tls.LoadX509KeyPair(f.cfg.Cert, f.cfg.Key)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", f.cfg.Cert, f.cfg.Key, err)
	}
	f.current.Store(&pair)
	return nil
}

func (f *Files) report(err error) {
	if err != nil {
		f.cfg.Log.Error().Err(err).Time("kept_until", f.Leaf().NotAfter).Msg("the new certificate does not load; the old one stays")
	} else {
		f.cfg.Log.Info().Str("subject", f.Leaf().Subject.String()).Time("until", f.Leaf().NotAfter).Msg("certificate loaded")
	}
}

// serverConfig is what all certificates are served with.
func serverConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     append([]string{"http/1.1"}, protocols...),
		GetCertificate: get,
	}
}
