package bench

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAppendFrame(t *testing.T) {
	for _, test := range []struct {
		f    frame
		want string // hex; key 0x04030201
	}{
		{frame{opText, []byte("PING")}, "81 84 01020304 514b4d43"},
		{frame{opPong, nil}, "8a 80 01020304"},
		{frame{opBinary, make([]byte, 9)}, "82 89 01020304 010203040102030401"},
	} {
		want, _ := hex.DecodeString(strings.ReplaceAll(test.want, " ", ""))
		if got := appendFrame(nil, test.f, 0x04030201); !bytes.Equal(got, want) {
			t.Errorf("% x, want % x", got, want)
		}
	}
}

// unmasked makes a server's frame of a client's.
func unmasked(client []byte, length int) []byte {
	b := bytes.Clone(client)
	head := len(b) - length - 4
	key := uint32(b[head]) | uint32(b[head+1])<<8 | uint32(b[head+2])<<16 | uint32(b[head+3])<<24
	b[1] &^= 0x80
	mask(b[head+4:], key)
	return append(b[:head:head], b[head+4:]...)
}

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.OneOf(rapid.IntRange(0, 300), rapid.SampledFrom([]int{125, 126, 127, 65535, 65536, 70000})).Draw(t, "length")
		sent := frame{byte(rapid.SampledFrom([]int{opText, opBinary, opClose, opPing}).Draw(t, "op")), bytes.Repeat([]byte{7}, length)}
		b := unmasked(appendFrame(nil, sent, rapid.Uint32().Draw(t, "key")), length)
		for _, n := range []int{0, 1, 2, 3, 9, len(b) / 2, len(b) - 1} {
			if _, size, err := parseFrame(b[:min(n, len(b)-1)]); size != 0 || err != nil {
				t.Fatalf("%d of %d bytes: size %d, %v", n, len(b), size, err)
			}
		}
		got, size, err := parseFrame(append(b, 1, 2, 3))
		if err != nil || size != len(b) || got.op != sent.op || !bytes.Equal(got.message, sent.message) {
			t.Fatalf("size %d of %d, op %d, %v", size, len(b), got.op, err)
		}
	})
}

func FuzzParseFrame(f *testing.F) {
	for _, text := range []string{"8200", "8103414243", "827e0001ff", "827fffffffffffffffff", "8280", "0201aa", "f100", "88021001"} {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, size, err := parseFrame(b)
		switch {
		case err != nil && !errors.Is(err, errFrame):
			t.Fatalf("foreign error %v", err)
		case size == 0:
			return
		case size > len(b) || len(got.message) > maxMessage || err != nil:
			t.Fatalf("%d of %d bytes, %v", size, len(b), err)
		}
		again, _, err := parseFrame(unmasked(appendFrame(nil, got, 0x01020304), len(got.message)))
		if err != nil || again.op != got.op || !bytes.Equal(again.message, got.message) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

func FuzzParseStamp(f *testing.F) {
	b := make([]byte, minSize)
	stamp{1, 2, 3, 4}.put(b)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parseStamp(b)
		if ok != (len(b) >= minSize) {
			t.Fatalf("%d bytes: %v", len(b), ok)
		}
		if !ok {
			return
		}
		again := bytes.Clone(b)
		s.put(again)
		if !bytes.Equal(again, b) {
			t.Fatalf("% x became % x", b, again)
		}
	})
}
