package client

import "slices"

// fifo is a queue without a bound of its own.
type fifo[T any] struct {
	items []T
	first int
}

func (f *fifo[T]) len() int { return len(f.items) - f.first }

func (f *fifo[T]) front() T { return f.items[f.first] }

// at is the item that has i before it.
func (f *fifo[T]) at(i int) *T { return &f.items[f.first+i] }

func (f *fifo[T]) push(item T) { f.items = append(f.items, item) }

func (f *fifo[T]) pop() T {
	var none T
	item := f.items[f.first]
	f.items[f.first] = none
	if f.first++; f.first >= 64 && 2*f.first >= len(f.items) {
		f.items = slices.Delete(f.items, 0, f.first)
		f.first = 0
	}
	return item
}
