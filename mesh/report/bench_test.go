package report

import (
	"fmt"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// BenchmarkReport is what a report of a mesh of 36 takes beyond the view of it.
func BenchmarkReport(b *testing.B) {
	view := core.View{Counters: map[string]uint64{"relayed": 5}, Dropped: map[string]uint64{"no_route": 7}}
	for id := range wire.NodeID(35) {
		view.Members = append(view.Members, member(id+1))
		view.Links = append(view.Links, core.LinkView{Peer: id + 1, Name: fmt.Sprint("n", id), State: "up", RTT: 123.4567, Advertised: 62.1234, MessagesOut: 3})
		view.Routes = append(view.Routes, route(id+1, 50, "a", "b", "c"))
	}
	before, now := &state{at: time.Unix(0, 0), view: view}, &state{at: time.Unix(1, 0), view: view}
	bytes := 0
	for b.Loop() {
		r := compose(before, now, events(&before.view, &now.view))
		bytes = len(r.encode())
	}
	b.ReportMetric(float64(bytes), "B/report")
}
