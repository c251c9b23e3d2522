package forward

import (
	"slices"
	"sync"
)

// bufferPool lends memory for bursts, to lanes that read and to what waits to be written: without it each burst would leave what it grew to the collector. Its
// zero value is ready.
type bufferPool struct {
	k64, k128, k256, k512 sync.Pool // of pointers to arrays, which it takes no memory to hold; half a MiB is what a near link queues
}

// smallBuffer is what lending is not worth its while for.
const smallBuffer = 4 << 10

// lend is n bytes of memory, whatever is in them. It need not be given back.
func (p *bufferPool) lend(n int) []byte {
	switch {
	case n <= smallBuffer || n > 512<<10:
		return make([]byte, n)
	case n <= 64<<10:
		if b, ok := p.k64.Get().(*[64 << 10]byte); ok {
			return b[:n]
		}
		return new([64 << 10]byte)[:n]
	case n <= 128<<10:
		if b, ok := p.k128.Get().(*[128 << 10]byte); ok {
			return b[:n]
		}
		return new([128 << 10]byte)[:n]
	case n <= 256<<10:
		if b, ok := p.k256.Get().(*[256 << 10]byte); ok {
			return b[:n]
		}
		return new([256 << 10]byte)[:n]
	default:
		if b, ok := p.k512.Get().(*[512 << 10]byte); ok {
			return b[:n]
		}
		return new([512 << 10]byte)[:n]
	}
}

// giveBack takes memory that was lent and that nobody uses any more, and reports whether it was large enough to matter.
func (p *bufferPool) giveBack(b []byte) bool {
	switch b = b[:cap(b)]; cap(b) {
	case 64 << 10:
		p.k64.Put((*[64 << 10]byte)(b))
	case 128 << 10:
		p.k128.Put((*[128 << 10]byte)(b))
	case 256 << 10:
		p.k256.Put((*[256 << 10]byte)(b))
	case 512 << 10:
		p.k512.Put((*[512 << 10]byte)(b))
	default:
		return cap(b) > 64<<10
	}
	return true
}

// grow makes room for n more bytes behind b, as slices.Grow, and takes b back if that moves it.
func (p *bufferPool) grow(b []byte, n int) []byte {
	switch n += len(b); {
	case n <= cap(b):
		return b
	case n <= smallBuffer:
		return slices.Grow(b, n-len(b))
	}
	grown := p.lend(n)
	grown = grown[:copy(grown, b)]
	p.giveBack(b)
	return grown
}
