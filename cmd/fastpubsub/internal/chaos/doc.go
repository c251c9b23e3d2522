// Package chaos is a drill: a cluster of real node processes on this computer, as far apart as real cities (mesh/wan.Relay), with traffic on it,
// things that break one after the other, and a ledger of every message. The mesh has a secret.
//
//	publishers ──WebSocket──▶ node processes ◀──UDP──▶ wan.Relay (latencies, faults)
//	subscribers ◀─WebSocket──┘                          ▲
//	     └──▶ ledger ──▶ report            drills ──────┘ and kill, SIGSTOP, SIGTERM
//
// # What counts
//
// A flow is what one run of a publisher's node publishes to one channel, as one run of a subscriber's node gets it; a run of a node ends
// when its process does. In every flow numbers must ascend: a number that comes again is a duplicate, a lower one out of order. One
// that is passed over, or has not come when the mesh has come to rest after a drill, is
//
//   - cut off, if the publisher's run has ended: it died with its node; also if either run began in this drill, since what others still know
//     of the run before serves until the interest of the new one has spread;
//   - expired, if the drill parted the two nodes for longer than a message lives;
//   - lost otherwise, which breaks the promise.
//
// A flow counts from the first message that came, since interest has to spread first.
//
// # Ownership
//
// Run owns all processes, connections and goroutines, and returns when they have ended.
package chaos
