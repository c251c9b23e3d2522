package forward

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Invariant 5: however many destinations a peer lists, and however often, a node makes one copy of a message for each neighbour at most, none back to where it came
// from, and none beyond the hop limit.
func TestNoAmplification(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		const size = 5
		var s []*station
		costs := map[wire.NodeID][]route.Link{}
		for i := range size {
			s = append(s, newStation(ctx, t, n, byte(i+1)))
			for j := range i {
				if err := s[i].Dial(ctx, s[j].addr, s[j].self); err != nil {
					t.Fatal(err)
				}
				costs[s[i].self] = append(costs[s[i].self], route.Link{To: s[j].self, Cost: 1000})
				costs[s[j].self] = append(costs[s[j].self], route.Link{To: s[i].self, Cost: 1000})
			}
		}
		time.Sleep(100 * time.Millisecond)
		for _, x := range s {
			x.use(costs)
		}
		hostile, node := s[0], s[1]
		sum := func() (copies, bytes uint64) {
			for _, x := range s[1:] {
				copies += x.Counters().Relayed.Load()
				for _, l := range x.Links() {
					bytes += l.Traffic().BytesOut
				}
			}
			return copies, bytes
		}
		var others []wire.Destination
		for _, x := range s[2:] {
			others = append(others, wire.Destination{ID: x.self, Seq: 1, Boot: 1})
		}
		for name, tt := range map[string]struct {
			to     []wire.Destination
			via    []wire.NodeID
			hops   byte
			copies uint64
		}{
			"all neighbours":              {others, nil, wire.MaxHops, uint64(len(others))},
			"the same over and over":      {slices.Repeat(others, 1000), nil, wire.MaxHops, uint64(len(others))},
			"nodes that nobody knows":     {[]wire.Destination{{ID: 1}, {ID: 2}, {ID: 3}}, nil, wire.MaxHops, 0},
			"itself":                      {[]wire.Destination{{ID: hostile.self}}, nil, wire.MaxHops, 0},
			"one hop":                     {others, nil, 1, 0},
			"as many passed as there may": {others, append(slices.Repeat([]wire.NodeID{77}, wire.MaxHops-1), hostile.self), wire.MaxHops, 0},
			"passed by all others":        {others, []wire.NodeID{s[2].self, s[3].self, s[4].self, hostile.self}, wire.MaxHops, 0},
		} {
			beforeCopies, beforeBytes := sum()
			m := wire.Message{
				HopsLeft: tt.hops, Origin: hostile.self, Boot: 1, Deadline: 5000, Via: tt.via, Sealed: true,
				Tenant: []byte("t"), Channel: []byte("c"), Payload: make([]byte, 1000),
			}
			if len(tt.via) > 0 {
				m.Origin = 99
			}
			head := wire.AppendMessageHead(nil, &m, tt.to)
			if err := hostile.Link(node.self).sendMessage(&m, head, false, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			copies, bytes := sum()
			if copies -= beforeCopies; copies != tt.copies {
				t.Errorf("%s: %d copies, want %d", name, copies, tt.copies)
			}
			// Destinations answer a tag that is not right with nothing.
			if bytes -= beforeBytes; bytes > uint64(len(others)*(len(head)+len(m.Payload))+2000) {
				t.Errorf("%s: a message of %d bytes made %d", name, len(head)+len(m.Payload), bytes)
			}
		}
	})
}
