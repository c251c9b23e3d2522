package wsgate

import (
	"encoding/binary"
	"sync"
)

// Sizes of an intake's buffer. It grows as bytes come, so that a message has to be sent before it takes memory here, and an idle connection keeps the
// smallest. The largest holds the longest valid publication.
const (
	idleIntake = 512
	busyIntake = 8 << 10
	mostIntake = 68 << 10
)

// intake reads what a client sends. It takes whole unfragmented data messages out of its buffer itself, as many as one read brought. All else belongs to the WebSocket
// library, which reads through it, frame by frame so that it never holds bytes of the next: control frames, fragments, what breaks RFC 6455, and what does
// not fit the buffer.
type intake struct {
	conn    *frameConn
	buffers *intakeBuffers
	own     []byte // the smallest buffer

	buf   []byte
	lease *[]byte // what buf is of a pool; nil: buf is own
	start int     // of what was not taken yet
	end   int
	burst int    // size of the buffer at the end of the last burst, which the next may need again
	lent  uint64 // bytes of the frame that the library is reading, still to come
}

// intakeBuffers keeps buffers that no busy connection needs.
type intakeBuffers struct{ busy, most sync.Pool } // of *[]byte

func newIntakeBuffers() *intakeBuffers {
	b := &intakeBuffers{}
	b.busy.New = func() any { return newBuffer(busyIntake) }
	b.most.New = func() any { return newBuffer(mostIntake) }
	return b
}

func newBuffer(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

// newIntake is an intake that has read these bytes already, as many as net/http reads ahead at most.
func newIntake(conn *frameConn, buffers *intakeBuffers, read []byte) *intake {
	in := &intake{conn: conn, buffers: buffers, own: make([]byte, idleIntake)}
	in.buf = in.own
	for len(in.buf) < len(read) {
		in.refit(in.larger(), nil)
	}
	in.end = copy(in.buf, read)
	return in
}

// frameHead is the header of a frame, a client's or ours.
type frameHead struct {
	first  byte // FIN, reserved bits and opcode
	masked bool
	size   int    // of the header
	length uint64 // of the payload
}

// maxClientHeader is the length of the longest header of a masked frame.
const maxClientHeader = 14

// parseHead reads the header at the front of b; false if b has not all of it.
func parseHead(b []byte) (h frameHead, ok bool) {
	if len(b) < 2 {
		return h, false
	}
	h = frameHead{first: b[0], masked: b[1]&0x80 != 0, size: 2, length: uint64(b[1] & 0x7f)}
	switch h.length {
	case 126:
		if len(b) < 4 {
			return h, false
		}
		h.size, h.length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return h, false
		}
		h.size, h.length = 10, binary.BigEndian.Uint64(b[2:])
	}
	if h.masked {
		h.size += 4
	}
	return h, len(b) >= h.size
}

// plain tells whether the frame is a whole data message that keeps to the rules and fits a buffer.
func (h frameHead) plain() bool {
	return (h.first == frameBinary || h.first == frameText) && h.masked && h.length <= mostIntake-maxClientHeader
}

// next takes the next message, unmasked and valid until the next fill, if all of it has come. If irregular, the library has to read on.
func (in *intake) next() (first byte, msg []byte, ok, irregular bool) {
	b := in.buf[in.start:in.end]
	h, whole := parseHead(b)
	if !whole {
		return 0, nil, false, false
	}
	if !h.plain() {
		return 0, nil, false, true
	}
	total := h.size + int(h.length)
	if len(b) < total {
		return 0, nil, false, false
	}
	in.start += total
	msg = b[h.size:total:total]
	unmask(msg, [4]byte(b[h.size-4:h.size]))
	return h.first, msg, true, false
}

// unmask undoes the masking of RFC 6455, section 5.3.
func unmask(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 32 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^k)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^k)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^k)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i%4]
	}
}

// fill waits for more bytes. What was not taken moves to the front when there is no room behind it.
func (in *intake) fill() error {
	switch rest := in.buf[in.start:in.end]; {
	case in.end == len(in.buf): // the last read may have left bytes for want of room
		in.refit(max(in.larger(), in.burst), rest)
	case len(rest) == 0: // all has been read that came: the wait may be long
		in.burst = len(in.buf)
		in.refit(idleIntake, nil)
	}
	n, err := in.conn.receive(in.buf[in.end:])
	in.end += n
	if n > 0 {
		return nil // an error will come again
	}
	return err
}

// larger is the next size of the buffer.
func (in *intake) larger() int {
	if len(in.buf) == idleIntake {
		return busyIntake
	}
	return mostIntake
}

// refit moves rest to the front of a buffer of this size.
func (in *intake) refit(size int, rest []byte) {
	before := in.lease
	if size != len(in.buf) {
		in.buf, in.lease = in.own, nil
		if pool := in.buffers.of(size); pool != nil {
			in.lease = pool.Get().(*[]byte)
			in.buf = *in.lease
		}
	}
	in.start, in.end = 0, copy(in.buf, rest)
	if before != in.lease {
		in.giveBack(before)
	}
}

func (in *intake) giveBack(lease *[]byte) {
	if lease != nil {
		in.buffers.of(len(*lease)).Put(lease)
	}
}

// of is where buffers of a size are kept; nil for the smallest, which is the intake's own.
func (p *intakeBuffers) of(size int) *sync.Pool {
	switch size {
	case busyIntake:
		return &p.busy
	case mostIntake:
		return &p.most
	}
	return nil
}

// release gives the buffer back; nothing is read after that.
func (in *intake) release() {
	in.giveBack(in.lease)
	in.buf, in.lease, in.start, in.end = in.own, nil, 0, 0
}

// Read is the library's way in. It ends at the end of a frame.
func (in *intake) Read(p []byte) (int, error) {
	for in.lent == 0 {
		if h, ok := parseHead(in.buf[in.start:in.end]); ok {
			in.lent = uint64(h.size) + min(h.length, 1<<62) // the library refuses what is longer
			break
		}
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	p = p[:min(uint64(len(p)), in.lent)]
	var n int
	var err error
	if in.start < in.end {
		n = copy(p, in.buf[in.start:in.end])
		in.start += n
	} else {
		n, err = in.conn.receive(p)
	}
	in.lent -= uint64(n)
	return n, err
}
