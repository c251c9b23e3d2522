package cert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	const magic = "github.com/caddyserver/certmagic."
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(magic+"(*RingBufferRateLimiter).loop"), // it never ends
		goleak.IgnoreAnyFunction(magic+"keepLockfileFresh"))             // it sleeps on for 5 s
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign is a certificate as PEM.
func (a *authority) sign(serial int64, domains []string, public any) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: domains[0]}, DNSNames: domains,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, public, a.key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// pair is a certificate for example.org and its key as PEM.
func (a *authority) pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private := newKey(t)
	cert, err := a.sign(serial, []string{"example.org"}, private.Public())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// files are where a pair is, and how it is replaced.
type files struct {
	t         *testing.T
	cert, key string
	writes    int
}

func newFiles(t *testing.T) *files {
	dir := t.TempDir()
	return &files{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
}

// write replaces a file; its time of modification is another each time, however coarse the file system's clock.
func (f *files) write(name string, content []byte) {
	f.t.Helper()
	f.writes++
	at := time.Unix(1_700_000_000+int64(f.writes), 0)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(name, at, at); err != nil {
		f.t.Fatal(err)
	}
}

func serial(f *Files) int64 { return f.Leaf().SerialNumber.Int64() }

// TestFilesChange: a new pair is served soon after it is there; a broken or half replaced one changes nothing and is logged once.
func TestFilesChange(t *testing.T) {
	ca := newAuthority(t)
	first, firstKey := ca.pair(t, 1)
	second, secondKey := ca.pair(t, 2)
	where := newFiles(t)
	where.write(where.cert, first)
	where.write(where.key, firstKey)
	var logged bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		f, err := NewFiles(FilesConfig{Cert: where.cert, Key: where.key, Log: zerolog.New(&logged)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = f.Run(ctx) })
		look := func() {
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		look()
		if logged.Len() != 0 {
			t.Errorf("nothing changed, yet: %s", &logged)
		}
		where.write(where.cert, second) // with the key of the first
		look()
		look()
		if got := strings.Count(logged.String(), `"level":"error"`); serial(f) != 1 || got != 1 {
			t.Errorf("half replaced: serial %d, log %s", serial(f), &logged)
		}
		where.write(where.key, secondKey)
		look()
		if serial(f) != 2 {
			t.Errorf("replaced: serial %d, log %s", serial(f), &logged)
		}
		if err := os.Remove(where.key); err != nil {
			t.Fatal(err)
		}
		look()
		where.write(where.cert, []byte("garbage"))
		where.write(where.key, firstKey)
		look()
		if got := strings.Count(logged.String(), `"level":"error"`); serial(f) != 2 || got != 2 {
			t.Errorf("broken: serial %d, log %s", serial(f), &logged)
		}
		where.write(where.cert, first)
		f.Reload() // does not wait for the next look
		if serial(f) != 1 {
			t.Errorf("reloaded: serial %d, log %s", serial(f), &logged)
		}
		cancel()
		running.Wait()
	})
}

func TestFilesMustBeGood(t *testing.T) {
	where := newFiles(t)
	if _, err := NewFiles(FilesConfig{Cert: where.cert, Key: where.key}); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("missing: %v", err)
	}
	where.write(where.cert, []byte("garbage"))
	where.write(where.key, []byte("garbage"))
	if _, err := NewFiles(FilesConfig{Cert: where.cert, Key: where.key}); err == nil {
		t.Error("garbage is taken")
	}
}

// serveTLS answers every request with "hello", and returns the address.
func serveTLS(t *testing.T, l net.Listener, cfg *tls.Config) {
	t.Helper()
	s := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }),
		TLSConfig: cfg, ReadHeaderTimeout: time.Minute,
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.ErrorLog = log.New(io.Discard, "", 0)
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = s.Close() })
}

// TestFilesServe: clients see the newest certificate, over HTTP/1.1 only; a connection made before keeps its own.
func TestFilesServe(t *testing.T) {
	ca := newAuthority(t)
	where := newFiles(t)
	replace := func(serial int64) {
		cert, key := ca.pair(t, serial)
		where.write(where.cert, cert)
		where.write(where.key, key)
	}
	replace(1)
	f, err := NewFiles(FilesConfig{Cert: where.cert, Key: where.key})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveTLS(t, l, f.TLS())
	dial := func(protocols ...string) (*tls.Conn, error) {
		return tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: ca.pool, ServerName: "example.org", NextProtos: protocols})
	}
	for i := int64(1); i < 4; i++ {
		c, err := dial("h2", "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		state := c.ConnectionState()
		if got := state.PeerCertificates[0].SerialNumber.Int64(); got != i || state.NegotiatedProtocol != "http/1.1" {
			t.Errorf("serial %d, want %d; protocol %q", got, i, state.NegotiatedProtocol)
		}
		replace(i + 1)
		f.Reload()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 100)); n == 0 {
			t.Errorf("the connection made before: %v", err)
		}
	}
	if c, err := dial("h2"); err == nil {
		c.Close()
		t.Error("a client that wants HTTP/2 only is served")
	}
	if c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: ca.pool, ServerName: "example.org", MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is served")
	}
}
