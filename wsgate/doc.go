// Package wsgate is the client side of a node: WebSocket sessions that speak llps.v1, the fan-out of messages to them,
// and a few HTTP pages. What lies behind, the overlay, it knows as a Broker.
//
// # Handshake
//
// WebSocket requests are taken at /ws and /. The subprotocol llps.v1 is echoed if it was offered, and nothing else ever
// is. There is no compression, so that one encoded frame serves all connections. With Config.TLS clients speak TLS; package cert gets certificates.
//
// With Config.Authority a client needs a token (package access): "Authorization: Bearer AT_…", which goes first, or, as browsers can set no
// headers, "Sec-WebSocket-Protocol: llps.v1, at.AT_…". Without a good one the answer is 401 before the upgrade, and 403 where the token
// is not for the client's address, its Origin, or this region. An address is that of the connection, whatever a proxy may say. What the token
// does not allow is permission_denied, and the connection stays. A revoked token ends its connections at once: status 1008, and what was
// queued is dropped. One that expires ends none. Without an Authority everyone may do everything, but publish on channels that start with "$".
//
// # Pages
//
// openapi.json, served at /api-docs/openapi.json, says what there is besides: pages to measure and watch the node, tokens for who has a master
// token, POST /v1/publish, POST /v1/trace, and GET /v1/subscribe. The last is a session like others, whose frames are written as server-sent events (see
// eventConn): same rights, limits, bounded queue, notices and statuses; its heartbeats are comments every Timing.Ping.
//
// # Text messages
//
// One line each:
//
//	SUB:<tenant>:<pattern>     OK:SUB:<tenant>:<pattern>      an empty tenant is "~", and acknowledged as such
//	                           READY:<tenant>:<pattern>       later, once the whole overlay knows of the subscription; none where 1,000 wait
//	UNSUB:<tenant>:<pattern>   OK:UNSUB:<tenant>:<pattern>    also without such a subscription
//	PING                       PONG
//	                           RECONNECT                      the server drains: open another connection, and use this one until that is set up
//	                           ERR:<code>[:<detail>]
//
// Publications are not acknowledged. The codes:
//
//	invalid_tenant, invalid_channel, invalid_pattern    a name against the grammar of package channel
//	payload_too_large   over 65,535 bytes
//	bad_frame           a binary message that is no publication; after Limits.BadFrames of them: close 1008
//	bad_json            a message that starts with "{" but is no valid JSON command
//	unknown_mode        a delivery mode that there is not, in a JSON publication
//	unknown_command     a line or an action that is none of the above
//	permission_denied   a publication or subscription outside the rights, or a publication to a channel that starts with "$"
//	limit_exceeded      too many subscriptions, or a line over 512 bytes
//	rate_limited        published over Config.Rates and refused; told once a second at most, the detail is how often that was so far
//	slow_consumer       the detail is how many deliveries this connection has lost so far
//	unavailable         the overlay did not take a publication
//
// # Binary messages
//
// Big-endian; s(x) is a string with its length before it, as u16.
//
//	publish v1   s(tenant) s(channel) payload                 first byte 0, as a tenant has at most 128 bytes
//	publish v2   02 mode s(tenant) s(channel) payload         mode 0 broadcast, 1 lowest latency, 2 random
//	delivery     01 s(tenant) s(channel) u32(len) payload u16(n) n × s(pattern)
//
// # JSON messages
//
// A text message that starts with "{" is a JSON command, and switches the connection to JSON for all replies, and for
// all deliveries made from then on:
//
//	{"action":"subscribe","tenant":"t","channel":"a.#"}          {"event":"subscribed","tenant":"t","channel":"a.#"}
//	                                                             {"event":"ready","tenant":"t","channel":"a.#"}
//	{"action":"subscribe",…,"policy":"latest"}                  see Slow consumers
//	{"action":"unsubscribe","tenant":"t","channel":"a.#"}        {"event":"unsubscribed","tenant":"t","channel":"a.#"}
//	{"action":"publish","tenant":"t","channel":"a","payload":"x"}   {"event":"published","id":…}, only if there was an id
//	{"action":"ping"}                                            {"event":"pong"}
//	                                                             {"event":"reconnect"}
//	                              {"event":"error","error":"<code>","detail":"…"}
//	                              {"event":"message","tenant":"t","channel":"a","payload":"x","patterns":["a.#"]}
//
// A payload that is not UTF-8 is "payload_base64" instead, both ways. "action" may be left out of a publication. "id", a
// string or a number, comes back in the reply. "mode" of a publication is "broadcast", "deliver-one-low-latency" or
// "deliver-one-random". Unknown members are ignored; a wrong type is bad_json.
//
// # Slow consumers
//
// Where the queue of a connection is full, the oldest deliveries in it are dropped. "policy" of a JSON subscription says what else is to be done with its messages:
//
//	drop_oldest   nothing else; the default, and what a SUB line means
//	latest        a message takes the place of the one of the same channel that still waits, so that one at most does. The client is not told.
//	close         rather than that a message is dropped, the connection is closed with 1013, after what is queued and can be written within Timing.Close
//
// Where several subscriptions of a connection match a message, the one that loses least counts: close before drop_oldest before latest. Subscribing again to the
// same pattern changes the policy for messages to come. A message for one subscriber is never replaced.
//
// # Closing
//
// Statuses: 1001 the server stops, 1007 text that is not UTF-8, 1008 too many bad frames or ERR:rate_limited, or a revoked token, 1009 a message over 128 KiB,
// 1013 a slow consumer. A client that neither sends nor answers a ping is cut, and so is one that takes nothing for
// Timing.Write.
//
// # Limits
//
// Limits and Rates say what a client and an address may have and do. Whatever is over is refused and counted, and the client told; but what is over Rates.Commands only
// waits, as a client whose SUB is never acknowledged could not go on after a reconnect. An address is the one that the TCP connection comes from (IPv6: its /64): clients
// behind one proxy or NAT share one, and headers in which a proxy names its client are not read, so behind a proxy such limits are the proxy's business. Connections
// over an address's limits get 429 with Retry-After to their first request, before any upgrade; where even those come too fast (10 a second), they are closed at once. At most
// 65,536 addresses are told apart; the others share one allowance.
//
// SetLimits changes them while clients are served. Nobody is closed, and no subscription ended, for a limit that has become lower. Connections that are open count, and go
// by the new ones from their next message on, but that: they keep the queue they came with; and those that came while no address was limited do not count for theirs. A
// rate of publications that changes starts with a second's worth. SpareLoopback and HeaderBytes are those at the beginning of Serve.
//
// # Log
//
// At level debug the log tells of each connection that becomes a session when it opens and closes, why, and what it was like; and of each request that fails, with what
// was answered. "conn" is the number of the connection in this run, and the same in all of its lines, "request" that of a request on its connection. No client is told them.
// Lines of net/http have the address only. There are at most 50 lines a second, and 1,000 at once; "left_out" is how many were left out before a line. A session whose
// beginning was told has its end told. At other levels there is nothing about single clients: Stats counts what becomes of them.
//
// # Draining
//
// Drain tells each client RECONNECT, spread over Timing.Spread, and serves all that are still connected as before: a client opens another connection,
// subscribes there, and reads both until it closes the old one, so it misses nothing. That costs the official SDK up to 7 s, so a drain should be
// given Timing.Spread and 10 s at least. Clients come back to the host they know; so either that name leads to other nodes as well, or a new process must
// share the port: it is started first, by Listen, and the old one closes its listener when it drains. A connection whose TCP handshake is under way at that moment
// is reset by the system (Linux: unless net.ipv4.tcp_migrate_req is set); the clients of a drain are not among them, as they are told afterwards.
//
// # Who runs what
//
// A session's reader goroutine handles one message after the other and calls the Broker itself: while the overlay
// pushes back, the client is not read from. Broadcasts of one channel that came in one read go to the Broker together (channel.Batch), and are delivered together.
// Deliver puts frames into outboxes. Who did so flushes them: what is little for few connections it writes itself, as far as the sockets take it at once (not under TLS, and
// only on Unix). For everything else an outbox with something in it has a writer goroutine, which takes out all it can for one write and ends when nothing is left. One
// goroutine looks at the clock for all sessions of a Serve. Whole data messages are read past the WebSocket library (see intake), which does the handshake, reads all else, and answers
// or sends a close frame in the course of it; everything else is written as whole frames past the library, too (see frameConn).
//
// A connection's memory is bounded by Limits.QueueBytes, plus a batch being written (64 KiB and one frame), 16 KiB of
// replies, what was read at once (68 KiB, from a pool), and a message that the library reads (128 KiB, from a pool). Queued frames are shared by connections. An idle connection
// takes about 5 KB of heap, most of that net/http's read buffer, and the reader's stack.
//
// # Invariants
//
//  1. After the handshake a client gets whole frames, one after the other, and nothing after a close frame.
//  2. A connection gets one frame a message, which lists each matching pattern it holds once.
//  3. A reply goes ahead of all deliveries queued. No delivery lists a pattern before its OK:SUB.
//  4. Deliver never blocks, and a slow connection costs the others nothing.
//  5. What is queued for a client is bounded. Deliveries over the bound are dropped, oldest first, and counted; for lack of
//     room for replies the client is not read from.
//  6. For one (tenant, pattern), calls of SetInterest do not overlap and alternate, on first. The last call matches the
//     subscriptions held once no subscribe or unsubscribe is under way.
//  7. When Serve returns, no goroutine and no subscription of its sessions is left.
//  8. No input makes the server panic. What it costs in memory is bounded by the read limit.
package wsgate
