package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// TestReload: at SIGHUP a node takes over level of log, seeds and master tokens; says what it does not take; and stays as it was where something is wrong.
func TestReload(t *testing.T) {
	other := startProcess(t, "other")
	dir := t.TempDir()
	config, masters := filepath.Join(dir, "node.toml"), filepath.Join(dir, "masters")
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "MT_" + testMaster, "MT_second-" + testMaster
	write(masters, first+"\n")
	write(config, "[node]\nlog-level = \"error\"\nregion = \"here\"\n")
	p := startProcess(t, "p", "--config", config, "--token-secret-file", file(t, testSecret), "--master-token-file", masters)
	lists := func(master string) bool {
		status, _ := p.fetch(t, "/v1/tokens", master)
		return status == http.StatusOK
	}
	if !lists(first) || lists(second) {
		t.Error("the first master token is not the one")
	}
	log := func(text string) func() bool {
		return func() bool { return strings.Contains(p.stderr.String(), text) }
	}

	write(masters, second+"\n")
	write(config, "[node]\nlog-level = \"info\"\nregion = \"there\"\njoin = [\""+other.node+"\"]\n")
	hangUp(t, p)
	waitFor(t, "options are read again", log("options read again"))
	if text := p.stderr.String(); !strings.Contains(text, `"options":["region"]`) || !strings.Contains(text, `"changed":["join","log-level"]`) {
		t.Errorf("log: %s", text)
	}
	if lists(first) || !lists(second) {
		t.Error("the second master token is not the one")
	}
	waitFor(t, "the node has joined", log("member"))

	write(config, "[node]\nlog-level = \"loud\"\n")
	write(masters, first+"\n")
	hangUp(t, p)
	waitFor(t, "what is wrong is told", log("those before stay"))
	if lists(first) || !lists(second) {
		t.Error("half of what is wrong was taken over")
	}
}

