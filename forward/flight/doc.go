// Package flight is in-flight delivery between two nodes, in order and exactly once: the origin's table of what a destination has not
// acknowledged (Outgoing) and the destination's window of what it has seen (Incoming). Both are pure: time is an argument, and the
// owner sends what is due. Nothing is stored beyond a message's deadline.
//
// # Sequences
//
// An origin numbers what it sends to one run of a destination from 1. Beside its sequence each message carries
//
//	back   how many sequences ago the same channel was last sent there; 0: nothing of that channel is unacknowledged
//	ahead  how many sequences it is ahead of the base, the least sequence the origin still keeps
//
// A destination that meets an origin first begins at the base. What is below the base will not come again.
//
// # Sending again
//
// Links are reliable and ordered, so messages get lost only with a link, a relay, or a relay's full queue. A broken path makes
// everything due at once (Reroute). All else is found by time-out: twice the smoothed time to acknowledgement plus 4
// deviations (after RFC 6298), at least leastTimeout, doubled for each try. A message past its deadline is given up; the base says so.
//
// # Relays that pass nothing on
//
// What a relay does with messages only the missing acknowledgements tell (Judge). If a message on a path with relays is not acknowledged in time, and nothing
// else has been since it was sent, all messages go around these relays, where the mesh has a way, and so do acknowledgements. Were they late only, so that some come
// sooner than the new way takes, the old one is taken again; if none come on any way, the destination is silent; if they come, the relays are avoided, for this
// destination alone, for penaltyFirst and longer each time. Where a relay drops only some messages, each goes another way when it is sent again, and the relay
// is left if they are many. So nobody loses traffic to it for longer than a time-out, and nobody can be made to shun an honest relay but for the destination that
// keeps its acknowledgements back.
//
// # Order
//
// A message whose predecessor in its channel has not been delivered is held, and only that. It is let go when the predecessor
// is delivered, when the base has passed the predecessor, or at its own deadline; then all that was sent before the predecessor is past its
// deadline too, since an origin gives all its messages the same time, and the destination takes it for received. The base is told by the next message only: one
// that waits for a message which its origin has given up (evicted, or taken back), and that nothing follows, waits to its deadline.
//
// # Acknowledgements
//
// A destination acknowledges every AckDelay while messages come: all up to a sequence, ranges above it, and for how long it
// had the newest one, which gives the origin a clean time sample. Acknowledgements are never themselves acknowledged or sent again; the next one says all that the last did.
//
// # One subscriber
//
// A message for one subscriber (Arrival.One) that nobody takes is refused: acknowledgements list it until the base has passed it, and its
// origin, which gets it back from Ack, sends it to another destination, outside of any order. Until the destination knows and can say what became of
// such a message it does not acknowledge it.
//
// # Invariants
//
//  1. Incoming hands out every sequence at most once, and those of one channel in ascending order.
//  2. Outgoing forgets a message only when it is acknowledged, refused, taken back, past its deadline, or evicted, and tells which.
//  3. If every message sent often enough arrives once, Incoming hands out all of them.
//  4. Incoming spans at most Window sequences and holds at most HoldBytes; what does not fit is refused unseen, so that it comes again.
//  5. Of a message for one subscriber Outgoing learns that it was taken, or that it was refused, never both.
package flight
