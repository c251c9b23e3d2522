package core

import (
	"crypto/ed25519"
	"net/netip"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Event is something that happened outside the core.
type Event interface{ event() }

type (
	// MemberUp says that SWIM knows this run of a node, newly or under a new description.
	MemberUp struct {
		Meta wire.Meta
		Addr netip.AddrPort
	}
	// MemberDown says that SWIM declared this run dead, or it left.
	MemberDown struct {
		ID       wire.NodeID
		Boot     uint64
		Graceful bool
	}
	// LinkOpened says that a link is ready; it replaces any earlier one to the peer, that is one of a lower number.
	LinkOpened struct {
		Peer wire.NodeID
		Boot uint64 // the peer's
		Link uint64 // number of the link; numbers ascend in this run

		Renews bool // the earlier one works still
	}
	// LinkClosed says that a link ended.
	LinkClosed struct {
		Peer wire.NodeID
		Link uint64
	}
	// Dialed says that an attempt to open a link ended, well or not.
	Dialed struct {
		Peer wire.NodeID
		OK   bool
	}
	// Echoed says that a probe came back.
	Echoed struct {
		Peer wire.NodeID
		Link uint64
		Seq  uint32
		RTT  time.Duration
		At   time.Time
	}
	// Activity says when a link last heard from its peer and last carried a message.
	Activity struct {
		Peer  wire.NodeID
		Link  uint64
		Heard time.Time
		Used  time.Time
	}
	// Polled says that the activity of every link is among these events, so that silence means something.
	Polled struct{}
	// RecordsCame says that records with good signatures came, from a peer's link or over the mesh.
	RecordsCame struct {
		From    wire.NodeID
		Records []wire.Record
	}
	// DigestCame tells what a node says it holds.
	DigestCame struct {
		Digest  wire.Digest
		Classes uint64 // of records, of which it is all that the node holds; 0: it is a mere announcement
		Reply   bool   // it is not to be replied to
		Hearsay bool   // it came by SWIM, so that any member may have said it in the node's name
	}
	// SumsCame tells the sums of all that a node holds.
	SumsCame struct{ Sums wire.Sums }
	// WantCame says that a node asks for records newer than those listed.
	WantCame struct{ Digest wire.Digest }
	// AskCame says that a node asks to be told once this one holds the version of its interest.
	AskCame struct{ Digest wire.Digest }
	// HaveCame is the answer.
	HaveCame struct{ Digest wire.Digest }
	// SpreadAwaited says that somebody wants to know when all nodes know of the interest told before. IDs are the owner's, each used once.
	SpreadAwaited struct{ ID uint64 }
	// InterestChanged says that the first local subscriber of a pattern came, or the last went.
	InterestChanged struct {
		Tenant  string
		Pattern channel.Pattern
		Wanted  bool
	}
	// NeedCame is a neighbour's word whether it needs the link.
	NeedCame struct {
		From   wire.NodeID
		Needed bool
	}
	// Traffic says where messages of this node's have gone since it was said last, and where those for it have come from.
	Traffic struct{ Sent, Came []Flow }
	// Pinged says how long a Ping took; 0 if there was no answer.
	Pinged struct {
		Peer wire.NodeID
		RTT  time.Duration
	}
	// Leaving says that the node is about to stop; it withdraws its links.
	Leaving struct{}
)

func (MemberUp) event()        {}
func (MemberDown) event()      {}
func (LinkOpened) event()      {}
func (LinkClosed) event()      {}
func (Dialed) event()          {}
func (Echoed) event()          {}
func (Activity) event()        {}
func (Polled) event()          {}
func (RecordsCame) event()     {}
func (DigestCame) event()      {}
func (SumsCame) event()        {}
func (WantCame) event()        {}
func (AskCame) event()         {}
func (HaveCame) event()        {}
func (SpreadAwaited) event()   {}
func (InterestChanged) event() {}
func (NeedCame) event()        {}
func (Traffic) event()         {}
func (Pinged) event()          {}
func (Leaving) event()         {}

// Flow is messages that this node originated for another, or another for this one.
type Flow struct {
	Peer     wire.NodeID
	Messages int
}

// Effect is something that the core wants done outside. Carrying it out never blocks.
type Effect interface{ effect() }

type (
	// Dial asks to open a link; answer with Dialed.
	Dial struct {
		Peer wire.NodeID
		Addr netip.AddrPort
	}
	// CloseLink asks to end the link to a node that is gone.
	CloseLink struct {
		Peer wire.NodeID
		Link uint64
	}
	// Probe asks to send a probe on the link.
	Probe struct {
		Peer wire.NodeID
		Seq  uint32
	}
	// Ping asks to measure the round trip to a node without a link; answer with Pinged.
	Ping struct {
		Peer wire.NodeID
		Boot uint64
		Addr netip.AddrPort
	}
	// SendControl asks to send a Records or digest frame to a node, by its link or else over the mesh.
	SendControl struct {
		To    wire.NodeID
		Frame []byte
	}
	// Announce says that this version is held now: put it on SWIM packets.
	Announce struct{ Entry wire.DigestEntry }
	// Forgot says that nothing is held of this node any more.
	Forgot struct{ Origin wire.NodeID }
	// CompareShared asks to tell a node what this one holds of what all nodes are to hold alike.
	CompareShared struct{ To wire.NodeID }
	// PublishRoutes asks to make this the data plane's view.
	PublishRoutes struct {
		Table  *route.Table
		Usable []wire.NodeID
		Boots  map[wire.NodeID]uint64            // runs of the nodes that take part
		Keys   map[wire.NodeID]ed25519.PublicKey // theirs, where known
		Broken []wire.NodeID                     // destinations whose path has broken since the last time
	}
	// SetRTT asks to tell a link its smoothed round trip.
	SetRTT struct {
		Peer wire.NodeID
		SRTT time.Duration
	}
	// Introduce asks to tell SWIM where a peer is that has a working link and that it does not know.
	Introduce struct{ Peer wire.NodeID }
	// SetTwin asks to double the link to a peer, since it loses packets, or no longer.
	SetTwin struct {
		Peer wire.NodeID
		On   bool
	}
	// SpreadDone says that all nodes know of the interest that these wait for.
	SpreadDone struct{ IDs []uint64 }
	// TooFast says that a node has links, or answers probes, faster than light between where the ends say that they are.
	TooFast struct {
		Origin wire.NodeID
		Links  int
	}
	// Notice is a change worth a log line.
	Notice struct {
		What string
		Peer wire.NodeID
		Text string
	}
	// Impostor says that a later run of this very node is alive elsewhere.
	Impostor struct{ Boot uint64 }
)

func (Dial) effect()          {}
func (CloseLink) effect()     {}
func (Probe) effect()         {}
func (Ping) effect()          {}
func (SendControl) effect()   {}
func (Announce) effect()      {}
func (Forgot) effect()        {}
func (CompareShared) effect() {}
func (PublishRoutes) effect() {}
func (SetRTT) effect()        {}
func (Introduce) effect()     {}
func (SetTwin) effect()       {}
func (SpreadDone) effect()    {}
func (Notice) effect()        {}
func (TooFast) effect()       {}
func (Impostor) effect()      {}
