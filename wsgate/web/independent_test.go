package web_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestIndependentClient runs testdata/independent.cjs: npm's ws, by which the gateways are judged by code that is not ours. NODE_PATH says
// where that package is, by default where Debian's node-ws puts it.
func TestIndependentClient(t *testing.T) {
	node := program(t, "node", "nodejs")
	if os.Getenv("NODE_PATH") == "" {
		t.Setenv("NODE_PATH", "/usr/share/nodejs")
	}
	if out, err := exec.CommandContext(t.Context(), node, "-e", "require('ws')").CombinedOutput(); err != nil {
		if os.Getenv("FASTPUBSUB_WANT_BROWSER") != "" {
			t.Fatalf("the package ws is not installed, and FASTPUBSUB_WANT_BROWSER is set: %s", out)
		}
		t.Skip("the package ws is not installed")
	}
	w := startTwins(t)
	runNode(t, "testdata/independent.cjs", w.nodes[0].addr, w.nodes[1].addr, w.control().URL)
}

// TestCurl: the pages and the handshake as curl sees them.
func TestCurl(t *testing.T) {
	path := program(t, "curl")
	w := startTwins(t)
	base := "http://" + w.nodes[0].addr
	curl := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), path, append([]string{"--silent", "--show-error"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	if got := curl("--fail", base+"/ping"); got != "pong" {
		t.Errorf("ping: %q", got)
	}
	var page struct {
		Edges []struct{ Host string }
	}
	if err := json.Unmarshal([]byte(curl("--fail", base+"/v1/bootstrap")), &page); err != nil || len(page.Edges) != 2 {
		t.Errorf("bootstrap: %+v, %v", page, err)
	}
	upgrade := []string{
		"--include", "--no-buffer", "--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
		"-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", base + "/ws",
	}
	for _, changed := range []string{"Sec-WebSocket-Version: 12", "Sec-WebSocket-Key: short"} {
		name, _, _ := strings.Cut(changed, ":")
		args := slices.Clone(upgrade)
		args[slices.IndexFunc(args, func(s string) bool { return strings.HasPrefix(s, name) })] = changed
		if got := curl(args...); !strings.HasPrefix(got, "HTTP/1.1 4") {
			t.Errorf("%s: %q", changed, got)
		}
	}
	if got := curl("--include", base+"/ws"); !strings.HasPrefix(got, "HTTP/1.1 426") {
		t.Errorf("without an upgrade: %q", got)
	}
	// curl keeps what it got until more comes, or its time is up.
	out, err := exec.CommandContext(t.Context(), path, append(upgrade, "--silent", "--max-time", "2", "-H", "Sec-WebSocket-Protocol: llps.v1,at.AT_0_1")...).Output()
	var timedOut *exec.ExitError
	if !errors.As(err, &timedOut) || timedOut.ExitCode() != 28 {
		t.Errorf("the connection was not kept: %v", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	_ = response.Body.Close()
	if got := response.Header; response.StatusCode != 101 || got.Get("Sec-WebSocket-Protocol") != "llps.v1" ||
		got.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || got.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("%s, %v", response.Status, got)
	}
}
