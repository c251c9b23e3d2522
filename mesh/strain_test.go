package mesh

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestStrainIsToldOnce: a node that is short of processor time says so, and when it is not any more, however often that changes.
func TestStrainIsToldOnce(t *testing.T) {
	var out bytes.Buffer
	log := zerolog.New(&out)
	var told strainTold
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		after  time.Duration
		strain float64
		want   string
	}{
		{0, 1, ""},
		{time.Second, 2, ""},
		{time.Second, 3, "too little"},
		{time.Second, 8, ""},
		{time.Second, 1, ""},
		{time.Second, 8, ""},
		{time.Minute, 2, ""},
		{0, 1, "that it needs"},
		{time.Second, 8, ""},
		{time.Minute, 5, "too little"},
	} {
		now = now.Add(c.after)
		out.Reset()
		told.tell(&log, now, c.strain)
		if got := out.String(); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%v at strain %v: %q, want %q", now, c.strain, got, c.want)
		}
	}
}
