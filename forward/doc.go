// Package forward carries messages between nodes: HTTP/3 links on one UDP socket, and the forwarder that splits a
// message's destinations by next hop.
//
// # Links
//
// Two linked nodes share one QUIC connection with HTTP/3 on it. On that, the dialling node opens Config.Lanes extended CONNECT
// requests (RFC 9220), ":protocol" fastpubsub-lane-1, which stay open and are used in both directions:
//
//	lane 0     control: frames of the control plane, and messages that carry them or SWIM packets
//	lane 1..   published messages by hash of (tenant, channel), which keeps a channel's order; all in lane 1 where the round trip is under 2 ms
//
// Request headers carry the node's boot and the lane's number; who the peer is follows from its TLS key alone, and whether it is believed from its certificate
// (package trust). Datagrams (RFC 9297) on lane 0 carry probes and echoes and nothing else, since a full receive queue drops them silently.
//
// One flusher per link takes at most 16 KiB of each lane in turn and writes them, so that many messages share a packet and a
// large message does not hold up other lanes. A few flushes go at once; on long links those of a lasting stream are
// spaced by srtt/20, at least 0.5 and at most 2 ms, because each lost packet costs congestion window whatever its size.
//
// The node with the smaller ID dials; where that fails the other does. If two connections meet, both ends keep the one that
// the smaller ID dialled. A later boot of the peer replaces an earlier one. When a node's credentials change, the end that dialled a link opens it anew,
// marked as a renewal of what works, and so both ends go on without a gap.
//
// # Near streams
//
// Where the round trip is under 2 ms, published messages go by TLS 1.3 on TCP instead of lane 1, by the same keys and in the same frames, on the TCP port with the
// number of the node's UDP port. There the processor is what is scarce, and TCP costs it a third of QUIC: the kernel cuts and acknowledges, and wakes who reads.
// What lanes are for, not to wait for each other's lost packets, matters on longer paths. Acknowledgements go that way too while no messages wait; control, and the probes that tell whether the link lives, stay on QUIC.
// The end that dialled the link dials the stream, ALPN fastpubsub-near-1:
//
//	lane 0's response   Fps-Near: the peer's number of the link, if it takes streams
//	dialler             that number, 8 bytes
//	peer                one byte 1; from here on both send frames as in a lane, and Probe and Echo
//
// A stream that does not answer within a second, or 250 ms where little was sent, is given up: what waits for it takes lane 1, what it was writing is sent again by the in-flight table, and
// another stream is tried after 1 s, 2 s, ... up to 5 minutes. Both directions take messages from lanes at any time, since the in-flight table keeps their order.
//
// # The socket
//
// SWIM packets share the socket with QUIC: their first byte is below 0x40, which no QUIC packet starts with. Reliable
// streams of SWIM are extended CONNECT requests with ":protocol" fastpubsub-gossip-1.
//
// # Forwarding
//
// The Forwarder holds one immutable Snapshot: next-hop table and usable links. For each destination it takes the next
// hop, else the loop-free alternate, else the direct link, skipping nodes that the message has passed.
//
// Relays need not be honest. An origin that gets no acknowledgements over some (package flight, Judge) names them in its messages, and all nodes on the way, and the
// destination in its acknowledgements, take the shortest way around those, where there is one. What comes over a link must have the link's peer as its origin or last
// relay, and what relays have passed on carries a tag for each destination, under a key that only the origin and that destination have (seals): no relay can write,
// change or acknowledge a message in another's name. What a peer does that no sound node does is counted against it (Fault) and told of in the log once a minute.
//
// # Who may open connections
//
// Callers prove their address first (RFC 9000, Retry) where many come at once; handshakes, connections of an address, and connections on which nothing has been
// opened are bounded (guard). A member that takes nothing although it answers probes is not waited for beyond stuckPatience.
//
// A member that is no node can ask a node how it sees it, and to be sent one datagram at its own address (check).
//
// # One subscriber
//
// A message for one subscriber goes to the node that Config.Choose picks. If that has none it says so in its acknowledgement, and the origin
// sends the message to another; likewise when that node restarts, or when no route leads there for cutOffPatience while one leads to another. So each
// is taken once, unless its taker's node dies, or is cut off for longer than that, before its acknowledgement has reached the origin.
//
// # Traced messages
//
// A message with a trace (wire.Message.Trace) goes as all others do. Each node that it meets tells its origin so (wire.Hop, Config.Traced): when it came, how long it was here until it had
// been written to the link, in whose queue it waits as any other, and the next hops that there were. That may get lost, and is bounded at each node (DropTraces), whoever traces.
//
// # For every node
//
// SpreadAll tells all nodes of something that is for themselves. Such a message takes the control lanes, so that no backlog of published messages
// delays it, and the in-flight table, so that it survives what links and relays do not.
//
// # Invariants
//
//  1. A message never goes to a node in its own path (origin and Via), so it cannot loop.
//  2. At most QueueBytes of messages (twice that for messages over 16 KiB; four times as much on links under 2 ms) wait per link; control has its own bound. A full queue makes an origin wait,
//     a relay wait relayPatience and then drop, and control drop at once; every drop is counted under a Reason.
//  3. Frame handlers see memory that is only valid during the call.
//  4. Run returns after every goroutine of this package has ended.
//  5. A message from a link makes at most one copy to each neighbour, crosses at most wire.MaxHops links, and goes back to nobody whom it has passed.
//  6. A message is handed out, or an acknowledgement believed, only if its origin has sent it to this node.
package forward
