package mesh

import (
	"os"
	"runtime/debug"
	"testing"
)

// A gate must prove that it is on: where CI says that it looks for races, this build must do so.
func TestRaceDetectorIsOn(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("no build information")
	}
	on := false
	for _, s := range info.Settings {
		on = on || s.Key == "-race" && s.Value == "true"
	}
	if os.Getenv("FASTPUBSUB_WANT_RACE") != "" && !on {
		t.Error("the race detector is off")
	}
}
