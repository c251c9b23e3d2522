package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

const (
	testSecret = "the secret of this mesh"
	testMaster = "MT_for_the_tests_of_processes"
)

// file writes a file of its own.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenOptionFaults(t *testing.T) {
	secret, empty := file(t, testSecret+"\n"), file(t, "\n")
	for _, test := range []struct{ args, want string }{
		{"--token-secret-file /no/such/file", "--token-secret-file"},
		{"--token-secret-file " + empty, "empty"},
		{"--token-secret-file " + file(t, "shortsecret"), "11 bytes"},
		{"--token-secret-file " + secret + " --former-token-secret-file " + file(t, "shortsecret"), "11 bytes"},
		{"--token-secret-file " + secret + " --master-token-file " + file(t, "# mine\n\nMT_short"), "line 3"},
		{"--token-secret-file " + secret + " --master-token-file " + file(t, "sha256:secretdigits"), "line 1"},
		{"--token-secret-file " + secret + " --jwt-key " + file(t, "shortsecret"), "11 bytes"},
		{"--token-secret-file " + secret + " --jwt-key " + file(t, "-----BEGIN PRIVATE KEY-----\nshortsecret"), "PEM"},
		{"--master-token-file " + secret, "need --token-secret-file"},
		{"--token-secret-file " + secret + " --listen 0.0.0.0:0", "--open"}, // tokens are for clients, not for nodes
	} {
		var errs bytes.Buffer
		args := append([]string{"node", "--listen", "127.0.0.1:0", "--ws", "127.0.0.1:0"}, strings.Fields(test.args)...)
		code := run(t.Context(), args, streams{nil, &bytes.Buffer{}, &errs})
		text := errs.String()
		if code != exitUsage || !strings.Contains(text, test.want) || strings.Contains(text, "shortsecret") || strings.Contains(text, "MT_short") || strings.Contains(text, "secretdigits") {
			t.Errorf("%s: exit %d: %s", test.args, code, text)
		}
	}
}

// The options can be set in each of three ways, and the file that holds a master token may hold its hash instead.
func TestTokenOptionsAreRead(t *testing.T) {
	secret := file(t, testSecret)
	parse := func(args ...string) (c commands) {
		t.Helper()
		parser, err := kong.New(&c, options(streams{})...)
		if err == nil {
			_, err = parser.Parse(args)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	config := file(t, "[node]\ntoken-secret-file = \""+secret+"\"\n")
	if c := parse("--config", config, "node"); c.Node.TokenSecretFile != secret {
		t.Errorf("from the config file: %+v", c.Node.tokenOptions)
	}
	t.Setenv("FASTPUBSUB_TOKEN_SECRET", testSecret)
	if c := parse("node"); c.Node.TokenSecret != testSecret || !c.Node.wanted() {
		t.Errorf("from the environment: %+v", c.Node.tokenOptions)
	}
	hash := "sha256:" + "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" // of "secret"
	o := tokenOptions{TokenSecret: testSecret, MasterTokenFile: []string{file(t, "# ours\n"+testMaster+"\n\n  "+hash+"\n")}}
	a, err := o.authority(&nodeCommand{}, nil, zerolog.Nop(), nil)
	if err != nil || !a.IsMaster(testMaster) || !a.IsMaster("secret") || a.IsMaster("# ours") || a.IsMaster("") {
		t.Errorf("masters: %v", err)
	}
}

// JWTs of other systems are taken by keys in files: public ones in PEM, or secrets. A node may have nothing but these.
func TestJWTKeysAreRead(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Repeat("s", 32)
	o := tokenOptions{JWTKey: []string{
		file(t, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))), file(t, secret+"\n"),
	}}
	a, err := o.authority(&nodeCommand{}, nil, zerolog.Nop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for method, key := range map[jwt.SigningMethod]any{jwt.SigningMethodEdDSA: private, jwt.SigningMethodHS256: []byte(secret)} {
		text, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"right": map[string]any{"tenant_grants": []any{map[string]any{"tenant_ids": []string{"t"}, "allow_channels_pub": []string{"a"}}}},
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		pass, err := a.Enter(text, access.Visitor{}, time.Now())
		if err != nil || !pass.MayPublish("t", "a") || pass.MayPublish("t", "b") {
			t.Errorf("%s: %v", method.Alg(), err)
		}
	}
}

// call makes one REST call and returns the answer.
func (p *process) call(t *testing.T, method, path, body string) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.gate+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+testMaster)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %v %v", method, path, response.Status, answer, err)
	}
	return answer
}

// enter does a WebSocket handshake with a token, if it is not empty.
func (p *process) enter(t *testing.T, token string) (*websocket.Conn, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	protocols := []string{"llps.v1"}
	if token != "" {
		protocols = append(protocols, "at."+token)
	}
	conn, response, err := websocket.Dial(ctx, "ws://"+p.gate+"/ws", &websocket.DialOptions{Subprotocols: protocols})
	if response == nil {
		t.Fatal(err)
	}
	return conn, response.StatusCode
}

// TestRevocationAcrossProcesses: eight processes; a token issued on one lets clients in everywhere, without one nobody comes in, and once it is revoked on
// another all its connections end with status 1008 and it is refused everywhere. No log holds a secret.
func TestRevocationAcrossProcesses(t *testing.T) {
	secret, master := file(t, testSecret), file(t, testMaster)
	var all []*process
	for i := range 8 {
		args := []string{"--token-secret-file", secret, "--master-token-file", master, "--log-level", "debug"}
		if i > 0 {
			args = append(args, "--join", all[(i-1)/2].node)
		}
		all = append(all, startProcess(t, fmt.Sprint("p", i), args...))
	}
	wholeMesh(t, all)
	token := all[0].call(t, "POST", "/v1/get-token", `{"tenant_grants":[{"tenant_ids":["t"],"allow_channels_sub":["#"]}],"expires_at":"`+
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`)["token"].(string)
	var group sync.WaitGroup
	var mu sync.Mutex
	var last time.Time
	for _, p := range all {
		if _, status := p.enter(t, ""); status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", p.name, status)
		}
		var conn *websocket.Conn
		waitFor(t, p.name+" takes clients", func() bool {
			var status int
			conn, status = p.enter(t, token)
			return status == http.StatusSwitchingProtocols
		})
		group.Go(func() {
			_, _, err := conn.Read(t.Context())
			if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
				t.Errorf("%s: %v, want 1008", p.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			last = time.Now()
		})
	}
	began := time.Now()
	all[3].call(t, "DELETE", "/v1/revoke-token", `{"token":"`+token+`"}`)
	group.Wait()
	t.Logf("8 connections on 8 processes ended %v after the revocation was asked for", last.Sub(began))
	for _, p := range all {
		if _, status := p.enter(t, token); status != http.StatusUnauthorized {
			t.Errorf("%s with the revoked token: %d", p.name, status)
		}
	}
	for _, p := range all {
		_ = p.cmd.Process.Signal(os.Interrupt)
		_ = p.cmd.Wait()
		if log := p.stderr.String(); strings.Contains(log, token[40:]) || strings.Contains(log, testSecret) || strings.Contains(log, testMaster) {
			t.Errorf("%s logs a secret", p.name)
		}
	}
}
