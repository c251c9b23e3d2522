package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
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
		{"place", "[node]\ngeo = \"somewhere\"\n", 2, "", "LAT,LON"},
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
