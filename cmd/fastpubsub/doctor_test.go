package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/doctor"
)

// The doctor takes a node's options, and its table of the config file; it fails where a node would.
func TestDoctor(t *testing.T) {
	seed := startProcess(t, "seed")
	file := filepath.Join(t.TempDir(), "node.toml")
	if err := os.WriteFile(file, []byte("[node]\nlisten = \"127.0.0.1:0\"\nws = \"127.0.0.1:0\"\njoin = [\""+seed.node+"\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(output(t, "keygen"))
	for _, test := range []struct {
		args string
		code int
		want []string // each in some finding that is a failure, or in one that is not where the code is 0
	}{
		{"--config " + file + " doctor --json", 0, []string{"is node", "arrive", "1452 bytes"}},
		{"--config " + file + " doctor --json --listen " + seed.node, 0, []string{"a node that runs"}},
		{"doctor --json --listen nowhere", exitFailure, []string{"want HOST:PORT"}},
		{"doctor --json --listen 0.0.0.0:0", exitFailure, []string{"--open"}},
		{"doctor --json --mesh-secret-file " + file + "x", exitFailure, []string{"no such file"}},
		{"--config " + file + " doctor --json --tls-cert x --tls-key y", exitFailure, []string{"no such file"}},
		{"doctor --json --listen 127.0.0.1:0 --ws 127.0.0.1:0 --join fps://" + secret + "@" + seed.node, exitFailure, []string{"no mesh secret"}},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), strings.Fields(test.args), streams{strings.NewReader(""), &out, &errs})
		var told struct{ Findings []doctor.Finding }
		if err := json.Unmarshal(out.Bytes(), &told); err != nil || code != test.code {
			t.Errorf("%q: exit %d, want %d; %v; %s", test.args, code, test.code, err, errs.String())
		}
		var text strings.Builder
		for _, f := range told.Findings {
			if (f.Verdict == doctor.Fail) == (test.code != 0) {
				text.WriteString(f.Detail + "\n")
			}
		}
		for _, want := range test.want {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%q: no %q in\n%s", test.args, want, text.String())
			}
		}
		if strings.Contains(out.String()+errs.String(), secret) {
			t.Errorf("%q: shows the secret", test.args)
		}
	}
	if text := output(t, "--config", file, "doctor"); !strings.Contains(text, "ok    handshake") {
		t.Errorf("printed %s", text)
	}
}

// output is what a command prints that succeeds.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs}); code != 0 {
		t.Fatalf("%q: exit %d: %s", args, code, errs.String())
	}
	return out.String()
}
