package route

// entry is a node and the length of a path to it.
type entry struct {
	dist metric
	node int32
}

// queue is a 4-ary min-heap of entries by dist (Johnson, Information Processing Letters 4(3), 1975): shallower than a
// binary one, and the four children share a cache line. A node is pushed again when its path gets shorter; whoever pops
// skips what is out of date. Empty again after each search, it is used for the next without allocation.
type queue struct{ heap []entry }

func (q *queue) empty() bool { return len(q.heap) == 0 }

func (q *queue) push(e entry) {
	q.heap = append(q.heap, e)
	h, i := q.heap, len(q.heap)-1
	for i > 0 {
		up := (i - 1) / 4
		if h[up].dist <= e.dist {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

func (q *queue) pop() entry {
	top, last := q.heap[0], len(q.heap)-1
	e := q.heap[last]
	q.heap = q.heap[:last]
	h, i := q.heap, 0
	for {
		child := 4*i + 1
		if child >= last {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, last); c++ {
			if h[c].dist < h[least].dist {
				least = c
			}
		}
		if e.dist <= h[least].dist {
			break
		}
		h[i] = h[least]
		i = least
	}
	if last > 0 {
		h[i] = e
	}
	return top
}
