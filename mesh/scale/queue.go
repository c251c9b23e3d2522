package scale

import "time"

// item is something to come.
type item struct {
	at    time.Duration
	order uint64
	run   func()
}

// before is the order of things: by time, then as they were planned.
func (a *item) before(b *item) bool { return a.at < b.at || a.at == b.at && a.order < b.order }

// agenda is a heap of things to come, four to a node: shallower than a binary one, and what is compared lies side by side.
type agenda struct {
	items []item
	order uint64
}

const heapWidth = 4

func (q *agenda) add(at time.Duration, run func()) {
	q.order++
	q.items = append(q.items, item{at, q.order, run})
	i := len(q.items) - 1
	it := q.items[i]
	for i > 0 {
		up := (i - 1) / heapWidth
		if !it.before(&q.items[up]) {
			break
		}
		q.items[i] = q.items[up]
		i = up
	}
	q.items[i] = it
}

// due reports whether anything comes by then.
func (q *agenda) due(by time.Duration) bool { return len(q.items) > 0 && q.items[0].at <= by }

// pop takes the first; there must be one.
func (q *agenda) pop() item {
	first, last := q.items[0], len(q.items)-1
	it := q.items[last]
	q.items[last] = item{} // what it holds can go
	q.items = q.items[:last]
	i := 0
	for {
		child := heapWidth*i + 1
		if child >= last {
			break
		}
		least := child
		for c := child + 1; c < min(child+heapWidth, last); c++ {
			if q.items[c].before(&q.items[least]) {
				least = c
			}
		}
		if !q.items[least].before(&it) {
			break
		}
		q.items[i] = q.items[least]
		i = least
	}
	if last > 0 {
		q.items[i] = it
	}
	return first
}
