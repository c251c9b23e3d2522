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
// Request headers carry the node's boot and the lane's number; who the peer is follows from its TLS key alone. Datagrams
// (RFC 9297) on lane 0 carry probes and echoes and nothing else, since a full receive queue drops them silently.
//
// One flusher per link takes at most 16 KiB of each lane in turn and writes them, so that many messages share a packet and a
// large message does not hold up other lanes. A few flushes go at once; on long links those of a lasting stream are
// spaced by srtt/20, at least 0.5 and at most 2 ms, because each lost packet costs congestion window whatever its size.
//
// The node with the smaller ID dials; where that fails the other does. If two connections meet, both ends keep the one that
// the smaller ID dialled. A later boot of the peer replaces an earlier one.
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
// # One subscriber
//
// A message for one subscriber goes to the node that Config.Choose picks. If that has none it says so in its acknowledgement, and the origin
// sends the message to another; likewise when that node restarts, or when no route leads there for cutOffPatience while one leads to another. So each
// is taken once, unless its taker's node dies, or is cut off for longer than that, before its acknowledgement has reached the origin.
//
// # For every node
//
// SpreadAll tells all nodes of something that is for themselves. Such a message takes the control lanes, so that no backlog of published messages
// delays it, and the in-flight table, so that it survives what links and relays do not.
//
// # Invariants
//
//  1. A message never goes to a node in its own path (origin and Via), so it cannot loop.
//  2. At most QueueBytes of messages (twice that for messages over 16 KiB) wait per link; control has its own bound. A full queue makes an origin wait,
//     a relay wait relayPatience and then drop, and control drop at once; every drop is counted under a Reason.
//  3. Frame handlers see memory that is only valid during the call.
//  4. Run returns after every goroutine of this package has ended.
package forward
