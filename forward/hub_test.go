package forward

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// nullLane takes all that is written.
type nullLane struct{ lane }

func (nullLane) Write(b []byte) (int, error) { return len(b), nil }
func (nullLane) TryWriteAll([]byte) error    { return nil }

// hub is an endpoint with links that lead nowhere, to the nodes with IDs from 2 on.
type hub struct {
	*Endpoint
	links []*Link
	ids   []wire.NodeID
}

func newHub(tb testing.TB, neighbours int) *hub {
	tb.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = socket.Close() })
	e, err := New(Config{
		Key: keyOf(1), Boot: 1, Socket: socket, Log: zerolog.Nop(), Emit: func(Event) {},
		Control: func(wire.NodeID, []byte) error { return nil }, Deliver: func(*wire.Message) bool { return true },
		Packet: func([]byte, net.Addr, time.Time) {}, Stream: func(net.Conn) {},
	})
	if err != nil {
		tb.Fatal(err)
	}
	h := &hub{Endpoint: e}
	s := &Snapshot{Links: map[wire.NodeID]*Link{}, Boots: map[wire.NodeID]uint64{}}
	db := route.NewDatabase()
	var all []route.Link
	for i := range neighbours {
		id := wire.NodeID(i + 2)
		l := &Link{Peer: id, endpoint: e, near: true, lanes: []lane{nullLane{}, nullLane{}}}
		l.out, l.flusher = make([]outbox, len(l.lanes)+1), laneFlusher(l)
		l.usable.Store(true)
		h.links, h.ids = append(h.links, l), append(h.ids, id)
		s.Links[id], s.Boots[id] = l, 1
		all = append(all, route.Link{To: id, Cost: 1000})
		db.Set(id, []route.Link{{To: e.self, Cost: 1000}})
	}
	db.Set(e.self, all)
	s.Table = route.Compute(e.self, db)
	e.forwarder.Publish(s, nil)
	return h
}

// write empties the links, as their flushers would.
func (h *hub) write() {
	for _, l := range h.links {
		if err := l.flusher.writeAll(); err != nil {
			panic(err)
		}
	}
}

// relayed is a frame of a message that neighbour 2 hands this node for all others.
func (h *hub) relayed(payload int) []byte {
	m := wire.Message{HopsLeft: 8, Origin: 2, Boot: 1, Deadline: 5000, Tenant: []byte("t"), Channel: []byte("some.channel")}
	var to []wire.Destination
	for i, id := range h.ids[1:] {
		to = append(to, wire.Destination{ID: id, Seq: uint64(i + 9), Back: 1, Ahead: 2, Boot: 1})
	}
	return append(wire.AppendMessageHead(nil, &m, to), make([]byte, payload)...)
}

func (h *hub) relay(tb testing.TB, frame []byte, m *wire.Message) {
	if err := h.links[0].message(1, frame, m); err != nil {
		tb.Fatal(err)
	}
	h.write()
}

// spread publishes a message to all neighbours, who acknowledge it.
func (h *hub) spread(tb testing.TB, m *wire.Message) {
	m.Deadline, m.Age = 5000, 0
	if err := h.forwarder.Spread(context.Background(), m, h.ids); err != nil {
		tb.Fatal(err)
	}
	h.write()
	for _, id := range h.ids {
		o := h.flights.out[id]
		newest := o.table.Base() + uint64(o.table.Len()) - 1
		h.flights.acknowledged(id, &wire.Ack{Boot: 1, OriginBoot: 1, Floor: newest, Newest: newest})
	}
}
