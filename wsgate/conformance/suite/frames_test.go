package suite

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// appendDelivery is the reverse of parseDelivery.
func appendDelivery(d delivery) []byte {
	b := append([]byte{1}, publishV1(d.tenant, d.channel, "")...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.payload)))
	b = append(b, d.payload...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.patterns)))
	for _, p := range d.patterns {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
	}
	return b
}

func TestFrames(t *testing.T) {
	whole := "\x01\x00\x01t\x00\x03a.b\x00\x00\x00\x02hi\x00\x02\x00\x01#\x00\x03a.b"
	d, err := parseDelivery([]byte(whole))
	if want := `t a.b "hi" by ["#" "a.b"]`; err != nil || d.String() != want || string(appendDelivery(d)) != whole {
		t.Errorf("%v, %v", d, err)
	}
	for n := range whole {
		if _, err := parseDelivery([]byte(whole[:n])); err == nil {
			t.Errorf("%q is taken", whole[:n])
		}
	}
	for _, wrong := range []string{
		whole + "\x00", "\x02" + whole[1:], "\x01\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x01\x00\x01#", "\x01\x00\x01t\x00\x01a\x00\x00\x00\x00\x00\x00",
		"\x01\x00\x01t\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01#", "\x01\x00\x01t\x00\x01a\x00\x00\x00\x00\x00\x01\x00\x00",
	} {
		if d, err := parseDelivery([]byte(wrong)); err == nil {
			t.Errorf("%q is %v", wrong, d)
		}
	}
	if got := string(publishV2(2, "t", "a", "x")); got != "\x02\x02\x00\x01t\x00\x01ax" {
		t.Errorf("got %q", got)
	}
}

// FuzzParseDelivery: what is taken is what it was made of.
func FuzzParseDelivery(f *testing.F) {
	f.Add([]byte("\x01\x00\x01t\x00\x03a.b\x00\x00\x00\x02hi\x00\x02\x00\x01#\x00\x03a.b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseDelivery(b); err == nil && !bytes.Equal(appendDelivery(d), b) {
			t.Errorf("% x became %v", b, d)
		}
	})
}

// script is a connection of which the other side is written down.
type script struct {
	net.Conn
	io.Reader
	written bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.written.Write(p) }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func scripted(text string) (*socket, *script) {
	s := &script{Reader: strings.NewReader(text)}
	return &socket{net: s, in: bufio.NewReader(s)}, s
}

func TestSocketRead(t *testing.T) {
	s, script := scripted("\x81\x02hi\x02\x01a\x89\x01p\x00\x01b\x80\x01c\x8a\x01q\x82\x7e\x00\x7e" + strings.Repeat("x", 126) + "\x88\x02\x03\xf0")
	var got []string
	for {
		op, payload, err := s.read()
		if err != nil {
			if !errors.Is(err, errClosed) || s.status != 1008 {
				t.Errorf("%v, status %d", err, s.status)
			}
			break
		}
		got = append(got, string(rune('0'+op))+string(payload))
	}
	if want := []string{"1hi", "2abc", ":", "2" + strings.Repeat("x", 126)}; !slices.Equal(got, want) || !slices.Equal(s.pongs, []string{"q"}) {
		t.Errorf("got %q, pongs %q", got, s.pongs)
	}
	if b := script.written.Bytes(); len(b) != 7 || b[0] != 0x8a || b[1] != 0x81 || b[6]^b[2] != 'p' {
		t.Errorf("answered % x", b)
	}
	for text, status := range map[string]int{
		"\xc1\x00": 0, "\x81\x80\x00\x00\x00\x00": abnormal, "\x80\x00": 0, "\x01\x00\x01\x00": 0, "\x83\x00": 0, "": abnormal, "\x81\x02h": abnormal,
		"\x82\x7f\x00\x00\x00\x00\x10\x00\x00\x00": abnormal, "\x88\x00": noStatus,
	} {
		s, _ := scripted(text)
		if _, _, err := s.read(); err == nil || s.status != status {
			t.Errorf("%q: %v, status %d", text, err, s.status)
		}
	}
}

// FuzzSocketRead: whatever comes, reading ends, and keeps no more than came.
func FuzzSocketRead(f *testing.F) {
	f.Add([]byte("\x81\x02hi\x02\x01a\x89\x01p\x00\x01b\x80\x01c\x88\x02\x03\xf0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _ := scripted(string(b))
		for range len(b) + 1 {
			_, payload, err := s.read()
			if err != nil {
				return
			}
			if len(payload) > len(b) {
				t.Fatalf("%d bytes of %d", len(payload), len(b))
			}
		}
		t.Fatal("no end")
	})
}
