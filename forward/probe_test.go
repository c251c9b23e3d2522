package forward

import (
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// A peer cannot answer a probe that has not come, nor twice, nor seem nearer than it is by what it says.
func TestEchoesAreNotBelieved(t *testing.T) {
	const ms = int64(time.Millisecond)
	var p probeLog
	token := p.add(107, 100*ms)
	for name, tt := range map[string]struct {
		echo   wire.Probe
		honest bool
	}{
		"before it came": {wire.Probe{Seq: 107, Token: token + 1}, false},
		"never sent":     {wire.Probe{Seq: 108, Token: token}, false},
		"too old":        {wire.Probe{Seq: 107 - probesKept, Token: 1}, true},
	} {
		if _, known, honest := p.echoed(tt.echo, 101*ms); known || honest != tt.honest {
			t.Errorf("%s: known %v, honest %v", name, known, honest)
		}
	}
	rtt, known, _ := p.echoed(wire.Probe{Seq: 107, Token: token, Held: time.Hour}, 140*ms)
	if !known || rtt != 40*time.Millisecond-heldMost {
		t.Errorf("an echo after 40ms that was held for an hour: %v, %v", rtt, known)
	}
	if _, known, honest := p.echoed(wire.Probe{Seq: 107, Token: token}, 140*ms); known || honest {
		t.Error("the second echo counts")
	}
	near := p.add(108, 200*ms)
	if rtt, _, _ := p.echoed(wire.Probe{Seq: 108, Token: near, Held: time.Hour}, 200*ms+1000); rtt != 500 {
		t.Errorf("an echo after 1µs: %v", rtt)
	}
}
