package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestMetrics: a node's metrics name all that it counts.
func TestMetrics(t *testing.T) {
	p := startProcess(t, "a")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.gate+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", res.StatusCode, err)
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
