package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// maxMessage bounds a message from a node, in bytes. Its delivery frames are at most 1 MiB.
const maxMessage = 2 << 20

// errFrame reports bytes that are no frame of a server, as far as this client goes.
var errFrame = errors.New("bench: bad WebSocket frame")

// frame is a message from a node, which is a single frame: a node sends no fragments.
type frame struct {
	op      byte
	message []byte
}

// appendFrame appends a client's frame, masked by the key (section 5.3).
func appendFrame(dst []byte, f frame, key uint32) []byte {
	dst = append(dst, 0x80|f.op)
	switch n := len(f.message); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, key)
	start := len(dst)
	dst = append(dst, f.message...)
	mask(dst[start:], key)
	return dst
}

// mask changes b by the key, whose first byte is the lowest; eight bytes at a time, which is what makes it cheap.
func mask(b []byte, key uint32) {
	long := uint64(key)<<32 | uint64(key)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^long)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * (i % 4)))
	}
}

// parseFrame reads the first frame of b, of which the message is a part, and how many bytes it takes; 0 if it is not all there yet.
func parseFrame(b []byte) (f frame, size int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	head, n := 2, uint64(b[1]&0x7f)
	switch {
	case b[0]&0x70 != 0 || b[1]&0x80 != 0:
		return f, 0, fmt.Errorf("%w: reserved bits or a mask in % x", errFrame, b[:2])
	case b[0]&0x80 == 0 || b[0]&0x0f == 0:
		return f, 0, fmt.Errorf("%w: a fragment", errFrame)
	case n == 126:
		if head = 4; len(b) < head {
			return f, 0, nil
		}
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case n == 127:
		if head = 10; len(b) < head {
			return f, 0, nil
		}
		n = binary.BigEndian.Uint64(b[2:])
	}
	if n > maxMessage {
		return f, 0, fmt.Errorf("%w: %d bytes, limit %d", errFrame, n, maxMessage)
	}
	size = head + int(n)
	if len(b) < size {
		return f, 0, nil
	}
	return frame{op: b[0] & 0x0f, message: b[head:size]}, size, nil
}
