// Package suite tests any server of the protocol llps.v1 from outside: one named case for each line of the client contract that
// can be seen there. It is also the specification for other servers: Case.Says is the contract in one sentence.
//
//	results, err := suite.Run(ctx, suite.Target{URL: "ws://localhost:8080/ws"}, nil)
//
// Names begin with the section of the contract: 1 endpoints and discovery, 2 handshake, 3 text lines, 4 binary frames,
// 5 delivery, 6 names, limits and patterns, 7 reconnecting, 8 tokens and REST, 9 what helpers of the official SDK need.
// Marks tell where a line is from:
//
//	S   the official SDK does or needs it        D   its public documentation says so
//	T   the SDK's texts and examples say so      I   inferred, or our choice
//
// # What a target needs
//
// An open server needs nothing: each case makes up a tenant of its own. With a master token, each case has tokens made for its tenants,
// and the cases of section 8 and those about tokens in section 2 are run too. With only a client's token, which
// must allow everything in one tenant, the cases run in that tenant, and those that need others are skipped. The URL
// should be that of one node: behind a balancer, what one connection subscribes may not yet be known where another publishes.
//
// # Method
//
// The WebSocket client, the lines and the frames are written here anew, and import nothing of this module, so that no error of a
// server is answered by the same error of its client. That nothing comes is not waited for: a mark is sent after what should have
// no effect, and what came before the mark is looked at. Cases run one after the other.
//
// # Not tested
//
// What needs several nodes (paths, drains, revocations that spread), RECONNECT, which a server sends when it likes, and TLS.
//
// # Invariants
//
//  1. A case passes only if it saw everything it asks for.
//  2. Whatever a server answers, or if it does not, a case ends: every wait is bounded by Target.Wait, and so is what is kept.
//  3. Cases leave nothing behind but tokens, which expire within the hour.
package suite
