// Package gossip is a node's membership: hashicorp/memberlist (SWIM with suspicion) on the node's own socket, the spreading of
// record versions on SWIM packets, and joining that never gives up.
//
// # Members
//
// A member's SWIM name is its NodeID and boot, so that a restarted node is a new member at once, with no dispute about incarnations and no
// flapping; the later boot replaces the earlier one, whose death is then nobody's. SWIM says who exists. It never says
// which paths work: links are probed by their own ends.
//
// What SWIM says of a run is signed by that node (wire.Meta): its description and its address, and of two descriptions the later edition counts. So a member cannot say
// where another is, what it is called, where it takes clients, or that it restarted or is about to leave. Signatures are checked once for each description, and
// so many a second at most; what came in vain comes again with the next push/pull. The rest of SWIM is any member's to say: that another
// is suspect, dead, or gone, under any incarnation. A node refutes that, unless the incarnation is the highest there is; then SWIM has it for dead until it forgets
// the run, after GossipToTheDeadTime. Therefore links that work outvote SWIM (package mesh/core), and only a signed description makes a leave a graceful one.
//
// # What spreads
//
// SWIM packets carry announcements: Digest frames with the newest (origin, kind, boot, version) that this node knows of, each sent a
// few times. Who lacks a version asks the sender for it. Announcements are some 20 bytes, so that a packet holds about fifty
// and the rate of changes that gossip carries is not bounded by the size of records; the records themselves travel on links, pushed at once.
// Push/pull with any member, every 20 s or as many thirds of a second as there are members, compares sums of all that both hold and so repairs whatever was
// missed, of members as of records.
//
// # Keys
//
// With Config.Keys packets and streams are sealed by memberlist's keyring: AES-GCM, version 1 of its format, under the first key, and opened with any. What is not
// sealed so is refused before memberlist sees it, since that would panic over some of what a holder of a key can send. SetKeys changes the keys while all runs.
//
// # Joining
//
// Seeds are resolved and tried again for ever while they are not members, and so are the members last known, which are kept in a file
// across restarts: memberlist by itself never re-joins. The pause between two tries of one address starts at retryFirst and grows with
// the time since it was last seen, up to retryMost.
//
// # Invariants
//
//  1. No callback of memberlist calls back into memberlist, and none waits for anything that does.
//  2. Packets hold at most PacketBytes; metadata at most wire.MaxMeta.
//  3. A member whose metadata does not parse, or does not match its name, or is not signed by it for its address, is refused.
//  4. Run leaves gracefully, then returns after its goroutines have ended.
package gossip
