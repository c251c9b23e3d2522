package cert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// stub is an authority that speaks ACME (RFC 8555), as far as one order at a time needs it. It checks no signature of a request, but it does prove domains, by
// TLS-ALPN at the address given.
type stub struct {
	t      *testing.T
	ca     *authority
	server *httptest.Server
	target string // of the validation, in place of port 443 of the domain

	mu        sync.Mutex // guards what follows
	nonce     int
	thumb     string // of the account's key
	domain    string
	proved    bool
	chain     []byte
	issued    int
	contacted []string
}

func newStub(t *testing.T, target string) *stub {
	s := &stub{t: t, ca: newAuthority(t), target: target}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

// ServeHTTP answers a request of an ACME client.
func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce++
	w.Header().Set("Replay-Nonce", fmt.Sprint("nonce", s.nonce))
	w.Header().Set("Content-Type", "application/json")
	url := func(path string) string { return s.server.URL + path }
	answer := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/directory":
		answer(200, map[string]any{"newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/new-order"), "revokeCert": url("/x"), "keyChange": url("/x")})
		return
	case "/nonce":
		return
	}
	protected, payload, err := parseJWS(r.Body)
	if err != nil {
		answer(400, map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": err.Error()})
		return
	}
	order := func() map[string]any {
		o := map[string]any{
			"status": "pending", "identifiers": []any{map[string]string{"type": "dns", "value": s.domain}},
			"authorizations": []string{url("/authz")}, "finalize": url("/finalize"),
		}
		if s.proved {
			o["status"] = "ready"
		}
		if s.chain != nil {
			o["status"], o["certificate"] = "valid", url("/cert")
		}
		return o
	}
	challenge := map[string]any{"type": "tls-alpn-01", "url": url("/challenge"), "token": "token", "status": "pending"}
	switch r.URL.Path {
	case "/account":
		var in struct{ Contact []string }
		_ = json.Unmarshal(payload, &in)
		s.contacted = in.Contact
		s.thumb = thumbprint(protected)
		w.Header().Set("Location", url("/account/1"))
		answer(201, map[string]any{"status": "valid", "contact": in.Contact})
	case "/new-order":
		var in struct{ Identifiers []struct{ Value string } }
		_ = json.Unmarshal(payload, &in)
		s.domain, s.proved, s.chain = in.Identifiers[0].Value, false, nil
		w.Header().Set("Location", url("/order"))
		answer(201, order())
	case "/order":
		answer(200, order())
	case "/authz":
		status := "pending"
		if s.proved {
			status = "valid"
		}
		challenge["status"] = status
		answer(200, map[string]any{"status": status, "identifier": map[string]string{"type": "dns", "value": s.domain}, "challenges": []any{challenge}})
	case "/challenge":
		if err := s.validate(); err != nil {
			s.t.Errorf("validation of %s: %v", s.domain, err)
		} else {
			s.proved = true
			challenge["status"] = "valid"
		}
		answer(200, challenge)
	case "/finalize":
		var in struct{ CSR string }
		_ = json.Unmarshal(payload, &in)
		der, _ := base64.RawURLEncoding.DecodeString(in.CSR)
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil || !s.proved {
			answer(403, map[string]any{"type": "urn:ietf:params:acme:error:badCSR", "detail": fmt.Sprint(err, s.proved)})
			return
		}
		s.issued++
		s.chain, _ = s.ca.sign(int64(100+s.issued), csr.DNSNames, csr.PublicKey)
		answer(200, order())
	case "/cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(s.chain)
	default:
		answer(404, map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": r.URL.Path})
	}
}

// validate is RFC 8737, section 3.
func (s *stub) validate() error {
	c, err := tls.Dial("tcp", s.target, &tls.Config{ServerName: s.domain, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer c.Close()
	state := c.ConnectionState()
	leaf := state.PeerCertificates[0]
	digest := sha256.Sum256([]byte("token." + s.thumb))
	want, err := asn1.Marshal(digest[:])
	if err != nil {
		return err
	}
	for _, e := range leaf.Extensions {
		if e.Id.String() == "1.3.6.1.5.5.7.1.31" && bytes.Equal(e.Value, want) && state.NegotiatedProtocol == "acme-tls/1" && len(leaf.DNSNames) == 1 && leaf.DNSNames[0] == s.domain {
			return nil
		}
	}
	return fmt.Errorf("certificate for %v, protocol %q", leaf.DNSNames, state.NegotiatedProtocol)
}

func parseJWS(r io.Reader) (protected, payload []byte, err error) {
	var in struct{ Protected, Payload string }
	if err = json.NewDecoder(r).Decode(&in); err != nil {
		return nil, nil, err
	}
	if protected, err = base64.RawURLEncoding.DecodeString(in.Protected); err != nil {
		return nil, nil, err
	}
	payload, err = base64.RawURLEncoding.DecodeString(in.Payload)
	return protected, payload, err
}

// thumbprint is RFC 7638, for the kind of key that certmagic makes.
func thumbprint(protected []byte) string {
	var in struct {
		JWK struct{ Crv, Kty, X, Y string }
	}
	_ = json.Unmarshal(protected, &in)
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, in.JWK.Crv, in.JWK.Kty, in.JWK.X, in.JWK.Y))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TestACME: the certificate is got by a challenge that the client port answers itself, kept over a restart, and served also to who names no server.
func TestACME(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	authority := newStub(t, l.Addr().String())
	life := func(l net.Listener) {
		var log bytes.Buffer
		a, err := NewACME(ACMEConfig{
			Domains: []string{"node.example.org"}, Dir: dir, Email: "ops@example.org", CA: authority.server.URL + "/directory", Listen: l.Addr(),
			Log: zerolog.New(zerolog.SyncWriter(&log)),
		})
		if err != nil {
			t.Fatal(err)
		}
		serveTLS(t, l, a.TLS())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		for _, name := range []string{"node.example.org", ""} {
			for began := time.Now(); ; {
				c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
				if err == nil {
					leaf := c.ConnectionState().PeerCertificates[0]
					c.Close()
					if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "node.example.org", Roots: authority.ca.pool}); err != nil {
						t.Error(err)
					}
					break
				}
				if time.Since(began) > time.Minute {
					t.Fatalf("no certificate: %v\n%s", err, log.String())
				}
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), `"level":"error"`) {
			t.Error(log.String())
		}
	}
	life(l)
	again, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	life(again)
	if authority.issued != 1 || len(authority.contacted) != 1 || authority.contacted[0] != "mailto:ops@example.org" {
		t.Errorf("%d certificates issued to %q", authority.issued, authority.contacted)
	}
}

func TestACMEConfig(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}
	for _, test := range []struct {
		cfg  ACMEConfig
		want string
	}{
		{ACMEConfig{Domains: []string{"example.org"}, Listen: at}, "directory"},
		{ACMEConfig{Dir: "x", Listen: at}, "domain"},
		{ACMEConfig{Dir: "x", Domains: []string{"localhost"}, Listen: at}, "localhost"},
		{ACMEConfig{Dir: "x", Domains: []string{"example.org"}, Listen: &net.UnixAddr{}}, "client port"},
	} {
		if _, err := NewACME(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test.cfg, err)
		}
	}
}
