package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

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
	current atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // guards what follows; held while files are read
	loaded [2]stamp
	failed bool // the last look found a pair that does not load, and that was logged
}

// stamp tells versions of a file apart.
type stamp struct {
	at   time.Time
	size int64
}

// NewFiles loads the pair, which must be good.
func NewFiles(cfg FilesConfig) (*Files, error) {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	f := &Files{cfg: cfg}
	if _, err := f.look(true); err != nil {
		return nil, err
	}
	return f, nil
}

// TLS is what to serve with.
func (f *Files) TLS() *tls.Config {
	return serverConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current.Load(), nil })
}

// Leaf is the certificate that is served now.
func (f *Files) Leaf() *x509.Certificate { return f.current.Load().Leaf }

// Run looks for changes until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	ticker := time.NewTicker(f.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f.report(f.look(false))
		case <-ctx.Done():
			return nil
		}
	}
}

// Reload reads the files now, changed or not.
func (f *Files) Reload() { f.report(f.look(true)) }

// report logs a look: a change, or what is wrong, once.
func (f *Files) report(changed bool, err error) {
	f.mu.Lock()
	before := f.failed
	f.failed = err != nil
	f.mu.Unlock()
	switch {
	case err != nil && !before:
		f.cfg.Log.Error().Err(err).Time("kept_until", f.Leaf().NotAfter).Msg("the new certificate does not load; the old one stays")
	case changed:
		f.cfg.Log.Info().Str("subject", f.Leaf().Subject.String()).Time("until", f.Leaf().NotAfter).Msg("certificate loaded")
	}
}

// look loads the pair if the files are others than those loaded, or in any case.
func (f *Files) look(always bool) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now [2]stamp
	for i, name := range []string{f.cfg.Cert, f.cfg.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return false, fmt.Errorf("cert: %w", err)
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if !always && now == f.loaded {
		return false, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cfg.Cert, f.cfg.Key)
	if err != nil {
		return false, fmt.Errorf("cert: %s, %s: %w", f.cfg.Cert, f.cfg.Key, err)
	}
	f.loaded = now
	f.current.Store(&pair)
	return true, nil
}

// serverConfig is what all certificates are served with.
func serverConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     append([]string{"http/1.1"}, protocols...),
		GetCertificate: get,
	}
}