// TestReloadLimits: at SIGHUP clients are held to new limits, those that are connected, too; what needs a restart is named; wrong limits change nothing.
func TestReloadLimits(t *testing.T) {
	config := filepath.Join(t.TempDir(), "node.toml")
	write := func(text string) {
		if err := os.WriteFile(config, []byte("[node]\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("max-subscriptions = 1\n")
	p := startProcess(t, "p", "--config", config, "--log-format", "json")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+p.gate+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	ask := func(line, want string) {
		t.Helper()
		if err := c.Write(ctx, websocket.MessageText, []byte(line)); err != nil {
			t.Fatal(err)
		}
		for {
			_, got, err := c.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(string(got), "READY:") {
				continue
			}
			if string(got) != want {
				t.Errorf("%s: %s, want %s", line, got, want)
			}
			return
		}
	}
	log := func(text string) func() bool {
		return func() bool { return strings.Contains(p.stderr.String(), text) }
	}
	ask("SUB:t:a", "OK:SUB:t:a")
	ask("SUB:t:b", "ERR:limit_exceeded:1 subscriptions")

	write("max-subscriptions = 2\nmax-connections = 1\nmax-header = 8192\nhandshake-timeout = \"9s\"\n")
	hangUp(t, p)
	waitFor(t, "options are read again", log("options read again"))
	if text := p.stderr.String(); !strings.Contains(text, `"options":["handshake-timeout","max-header"]`) || !strings.Contains(text, `"changed":["max-connections","max-subscriptions"]`) {
		t.Errorf("log: %s", text)
	}
	ask("SUB:t:b", "OK:SUB:t:b")
	if other, response, err := websocket.Dial(ctx, "ws://"+p.gate+"/ws", nil); err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second connection: %v, %v", err, other)
	}

	write("max-subscriptions = 5\nrate-bytes = -1\n")
	hangUp(t, p)
	waitFor(t, "what is wrong is told", log("those before stay"))
	ask("SUB:t:c", "ERR:limit_exceeded:2 subscriptions")
}

// TestReloadRenamed: at SIGHUP the files are read that the options name then, by whichever option; and a node that needs tokens goes on to.
func TestReloadRenamed(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "node.toml")
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const first, second = "MT_" + testMaster, "MT_second-" + testMaster
	one, two, secret := write("one", first), write("two", second), write("secret", testSecret)
	write("node.toml", "[node]\ntoken-secret-file = \""+secret+"\"\nmaster-token-file = [\""+one+"\"]\n")
	p := startProcess(t, "p", "--config", config)
	lists := func(master string) bool {
		status, _ := p.fetch(t, "/v1/tokens", master)
		return status == http.StatusOK
	}
	if !lists(first) || lists(second) {
		t.Error("the first master token is not the one")
	}
	renamed := write("renamed", "another "+testSecret)
	for _, name := range []string{one, secret} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	write("node.toml", "[node]\ntoken-secret-file = \""+renamed+"\"\nmaster-token-file = [\""+two+"\"]\n")
	hangUp(t, p)
	waitFor(t, "options are read again", func() bool { return strings.Contains(p.stderr.String(), "options read again") })
	if text := p.stderr.String(); !strings.Contains(text, `"changed":["master-token-file","token-secret-file"]`) || strings.Contains(text, "at its start only") {
		t.Errorf("log: %s", text)
	}
	if lists(first) || !lists(second) {
		t.Error("the file with the new name was not read")
	}

	write("node.toml", "[node]\n")
	hangUp(t, p)
	waitFor(t, "what is wrong is told", func() bool { return strings.Contains(p.stderr.String(), "no option says any more") })
	if lists("") || !lists(second) {
		t.Error("the node needs no tokens any more, or others")
	}
}

// TestChangeable: every option about limits and tokens is taken over, but those that are known not to be.
func TestChangeable(t *testing.T) {
	read, err := readNode([]string{"node"})()
	if err != nil {
		t.Fatal(err)
	}
	r, open := &reloader{authority: new(access.Authority)}, &reloader{}
	for name := range read.values {
		limit := strings.HasPrefix(name, "max-") || strings.HasPrefix(name, "rate-")
		tokens := strings.Contains(name, "token") && !limit || name == "jwt-key"
		want := limit && name != "max-header" || tokens || name == "join" || name == "log-level"
		if r.changeable(name) != want || open.changeable(name) != (want && !tokens) {
			t.Errorf("%s: %t with tokens, %t without", name, r.changeable(name), open.changeable(name))
		}
	}
}

func TestConfigCheck(t *testing.T) {
	secret := trust.NewSecret().Text()
	t.Setenv("FASTPUBSUB_MESH_SECRET", secret)
	for _, test := range []struct {
		name, config string
		code         int
		out, err     string
	}{
		{"nothing", "", 0, "a node could start with these", ""},
		{"options", "[node]\nname = \"fra1\"\nlisten = \"0.0.0.0:7946\"\nrequire-tokens = true\n", 0, "0.0.0.0:7946", ""},
		{"a secret is not shown", "[node]\nname = \"x\"\n", 0, "(secret)", ""},
		{"no such option", "[node]\nlissten = \"0.0.0.0:7946\"\n", 2, "", "lissten"},
		{"exposed", "[node]\nws = \"0.0.0.0:8080\"\n", 2, "", "say --open"},
		{"no such file", "[node]\ntls-cert = \"/nowhere/cert.pem\"\n", 2, "", "tls-key"},
		{"limits", "[node]\nrate-messages = -1\n", 2, "", "negative"},
		{"place", "[node]\ngeo = \"somewhere\"\n", 2, "", "LAT,LON"},
		{"advertised in vain", "[node]\nadvertise = \"0.0.0.0:7946\"\n", 2, "", "others can reach"},
		{"no such port", "[node]\nws = \"127.0.0.1:99999\"\n", 2, "", "want a port"},
		{"no certificate", "[node]\ntls-cert = \"/nowhere/cert.pem\"\ntls-key = \"/nowhere/key.pem\"\n", 2, "", "/nowhere/cert.pem"},
		{"no domain for an authority", "[node]\ndomain = [\"localhost\"]\nacme-dir = \"/nowhere\"\n", 2, "", "localhost"},
		{"a domain", "[node]\ndomain = [\"a.example.org\"]\nacme-dir = \"/nowhere\"\n", 0, "a.example.org", ""},
		{"no key", "[node]\nmesh-ca = \"/nowhere/ca\"\nmesh-cert = \"/nowhere/cert\"\nmesh-key = \"/nowhere/key\"\n", 2, "", "/nowhere/key"},
		{"no directory", "[node]\ndata-dir = \"" + file(t, "") + "/data\"\n", 2, "", "--data-dir"},
		{"a directory to be made", "[node]\ndata-dir = \"" + filepath.Join(t.TempDir(), "a", "b") + "\"\n", 0, "could start", ""},
		{"negative time", "[node]\ndrain = \"-1s\"\n", 2, "", "negative time"},
		{"master tokens without a file", "[node]\nmaster-token-file = [\"/nowhere\"]\n", 2, "", "/nowhere"},
	} {
		args := []string{"config", "check"}
		if test.config != "" {
			args = append([]string{"--config", file(t, test.config)}, args...)
		}
		var out, errs bytes.Buffer
		code := run(t.Context(), args, streams{nil, &out, &errs})
		if code != test.code || !strings.Contains(out.String(), test.out) || !strings.Contains(errs.String(), test.err) {
			t.Errorf("%s: code %d, %q, %q; want %d, %q, %q", test.name, code, out.String(), errs.String(), test.code, test.out, test.err)
		}
		if strings.Contains(out.String()+errs.String(), secret) {
			t.Errorf("%s: the secret is shown", test.name)
		}
	}
}
