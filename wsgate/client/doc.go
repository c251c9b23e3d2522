// Package client is a Go client of the protocol llps.v1 that package wsgate serves.
//
//	c, err := client.Dial(ctx, client.Config{Bootstrap: "https://node.example.org/v1/bootstrap", Reconnect: true})
//	sub, err := c.Open(ctx, "", "news.#", client.Queue{})
//	err = c.Publish(ctx, "", "news.today", []byte("hello"))
//	m, err := sub.Receive(ctx)
//
// # Delivery
//
// Messages come one at a time, in the order they were delivered, to each Subscription that Open made for a pattern they
// match, and to Config.Handler or Receive if they match a pattern that was given to Subscribe. A Codec makes values of them.
//
// # Back-pressure
//
// All queues are bounded. A Subscription has its own, and a Policy for when it is full: by default the oldest message is
// dropped and counted, and nobody else notices. With Block, and for the Handler and Receive (Config.Buffer messages), nothing
// is dropped here. Instead nothing else is read while there is no room or the Handler runs: neither answers nor further
// messages, and in the end the server drops messages for this client, and says so (a *ServerError slow_consumer). So keep
// receiving, and do not call Subscribe, Unsubscribe, Ping or Close from the Handler, nor from the goroutine that alone
// receives while messages flow. Publish blocks while the server pushes back.
//
// # Errors
//
// The server answers a subscription that it refuses with an ERR line, which names no request. Lines are answered in
// order, so the line is taken as the answer to the oldest open one, if its code can be such an answer. As names are
// checked here before they are sent, this leaves only refusals of rights or for a limit in doubt, and only while
// publishing and subscribing at once. All other ERR lines go to Config.OnError as a *ServerError.
//
// # Choosing a node
//
// The nodes of Config.URL, Config.URLs and of the page Config.Bootstrap are measured by requests for /ping, without the time
// to connect, and the nearest is dialled; while one does not answer, others are tried as well. With Config.Reconnect the nodes
// are found and measured anew every Config.Measure. The Client moves when in two rounds in a row another node was nearer by
// 10 ms and by 20 %, or the one in use did not answer or was no longer listed, while the other one did and was. So it does
// not go to and fro between two that are much alike.
//
// # Moving
//
// To move, and also when the server sends RECONNECT (then after a random part of Config.Spread, as others are asked too),
// the Client connects to the other node, subscribes there to all it is subscribed to, and only then uses that connection
// for calls. Both are read for Config.Overlap, and what comes twice is delivered once. If the new node refuses a subscription
// the Client stays, unless it was asked to leave.
//
// Messages bear no identity, and two different ones may be equal. So those of the two connections are paired: one instance
// from the old with one equal instance from the new. The old connection leads: what it brings is delivered at once. What only
// the new one has brought is held until its twin comes, or the old connection has ended, or a second has passed. Twins are
// looked for within 3 s. In doubt, the nearer in time is the twin. This rests on that a connection brings the messages of a
// publisher in their order, and the same message at most a second apart from the other connection.
//
// # Losing the connection
//
// Without Config.Reconnect the Client ends with its connection. With it, the Client dials again, the nearest other node
// first, until it succeeds, after random delays of at most 250 ms that grow to at most 15 s, subscribes anew, and only then carries
// on with calls, which wait meanwhile. What was published while the connection was lost is missed: nothing is stored.
//
// # Ownership
//
// A Client owns its goroutines: one that keeps a connection, two for each connection, which read and watch it, and one
// that measures the nodes; during a hand-over one more. Close ends them and waits for them.
//
// # Invariants
//
//  1. Messages are delivered one at a time.
//  2. In a hand-over between nodes that bring the same, each message is delivered once, in its publisher's order, wherever the new
//     connection begins, if the connections differ by less than a second and the old one still brings what was published before
//     the new one was subscribed.
//  3. Of equal messages as many are delivered as the connection that brought more of them has brought, if they come within 3 s.
//     Where the new connection begins in the middle of them, this takes that they are published farther apart than the connections
//     differ; then the order among other messages holds too.
//  4. Memory is bounded: what is held in a hand-over by 8 MiB and 65,536 messages, beyond which the oldest is delivered, and
//     counted; the pairs looked for by 65,536; the nodes by 64; requests without answer by 131,072.
//  5. Whatever a server sends, nothing panics, and a server is not dialled more often than the delays allow.
//  6. When Close returns, no goroutine is left.
package client
