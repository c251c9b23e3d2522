package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNodeIDText(t *testing.T) {
	id := NodeID(0x00ab_0203_0405_06ff)
	if got := id.String(); got != "00ab0203040506ff" {
		t.Errorf("String %s", got)
	}
	if got := id.Short(); got != "00ab" {
		t.Errorf("Short %s", got)
	}
	encoded, err := json.Marshal(map[NodeID]NodeID{id: 1})
	if want := `{"00ab0203040506ff":"0000000000000001"}`; err != nil || string(encoded) != want {
		t.Errorf("JSON %s, %v, want %s", encoded, err, want)
	}
	var decoded map[NodeID]NodeID
	if err := json.Unmarshal(encoded, &decoded); err != nil || decoded[id] != 1 {
		t.Errorf("from JSON %v, %v", decoded, err)
	}
}

func TestParseNodeID(t *testing.T) {
	for text, want := range map[string]NodeID{
		"0000000000000000": 0,
		"00ab0203040506ff": 0x00ab0203040506ff,
		"FFFFFFFFFFFFFFFF": 1<<64 - 1,
	} {
		if id, err := ParseNodeID(text); err != nil || id != want {
			t.Errorf("%q: %v, %v, want %v", text, id, err, want)
		}
	}
	for _, text := range []string{
		"", "00ab", "00ab0203040506f", "00ab0203040506ff0", "0xab0203040506ff", "00ab0203040506fg", " 0ab0203040506ff",
		"00ab0203040506é", strings.Repeat("0", 1<<16),
	} {
		id, err := ParseNodeID(text)
		if id != 0 || !errors.Is(err, ErrNodeID) {
			t.Errorf("%.20q: %v, %v, want %v", text, id, err, ErrNodeID)
		}
		if n := len(err.Error()); n > 300 {
			t.Errorf("an error of %d bytes", n)
		}
	}
}

func TestNodeIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := NodeID(rapid.Uint64().Draw(t, "id"))
		if got, err := ParseNodeID(id.String()); err != nil || got != id {
			t.Fatalf("%v, %v, want %v", got, err, id)
		}
	})
}

func TestIDOf(t *testing.T) {
	// First 8 bytes of the SHA-256 of the public key 03a107bf...5531b8, by another implementation.
	if got := IDOf(testKey(0).Public().(ed25519.PublicKey)); got != 0x56475aa75463474c {
		t.Errorf("%v", got)
	}
}
