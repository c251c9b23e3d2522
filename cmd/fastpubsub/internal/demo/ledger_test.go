package demo

import (
	"bytes"
	"testing"
	"time"
)

func TestPayload(t *testing.T) {
	l := newLedger(6, time.Now())
	p := l.pair(2, 5)
	b := appendPayload(nil, p, 7)
	if want := []byte{0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 7}; !bytes.Equal(b, want) {
		t.Errorf("% x", b)
	}
	got, number, ok := l.parsePayload(b)
	if from, to := l.ends(got); !ok || from != 2 || to != 5 || number != 7 {
		t.Errorf("%d to %d, %d, %v", from, to, number, ok)
	}
	for n := range b {
		if _, _, ok := l.parsePayload(b[:n]); ok {
			t.Errorf("%d bytes are enough", n)
		}
	}
	if _, _, ok := l.parsePayload(appendPayload(nil, 36, 0)); ok {
		t.Error("a pair that does not exist")
	}
}

// Anybody may publish to the demo's nodes.
func FuzzParsePayload(f *testing.F) {
	l := newLedger(3, time.Now())
	f.Add(appendPayload(nil, 5, 1<<40))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, number, ok := l.parsePayload(b)
		if !ok {
			return
		}
		if int(p) >= len(l.flows) || !bytes.Equal(appendPayload(nil, p, number), b) {
			t.Fatalf("%d, %d", p, number)
		}
		l.receive(p, number)
		l.passed(p, []int{1})
	})
}

func TestLedger(t *testing.T) {
	l := newLedger(3, time.Now())
	if n := len(l.pairs()); n != 6 {
		t.Errorf("%d pairs", n)
	}
	p, other := l.pair(0, 2), l.pair(1, 2)
	number := l.send(p)
	l.passed(p, []int{1})
	l.receive(p, number)
	l.send(other)
	l.arm([]pair{p, other}, time.Second)
	l.cut(2)
	seen := 0
	l.look(func(at pair, f *flow) {
		seen++
		switch at {
		case p:
			if f.counts.Delivered != 1 || len(f.path) != 1 || !f.pauses.armed {
				t.Errorf("%+v", f)
			}
		case other:
			if f.counts.CutOff != 1 || f.pauses.armed {
				t.Errorf("%+v", f)
			}
		}
	})
	if seen != 6 {
		t.Errorf("%d flows seen", seen)
	}
}
