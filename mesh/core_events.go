package mesh

import (
	"net/netip"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// event is something that happened outside the core.
type event interface{ event() }

type (
	// memberUp: SWIM knows this run of a node, newly or under a new description.
	memberUp struct {
		meta wire.Meta
		addr netip.AddrPort
	}
	// memberDown: SWIM declared this run dead, or it left.
	memberDown struct {
		id       wire.NodeID
		boot     uint64
		graceful bool
	}
	// linkOpened: a link is ready; it replaces any earlier one to the peer, that is one of a lower number.
	linkOpened struct {
		peer wire.NodeID
		boot uint64 // the peer's
		link uint64 // number of the link; numbers ascend in this run
	}
	// linkClosed: a link ended.
	linkClosed struct {
		peer wire.NodeID
		link uint64
	}
	// dialed: an attempt to open a link ended, well or not.
	dialed struct {
		peer wire.NodeID
		ok   bool
	}
	// echoed: a probe came back.
	echoed struct {
		peer wire.NodeID
		link uint64
		seq  uint32
		rtt  time.Duration
		at   time.Time
	}
	// activity: when a link last heard from its peer and last carried a message.
	activity struct {
		peer  wire.NodeID
		link  uint64
		heard time.Time
		used  time.Time
	}
	// polled: the activity of every link is among these events, so that silence means something.
	polled struct{}
	// recordsCame: records with good signatures, from a peer's link or over the mesh.
	recordsCame struct {
		from    wire.NodeID
		records []wire.Record
	}
	// digestCame: what a node says it holds; whole if it is all that it holds.
	digestCame struct {
		digest wire.Digest
		whole  bool
	}
	// wantCame: a node asks for records newer than those listed.
	wantCame struct{ digest wire.Digest }
	// askCame: a node asks to be told once this one holds the version of its interest; haveCame: the answer.
	askCame  struct{ digest wire.Digest }
	haveCame struct{ digest wire.Digest }
	// spreadAwaited: somebody wants to know when all nodes know of the interest told before. IDs are the owner's, each used once.
	spreadAwaited struct{ id uint64 }
	// interestChanged: the first local subscriber of a pattern came, or the last went.
	interestChanged struct {
		tenant  string
		pattern channel.Pattern
		wanted  bool
	}
	// leaving: the node is about to stop; it withdraws its links.
	leaving struct{}
)

func (memberUp) event()        {}
func (memberDown) event()      {}
func (linkOpened) event()      {}
func (linkClosed) event()      {}
func (dialed) event()          {}
func (echoed) event()          {}
func (activity) event()        {}
func (polled) event()          {}
func (recordsCame) event()     {}
func (digestCame) event()      {}
func (wantCame) event()        {}
func (askCame) event()         {}
func (haveCame) event()        {}
func (spreadAwaited) event()   {}
func (interestChanged) event() {}
func (leaving) event()         {}

// effect is something that the core wants done outside. Carrying it out never blocks.
type effect interface{ effect() }

type (
	// dial: try to open a link; answer with dialed.
	dial struct {
		peer wire.NodeID
		addr netip.AddrPort
	}
	// closeLink: end the link to a node that is gone.
	closeLink struct {
		peer wire.NodeID
		link uint64
	}
	// probe: send a probe on the link.
	probe struct {
		peer wire.NodeID
		seq  uint32
	}
	// sendControl: send a Records or digest frame to a node, by its link or else over the mesh.
	sendControl struct {
		to    wire.NodeID
		frame []byte
	}
	// announce: this version is held now; put it on SWIM packets.
	announce struct{ entry wire.DigestEntry }
	// forgot: nothing is held of this node any more.
	forgot struct{ origin wire.NodeID }
	// compareShared: tell a node what this one holds of what all nodes are to hold alike.
	compareShared struct{ to wire.NodeID }
	// publishRoutes: make this the data plane's view.
	publishRoutes struct {
		table  *route.Table
		usable []wire.NodeID
		boots  map[wire.NodeID]uint64 // runs of the nodes that take part
		broken []wire.NodeID          // destinations whose path has broken since the last time
	}
	// setRTT: tell a link its smoothed round trip.
	setRTT struct {
		peer wire.NodeID
		srtt time.Duration
	}
	// introduce: tell SWIM where a peer is that has a working link and that it does not know.
	introduce struct{ peer wire.NodeID }
	// setTwin: double the link to a peer, since it loses packets, or no longer.
	setTwin struct {
		peer wire.NodeID
		on   bool
	}
	// spreadDone: all nodes know of the interest that these wait for.
	spreadDone struct{ ids []uint64 }
	// notice: a change worth a log line.
	notice struct {
		what string
		peer wire.NodeID
		text string
	}
	// impostor: a later run of this very node is alive elsewhere.
	impostor struct{ boot uint64 }
)

func (dial) effect()          {}
func (closeLink) effect()     {}
func (probe) effect()         {}
func (sendControl) effect()   {}
func (announce) effect()      {}
func (forgot) effect()        {}
func (compareShared) effect() {}
func (publishRoutes) effect() {}
func (setRTT) effect()        {}
func (introduce) effect()     {}
func (setTwin) effect()       {}
func (spreadDone) effect()    {}
func (notice) effect()        {}
func (impostor) effect()      {}
