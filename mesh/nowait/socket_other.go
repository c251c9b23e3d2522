//go:build !unix

package nowait

const supported = false

func (w *Writer) write(uintptr) bool { return true }

func (r *Reader) read(uintptr) bool { return true }
