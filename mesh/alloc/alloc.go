// Package alloc bounds what code under test may allocate, which is how fuzz targets notice that a few bytes of input cost much memory. It is for tests.
package alloc

import (
	"runtime"
	"testing"
)

// slack is what others allocate meanwhile.
const slack = 256 << 10

// Bound fails the test unless, from now until the returned function is called, at most so many bytes are allocated, and slack:
//
//	defer alloc.Bound(t, 64*len(input))()
func Bound(t testing.TB, most int) (check func()) {
	t.Helper()
	before := allocated()
	return func() {
		t.Helper()
		if got := allocated() - before; got > uint64(most)+slack {
			t.Errorf("%d bytes allocated, at most %d wanted", got, most)
		}
	}
}

// allocated stops the world, some 20 µs; package runtime/metrics would not, but counts small allocations when it comes to that.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
