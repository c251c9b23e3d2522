package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestCommandLineFaults(t *testing.T) {
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"", 0, ""},
		{"nonsense", exitUsage, "unexpected argument nonsense"},
		{"node --listen 0.0.0.0:7946", exitUsage, "--open"},
		{"node --ws 10.1.2.3:80", exitUsage, "--open"},
		{"node --listen nowhere", exitUsage, "want HOST:PORT"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --geo 91,0", exitUsage, "LAT,LON"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --log-level loud", exitUsage, "--log-level"},
		{"node --listen 192.0.2.1:0 --ws 127.0.0.1:0 --open", exitFailure, "--advertise says"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --join seed", exitUsage, "want HOST:PORT"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --advertise 0.0.0.0:1", exitFailure, "advertise"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --tls-cert x", exitUsage, "go together"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --tls-cert x --tls-key y", exitFailure, "no such file"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --tls-cert x --tls-key y --domain example.org", exitUsage, "either"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --domain example.org", exitUsage, "--data-dir"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --acme-email a@example.org", exitUsage, "need --domain"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --domain localhost --acme-dir x", exitUsage, "localhost"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --drain-spread=-1s", exitUsage, "negative time"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:99999", exitUsage, "want a port"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --advertise-ws example.org", exitUsage, "want HOST:PORT"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --advertise-ws example.org:0", exitUsage, "a host and a port"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --advertise-ws :8080", exitUsage, "a host and a port"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --advertise-ws 0.0.0.0:8080", exitUsage, "a host and a port"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --advertise-ws [::]:8080", exitUsage, "a host and a port"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --advertise-ws example.org:http", exitUsage, "a port number"},
		{"node --listen 127.0.0.1:0 --ws 127.0.0.1:0 --rate-messages=-1", exitFailure, "negative or no number"},
		{"pub a..b hello", exitUsage, "channel"},
		{"pub --tenant a/b c hello", exitUsage, "tenant"},
		{"pub --url ws://127.0.0.1:1/ws c hello", exitFailure, "connection refused"},
		{"status --url http://127.0.0.1:1", exitFailure, "no node takes clients there"},
		{"--help", 0, ""},
		{"version", 0, ""},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), strings.Fields(test.args), streams{strings.NewReader(""), &out, &errs})
		if code != test.code || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%q: exit %d, want %d; stderr %q, want %q in it", test.args, code, test.code, errs.String(), test.want)
		}
		if code == 0 && out.Len() == 0 {
			t.Errorf("%q printed nothing", test.args)
		}
	}
}

// Flags win over the environment, the environment over the file, the file over defaults.
func TestPrecedenceOfConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("[node]\nname = \"file\"\nregion = \"file\"\nlog-level = \"warn\"\njoin = [\"10.0.0.1:7946\", \"10.0.0.2:7946\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FASTPUBSUB_NAME", "env")
	t.Setenv("FASTPUBSUB_REGION", "env")
	t.Setenv("FASTPUBSUB_WS", "127.0.0.1:9")
	var c commands
	parser, err := kong.New(&c, options(streams{})...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--config", file, "node", "--name", "flag"}); err != nil {
		t.Fatal(err)
	}
	n := c.Node
	if n.Name != "flag" || n.Region != "env" || n.LogLevel != "warn" || n.WS != "127.0.0.1:9" || n.Listen != "127.0.0.1:7946" {
		t.Errorf("got %+v", n)
	}
	if strings.Join(n.Join, " ") != "10.0.0.1:7946 10.0.0.2:7946" {
		t.Errorf("join %v", n.Join)
	}
}

func TestUnknownConfigOptionIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("[node]\nlisen = \"127.0.0.1:1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	code := run(context.Background(), []string{"--config", file, "node"}, streams{nil, &bytes.Buffer{}, &errs})
	if code != exitUsage || !strings.Contains(errs.String(), "lisen") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestHTTPBase(t *testing.T) {
	for in, want := range map[string]string{
		"http://h:1": "http://h:1", "http://h:1/": "http://h:1", "ws://h:1/ws": "http://h:1", "wss://h/ws": "https://h", "wss://h/": "https://h",
	} {
		if got := httpBase(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
