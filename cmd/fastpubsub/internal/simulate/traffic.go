package simulate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

const (
	trafficChannel = "fleet.all"
	trafficEvery   = time.Second     // between two messages of a node, at least
	trafficMost    = 200             // messages delivered a second, by all: the computer carries the nodes and the network, too
	trafficLast    = 5 * time.Second // that messages live (mesh.DefaultDeadline)
	trafficBytes   = 128
	trafficHead    = 16 // of a payload: whose it is, which, and when it was sent
)

// traffic is what became of messages of all nodes to all.
type traffic struct {
	Sent      int     `json:"sent"`
	Delivered int     `json:"delivered"`
	Lost      int     `json:"lost"`
	Twice     int     `json:"twice"`
	Disorder  int     `json:"out_of_order"`
	Delay     float64 `json:"mean_ms"`
	Direct    float64 `json:"direct_ms"` // what the direct paths take without any node's or client's own work
}

// tally counts what comes, at all nodes.
type tally struct {
	began  time.Time
	direct func(from, to int) time.Duration

	mu    sync.Mutex
	next  [][]int // by receiver and sender: the number that is expected next
	out   traffic
	delay time.Duration
	ought time.Duration
}

func newTally(nodes int, direct func(from, to int) time.Duration) *tally {
	t := &tally{began: time.Now(), direct: direct, next: make([][]int, nodes)}
	for i := range t.next {
		t.next[i] = make([]int, nodes)
	}
	return t
}

// message is a payload that tells whose it is.
func (t *tally) message(from, number int) []byte {
	p := binary.BigEndian.AppendUint32(make([]byte, 0, trafficBytes), uint32(from))
	p = binary.BigEndian.AppendUint32(p, uint32(number))
	p = binary.BigEndian.AppendUint64(p, uint64(time.Since(t.began)))
	return p[:trafficBytes]
}

// came takes a message that came to a node.
func (t *tally) came(to int, payload []byte) {
	at := time.Since(t.began)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(payload) < trafficHead || int(binary.BigEndian.Uint32(payload)) >= len(t.next) {
		t.out.Disorder++
		return
	}
	from, number := int(binary.BigEndian.Uint32(payload)), int(binary.BigEndian.Uint32(payload[4:]))
	next := &t.next[to][from]
	switch {
	case number == *next-1:
		t.out.Twice++
		return
	case number < *next:
		t.out.Disorder++
		return
	}
	t.out.Lost += number - *next
	*next = number + 1
	t.out.Delivered++
	if from != to {
		t.delay += at - time.Duration(binary.BigEndian.Uint64(payload[8:]))
		t.ought += t.direct(from, to)
	}
}

// missing is how many messages have not come to all, of so many that each node has sent.
func (t *tally) missing(each int) (count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, row := range t.next {
		for _, next := range row {
			count += each - next
		}
	}
	return count
}

// end is the result, once each node has sent so many.
func (t *tally) end(each int) traffic {
	missing := t.missing(each)
	t.mu.Lock()
	defer t.mu.Unlock()
	nodes := len(t.next)
	t.out.Sent = each * nodes
	t.out.Lost += missing
	if pairs := t.out.Delivered - each*nodes; pairs > 0 { // a node's own messages come back to it
		t.out.Delay = t.delay.Seconds() * 1e3 / float64(pairs)
		t.out.Direct = t.ought.Seconds() * 1e3 / float64(pairs)
	}
	return t.out
}

// subscribe has a client at each node subscribe, and times some of them until they know that all nodes know.
func (r *reality) subscribe(ctx context.Context) error {
	r.tally = newTally(r.play.Nodes, r.play.Delay)
	for i, n := range r.fleet.Nodes[:r.play.Nodes] {
		c, err := client.Dial(ctx, client.Config{URL: "ws://" + n.Gate + "/ws", Handler: func(m client.Message) { r.tally.came(i, m.Payload) }})
		if err != nil {
			return err
		}
		r.clients = append(r.clients, c)
	}
	for k, c := range r.clients {
		began := time.Now()
		if err := c.SubscribeEverywhere(ctx, "", trafficChannel); err != nil {
			return err
		}
		if k < r.play.Subscriptions {
			r.out.Processes.Spread = append(r.out.Processes.Spread, time.Since(began))
		}
	}
	return nil
}

// traffic has every node send to all.
func (r *reality) traffic(ctx context.Context) error {
	every := max(trafficEvery, time.Duration(r.play.Nodes*r.play.Nodes)*time.Second/trafficMost)
	cpu, began, rounds := r.cpu(), time.Now(), max(1, int(r.Rest/every))
	var group sync.WaitGroup
	errs := make([]error, len(r.clients))
	for i, c := range r.clients {
		group.Go(func() {
			time.Sleep(every * time.Duration(i) / time.Duration(len(r.clients)))
			for number := range rounds {
				if errs[i] = c.Publish(ctx, "", trafficChannel, r.tally.message(i, number)); errs[i] != nil {
					return
				}
				if errs[i] = sleep(ctx, every); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.out.BusyCPU = (r.cpu() - cpu).Seconds() * 1000 / time.Since(began).Seconds() / float64(r.play.Nodes)
	for late := time.Now().Add(trafficLast); r.tally.missing(rounds) > 0 && time.Now().Before(late); {
		if err := sleep(ctx, processPoll); err != nil {
			return err
		}
	}
	for _, n := range r.fleet.Nodes[:r.play.Nodes] {
		r.out.Memory += float64(n.Memory()) / 1e6 / float64(r.play.Nodes)
	}
	r.out.Traffic = r.tally.end(rounds)
	if t := r.out.Traffic; t.Lost+t.Twice+t.Disorder > 0 {
		return fmt.Errorf("%w: %d messages lost, %d twice, %d out of order", ErrBroken, t.Lost, t.Twice, t.Disorder)
	}
	return nil
}
