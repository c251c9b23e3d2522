package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// TestCoalesced: packets sent as one come out one by one, with their sender, whatever the number asked for at a time, and so does a packet sent alone.
func TestCoalesced(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
			if err != nil {
				t.Skip(err) // no IPv6 here
			}
			defer func() { _ = socket.Close() }()
			receiver, ok := coalesce(socket).(*coalescing)
			if !ok {
				t.Skip("this kernel does not coalesce")
			}
			sender, err := net.DialUDP("udp", nil, socket.LocalAddr().(*net.UDPAddr))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sender.Close() }()
			var want []string
			send := func(b []byte, segment int) {
				var control []byte
				if segment > 0 {
					control = segmentControl(segment)
				}
				if _, _, err := sender.WriteMsgUDP(b, control, nil); err != nil {
					t.Fatal(err)
				}
				for part := range slices.Chunk(b, max(segment, 1)) {
					if segment == 0 {
						part = b
					}
					want = append(want, string(part))
					if segment == 0 {
						break
					}
				}
			}
			send([]byte("alone"), 0)
			send(numbered(14*1200+7), 1200)
			send([]byte("after"), 0)
			send(numbered(3*100), 100)
			got := receiveAll(t, receiver, len(want), sender.LocalAddr().String())
			if !slices.Equal(got, want) {
				t.Errorf("got %d packets, want %d", len(got), len(want))
			}
		})
	}
}

// numbered is bytes of which no two packets are alike.
func numbered(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprint(&b, i, " ")
	}
	return b.Bytes()[:n]
}

func segmentControl(size int) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(bytesPointer(b))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	return b
}

func receiveAll(t *testing.T, c *coalescing, n int, from string) (got []string) {
	t.Helper()
	messages := make([]ipv4.Message, 5)
	for i := range messages {
		messages[i].Buffers, messages[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
	}
	for len(got) < n {
		k, err := c.ReadBatch(messages, 0)
		if err != nil || k == 0 {
			t.Fatal(k, err)
		}
		for _, m := range messages[:k] {
			if m.Addr.String() != from {
				t.Errorf("from %v, want %v", m.Addr, from)
			}
			got = append(got, string(m.Buffers[0][:m.N]))
		}
	}
	return got
}

// TestCutSegmentSize: the other control messages stay, in order.
func TestCutSegmentSize(t *testing.T) {
	message := func(level, kind int32, body []byte) []byte {
		b := make([]byte, unix.CmsgSpace(len(body)))
		h := (*unix.Cmsghdr)(bytesPointer(b))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(len(body)))
		copy(b[unix.CmsgLen(0):], body)
		return b
	}
	tos := message(unix.IPPROTO_IP, unix.IP_TOS, []byte{1})
	gro := message(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{0xb0, 4, 0, 0})
	info := message(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 12))
	for _, all := range [][][]byte{{gro}, {tos, gro}, {gro, tos, info}, {tos, gro, info}} {
		b := slices.Concat(all...)
		want := slices.Concat(slices.DeleteFunc(slices.Clone(all), func(m []byte) bool { return bytes.Equal(m, gro) })...)
		size, n := cutSegmentSize(b)
		if size != 1200 || !bytes.Equal(b[:n], want) {
			t.Errorf("size %d, left % x, want % x", size, b[:n], want)
		}
	}
}

func bytesPointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
