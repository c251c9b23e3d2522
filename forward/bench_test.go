package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// chain is endpoints on real loopback sockets, each linked to the next, with routes along the chain.
type chain struct {
	endpoints []*Endpoint
	delivered atomic.Int64 // at the last
	wanted    int64
	done      chan struct{}
	stop      context.CancelFunc
	group     sync.WaitGroup
}

func newChain(b *testing.B, length int) *chain {
	b.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &chain{stop: stop}
	costs := map[wire.NodeID][]route.Link{}
	opened := make(chan struct{}, 2*length) // one for each end of each link
	emit := func(e Event) {
		if _, is := e.(Opened); is {
			opened <- struct{}{}
		}
	}
	for i := range length {
		socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		e, err := New(Config{
			Key: keyOf(byte(i + 1)), Boot: 1, Socket: socket, Log: zerolog.Nop(),
			Emit: emit, Control: func(wire.NodeID, []byte) error { return nil }, Deliver: c.deliver,
			Packet: func([]byte, net.Addr, time.Time) {}, Stream: func(net.Conn) {},
		})
		if err != nil {
			b.Fatal(err)
		}
		c.endpoints = append(c.endpoints, e)
		c.group.Go(func() { _ = e.Run(ctx) })
		if i == 0 {
			continue
		}
		before := c.endpoints[i-1]
		if err := before.Dial(ctx, socket.LocalAddr(), e.self); err != nil {
			b.Fatal(err)
		}
		costs[before.self] = append(costs[before.self], route.Link{To: e.self, Cost: 1000})
		costs[e.self] = append(costs[e.self], route.Link{To: before.self, Cost: 1000})
	}
	for range 2 * (length - 1) {
		<-opened
	}
	for _, e := range c.endpoints {
		(&station{Endpoint: e}).use(costs)
	}
	return c
}

func (c *chain) close() {
	c.stop()
	c.group.Wait()
}

func (c *chain) deliver(*wire.Message) bool {
	if c.delivered.Add(1) == c.wanted {
		close(c.done)
	}
	return true
}

// BenchmarkForward is throughput from the first of two or three nodes to the last, published by eight goroutines: numbered, as published
// messages are, which costs the in-flight table, acknowledgements and order; and bare, as without all that.
func BenchmarkForward(b *testing.B) {
	for _, length := range []int{2, 3} {
		for _, size := range []int{16, 1024, 16 << 10} {
			for _, kind := range []string{"numbered", "bare"} {
				b.Run(fmt.Sprintf("nodes=%d/size=%d/%s", length, size, kind), func(b *testing.B) {
					c := newChain(b, length)
					defer c.close()
					c.wanted, c.done = int64(b.N), make(chan struct{})
					b.SetBytes(int64(size))
					b.ReportAllocs()
					b.ResetTimer()
					c.flood(b, size, kind == "numbered")
					<-c.done
					b.StopTimer()
				})
			}
		}
	}
}

// flood sends c.wanted messages as fast as the first link takes them.
func (c *chain) flood(b *testing.B, size int, numbered bool) {
	first, last := c.endpoints[0].Forwarder(), c.endpoints[len(c.endpoints)-1].self
	link := c.endpoints[0].Link(c.endpoints[1].self)
	var left atomic.Int64
	left.Store(c.wanted)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			m := wire.Message{Tenant: []byte("t"), Channel: []byte("c" + strconv.Itoa(i)), Payload: make([]byte, size)}
			for left.Add(-1) >= 0 {
				m.Deadline, m.Age = 60_000, 0
				err := ErrLinkFull
				if numbered {
					err = first.Spread(b.Context(), &m, []wire.NodeID{last})
				}
				for !numbered && errors.Is(err, ErrLinkFull) {
					if err = first.Send(&m, last); err != nil {
						<-link.Space()
					}
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
}
