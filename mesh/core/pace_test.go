package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// A thousand subscriptions a second on one node of a large mesh make a few records a second, of a few KB; the first goes out at once.
func TestBurstOnOneNode(t *testing.T) {
	r := newRig(t, 2)
	r.c.members = 999
	r.pass(time.Second)
	before, bytes := r.c.version[wire.RecordInterest], 0
	var first time.Duration
	began := r.now
	for i := range 5000 {
		r.step(InterestChanged{"t", pattern(t, fmt.Sprint("c.", i)), true})
		r.passed(time.Millisecond)
		if first == 0 && r.c.version[wire.RecordInterest] > before {
			first = r.now.Sub(began)
		}
	}
	for _, record := range r.c.store.entries[RecordKey{r.c.self, wire.RecordInterest}].records {
		bytes += len(record.Raw)
	}
	if first > interestPause+time.Millisecond {
		t.Errorf("the first record after %v", first)
	}
	if n := r.c.version[wire.RecordInterest] - before; n < 10 || n > 5*uint64(time.Second/(250*time.Millisecond))+1 {
		t.Errorf("%d records in 5 s", n)
	}
	if bytes > 200<<10 {
		t.Errorf("%d bytes of records are held for 5,000 patterns", bytes)
	}
}

// Bursts everywhere slow everybody down until what each is sent is bearable, whatever the mesh; when they end, so does the waiting.
func TestBurstsEverywhere(t *testing.T) {
	const nodes, size = 1000, 4000 // bytes of a record with what gathers in a quarter of a second
	now := epoch()
	paces := make([]pace, nodes)
	for i := range paces {
		paces[i] = pace{strain: 1, since: now}
	}
	record := wire.Record{Kind: wire.RecordInterest, Raw: make([]byte, size)}
	sent := 0
	second := func(burst bool) int {
		sent = 0
		for range 100 {
			now = now.Add(10 * time.Millisecond)
			told := 0
			for i := range paces {
				if burst {
					paces[i].changed(now, nodes)
				}
				if paces[i].flush(now) {
					told++
				}
			}
			for range told {
				for i := range paces {
					paces[i].heard(now, &record)
				}
			}
			sent += told * size
		}
		return sent
	}
	for range 20 {
		second(true)
	}
	total := 0
	for range 10 {
		total += second(true)
	}
	if rate := total / 10; rate > 2*interestMost || rate < interestMost/8 {
		t.Errorf("%d bytes a second after 20 s of bursts", rate)
	}
	for range 30 {
		second(false)
	}
	paces[0].changed(now, nodes)
	if wait := paces[0].due.Sub(now); wait != interestPause {
		t.Errorf("a change waits for %v when all is over", wait)
	}
}
