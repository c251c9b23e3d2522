package forward

import (
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	goneAfter  = 10 * time.Minute // when the state of a node that is no member is forgotten
	sweepEvery = time.Minute
)

// sweep forgets nodes that have not been members for long.
func (f *flights) sweep(now time.Time) {
	boots := f.endpoint.forwarder.snapshot.Load().Boots
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, o := range f.out {
		o.mu.Lock()
		if lapsed(&o.gone, now, boots, id) && o.table.Len() == 0 {
			delete(f.out, id)
		}
		o.mu.Unlock()
	}
	for id, in := range f.in {
		in.mu.Lock()
		if lapsed(&in.gone, now, boots, id) {
			in.window.Flush(f.deliver)
			f.noteHeld(in)
			delete(f.in, id)
		}
		in.mu.Unlock()
	}
}

// lapsed keeps the time since which a node is no member, and reports whether that is long ago.
func lapsed(gone *time.Time, now time.Time, boots map[wire.NodeID]uint64, id wire.NodeID) bool {
	if _, member := boots[id]; member {
		*gone = time.Time{}
		return false
	}
	if gone.IsZero() {
		*gone = now
	}
	return now.Sub(*gone) > goneAfter
}

// FlightState is how much is under way.
type FlightState struct {
	Outgoing, OutgoingBytes int // messages sent and not acknowledged
	Held, HeldBytes         int // messages that wait for an earlier one of their channel
}

// state sums up the tables.
func (f *flights) state() (s FlightState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.out {
		o.mu.Lock()
		s.Outgoing += o.table.Len()
		s.OutgoingBytes += o.table.Bytes()
		o.mu.Unlock()
	}
	for _, in := range f.in {
		in.mu.Lock()
		n, b := in.window.Held()
		s.Held += n
		s.HeldBytes += b
		in.mu.Unlock()
	}
	return s
}
