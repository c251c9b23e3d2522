package bench

import "slices"

// maxGaps bounds the gaps that a flow remembers; what lies in those forgotten is lost.
const maxGaps = 1024

// Counts are what became of messages; one to three subscribers counts three times.
type Counts struct {
	Sent       uint64 `json:"sent"` // as many as were to be delivered
	Delivered  uint64 `json:"delivered"`
	Lost       uint64 `json:"lost"`
	Duplicates uint64 `json:"duplicates"`
	OutOfOrder uint64 `json:"out_of_order"` // and delivered
}

// add adds what became of others, each times over.
func (c *Counts) add(o Counts, times uint64) {
	c.Sent += o.Sent * times
	c.Delivered += o.Delivered * times
	c.Lost += o.Lost * times
	c.Duplicates += o.Duplicates * times
	c.OutOfOrder += o.OutOfOrder * times
}

// broken reports whether the mesh did not keep its promise.
func (c Counts) broken() bool {
	return c.Lost > 0 || c.Duplicates > 0 || c.OutOfOrder > 0 || c.Sent == 0
}

// flow is one channel as one connection gets it.
type flow struct {
	next   uint64 // number after the highest that came
	gaps   []gap  // below next, ascending
	counts Counts // Sent and Lost only after end
}

// gap is numbers that have not come: from, and those after it below to.
type gap struct{ from, to uint64 }

// receive notes a message and reports whether it came for the first time.
func (f *flow) receive(number uint64) bool {
	switch {
	case number == f.next:
		f.next++
	case number > f.next:
		if len(f.gaps) == maxGaps {
			f.gaps = slices.Delete(f.gaps, 0, 1)
		}
		f.gaps = append(f.gaps, gap{f.next, number})
		f.next = number + 1
	case f.fill(number):
		f.counts.OutOfOrder++
	default:
		f.counts.Duplicates++
		return false
	}
	f.counts.Delivered++
	return true
}

// fill takes a number out of the gap that it is in, if it is in one.
func (f *flow) fill(number uint64) bool {
	i := slices.IndexFunc(f.gaps, func(g gap) bool { return g.from <= number && number < g.to })
	if i < 0 {
		return false
	}
	var rest []gap
	for _, part := range []gap{{f.gaps[i].from, number}, {number + 1, f.gaps[i].to}} {
		if part.from < part.to {
			rest = append(rest, part)
		}
	}
	if f.gaps = slices.Replace(f.gaps, i, i+1, rest...); len(f.gaps) > maxGaps {
		f.gaps = slices.Delete(f.gaps, 0, 1)
	}
	return true
}

// end is what became of the messages sent, once no more will come.
func (f *flow) end(sent uint64) Counts {
	c := f.counts
	c.Sent = sent
	c.Lost = sent - min(sent, c.Delivered)
	return c
}
