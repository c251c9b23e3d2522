package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestMetrics: a node's metrics name all that it counts.
func TestMetrics(t *testing.T) {
	p := startProcess(t, "a")
	status, body := p.fetch(t, "/metrics", "")
	if status != http.StatusOK {
		t.Fatal(status)
	}
	for _, want := range []string{"\nfastpubsub_messages_total{", "\nfastpubsub_dropped_total{", "\nfastpubsub_client_connections 0\n", "\nprocess_resident_memory_bytes "} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "fastpubsub_unnamed") {
			t.Error(line)
		}
	}
}
