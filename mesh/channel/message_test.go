package channel

import (
	"errors"
	"strings"
	"testing"
)

func TestMessageValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    Message
		want error
	}{
		{"smallest", Message{Tenant: "~", Channel: "a"}, nil},
		{"largest", Message{strings.Repeat("t", 128), strings.Repeat("c", 256), DeliverRandom, false, make([]byte, 65535)}, nil},
		{"empty payload", Message{Tenant: "~", Channel: "a", Payload: []byte{}}, nil},
		{"tenant not normalized", Message{Channel: "a"}, ErrTenant},
		{"tenant too long", Message{Tenant: strings.Repeat("t", 129), Channel: "a"}, ErrTenant},
		{"no channel", Message{Tenant: "~"}, ErrChannel},
		{"wildcard", Message{Tenant: "~", Channel: "a.#"}, ErrChannel},
		{"channel too long", Message{Tenant: "~", Channel: strings.Repeat("c", 257)}, ErrChannel},
		{"payload too large", Message{Tenant: "~", Channel: "a", Payload: make([]byte, 65536)}, ErrPayload},
		{"unknown mode", Message{Tenant: "~", Channel: "a", Mode: 3}, ErrMode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.m.Validate(); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestMessageValidateAllocatesNothing(t *testing.T) {
	m := Message{Tenant: "acme", Channel: "a.b.c", Payload: make([]byte, 100)}
	if n := testing.AllocsPerRun(100, func() { _ = m.Validate() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestModeString(t *testing.T) {
	for mode, want := range map[Mode]string{
		0:   "broadcast",
		1:   "deliver-one-low-latency",
		2:   "deliver-one-random",
		3:   "mode(3)",
		255: "mode(255)",
	} {
		if got := mode.String(); got != want {
			t.Errorf("Mode(%d) = %q, want %q", uint8(mode), got, want)
		}
	}
}
