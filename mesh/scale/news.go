package scale

// newsQueue is memberlist's queue of broadcasts: what was sent least goes first, of that the largest, of these the newest.
type newsQueue struct {
	tiers   []newsTier
	current map[int32]uint64 // by run: the message that still holds
	last    uint64
}

type newsTier struct{ large, small []queued }

type queued struct {
	news
	number uint64
}

func (q *newsQueue) empty() bool { return len(q.current) == 0 }

// add queues a message in place of others about the same run.
func (q *newsQueue) add(msg news) {
	if q.current == nil {
		q.current = map[int32]uint64{}
	}
	q.last++
	q.current[msg.run] = q.last
	q.push(0, queued{msg, q.last})
}

func (q *newsQueue) push(tier int, m queued) {
	for len(q.tiers) <= tier {
		q.tiers = append(q.tiers, newsTier{})
	}
	t := &q.tiers[tier]
	if m.size() == aliveBytes {
		t.large = append(t.large, m)
	} else {
		t.small = append(t.small, m)
	}
}

// take is what goes on a packet with so much room; each message goes on so many at most.
func (q *newsQueue) take(room, most int) (out []news) {
	if q.empty() {
		return nil
	}
	var again []queued
	var tiers []int
	for tier := range q.tiers {
		t := &q.tiers[tier]
		for _, stack := range []*[]queued{&t.large, &t.small} {
			for len(*stack) > 0 {
				m := (*stack)[len(*stack)-1]
				if q.current[m.run] == m.number && room < m.size()+compound {
					break
				}
				*stack = (*stack)[:len(*stack)-1]
				if q.current[m.run] != m.number {
					continue
				}
				room -= m.size() + compound
				out = append(out, m.news)
				if tier+1 >= most {
					delete(q.current, m.run)
				} else {
					again, tiers = append(again, m), append(tiers, tier+1)
				}
			}
		}
	}
	for i, m := range again {
		q.push(tiers[i], m)
	}
	return out
}
