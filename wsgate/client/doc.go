// Package client is a Go client of the protocol llps.v1 that package wsgate serves.
//
//	c, err := client.Dial(ctx, client.Config{URL: "ws://localhost:8080/ws"})
//	err = c.Subscribe(ctx, "", "news.#")
//	err = c.Publish(ctx, "", "news.today", []byte("hello"))
//	m, err := c.Receive(ctx)
//
// # Delivery
//
// Messages come one at a time, in the order they were delivered, either to Config.Handler or to Receive. While the
// Handler runs, or Config.Buffer messages wait for Receive, nothing else is read: neither answers nor further messages,
// and in the end the server drops messages for this client. So keep receiving, and do not call Subscribe, Unsubscribe,
// Ping or Close from the Handler, nor from the goroutine that alone receives while messages flow.
//
// # Errors
//
// The server answers a subscription that it refuses with an ERR line, which names no request. Lines are answered in
// order, so the line is taken as the answer to the oldest open one, if its code can be such an answer. As names are
// checked here before they are sent, this leaves only refusals of rights or for a limit in doubt, and only while
// publishing and subscribing at once. All other ERR lines go to Config.OnError as a *ServerError.
//
// # Losing the connection
//
// Without Config.Reconnect the Client ends with its connection. With it, the Client dials again until it succeeds,
// after delays that grow from 250 ms to 15 s with jitter, subscribes anew, and only then carries on with calls, which
// wait meanwhile. What was published while the connection was lost is missed: nothing is stored.
//
// # Ownership
//
// A Client owns its goroutines: one that connects and reads, one that watches over the connection, and one more
// while it subscribes anew. Close ends them and waits for them.
package client
