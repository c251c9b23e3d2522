package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
	"github.com/fastpubsub/fastpubsub/wsgate/handover"
)

// writeCertificate makes a self-signed certificate for localhost and its address.
func writeCertificate(t *testing.T, dir string, serial int64) (cert, key string, leaf *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, leaf
}

// TestTLS: clients connect by TLS, with the newest certificate after SIGHUP; those connected stay so.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, first := writeCertificate(t, dir, 1)
	p := startProcess(t, "secure", "--tls-cert", cert, "--tls-key", key)
	roots := x509.NewCertPool()
	roots.AddCert(first)
	trust := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	got := make(chan string, 10)
	c := handover.New(handover.Config{
		URL: "wss://" + p.gate + "/ws", HTTP: trust, Subscribe: []string{"t:a"}, Faults: func(err error) { t.Error(err) },
		On: func(m client.Message) { got <- string(m.Payload) },
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	running := make(chan struct{})
	go func() {
		c.Run(ctx)
		close(running)
	}()
	exchange := func() {
		t.Helper()
		if err := c.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(ctx, "t", "a", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-got:
		case <-ctx.Done():
			t.Fatal("nothing came")
		}
	}
	exchange()

	_, _, second := writeCertificate(t, dir, 2)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new certificate is served", func() bool {
		conn, err := tls.Dial("tcp", p.gate, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Equal(second)
	})
	exchange()

	roots.AddCert(second)
	res, err := trust.Get("https://" + p.gate + "/v1/bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var list struct{ Edges []struct{ Host string } }
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list.Edges) != 1 || list.Edges[0].Host != p.gate {
		t.Errorf("bootstrap %+v, %v", list, err)
	}
	cancel()
	<-running
}

func TestTLSOptions(t *testing.T) {
	t.Setenv("FASTPUBSUB_ACME_EMAIL", "ops@example.org")
	var c commands
	parser, err := kong.New(&c, options(streams{})...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(strings.Fields("node --domain a.example.org --domain b.example.org --data-dir d")); err != nil {
		t.Fatal(err)
	}
	if err := c.Node.check(nil); err != nil || c.Node.ACMEEmail != "ops@example.org" {
		t.Errorf("%+v: %v", c.Node.tlsOptions, err)
	}
	bound := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 443}
	if got := c.Node.clientAddr(bound); got != "a.example.org:443" {
		t.Errorf("clients are told %q", got)
	}
	c.Node.Domain = nil
	if got := c.Node.clientAddr(bound); got != "10.1.2.3:443" {
		t.Errorf("clients are told %q", got)
	}
}
