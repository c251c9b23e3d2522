package web_test

import (
	"os/exec"
	"testing"
)

// TestUnderNode runs fastpubsub.test.js.
func TestUnderNode(t *testing.T) {
	runNode(t, "--test", "fastpubsub.test.js")
}

// TestLive runs testdata/live.js: the module in Node against real gateways, which it stops and starts.
func TestLive(t *testing.T) {
	w := startTwins(t)
	runNode(t, "--experimental-websocket", "testdata/live.js", w.nodes[0].addr, w.nodes[1].addr, w.control().URL)
}

func runNode(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "node", "nodejs"), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
