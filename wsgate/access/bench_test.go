package access

import (
	"testing"
	"time"
)

// BenchmarkEnter is what a handshake costs beside the upgrade: for a good token, and for one whose signature is wrong.
func BenchmarkEnter(b *testing.B) {
	now := time.Now()
	a := newAuthority(b, nil)
	good := issue(b, a, now)
	b.Run("good", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := a.Enter(good, Visitor{}, now)
			if err != nil {
				b.Fatal(err)
			}
			a.Leave(p)
		}
	})
	bad := good[:len(good)-4] + "AAAA"
	b.Run("bad", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Enter(bad, Visitor{}, now); err == nil {
				b.Fatal("entered")
			}
		}
	})
}
