// Package access decides who may come in at a node, and keeps what the nodes of a mesh know about tokens in step. It wraps the pure package
// token: clock, lock, randomness, and the connections to cut when a token is revoked.
//
// # Who comes in
//
// A client shows a token: one of ours, or a JWT signed by a key that the node was given. Enter checks signature, expiry, the ledger, and what the
// token says of addresses, regions and origins. A Pass then answers what the client may do, for as long as its connection lasts.
//
// A connection whose token expires stays, as the client contract has it for a refresh into the past ("no new logins, live
// connections may stay"): clients reconnect with the same token for ever, so that cutting them would only turn each into a knocker at the door.
// Whoever wants them gone revokes the token, which cuts every connection that came in with it.
//
// # What nodes tell one another
//
// Each entry that Issue, Refresh or Revoke makes goes to Config.Spread at once, as a chunk (package token) for all other nodes. What spread
// does not reach, nodes that were away or joined later, is found by comparing: Digest is 64 hashes, and Missing is what this node has in
// the parts that differ. Merge takes chunks in, whichever way they came.
//
// A node that has just started does not know what was revoked. Until Config.Settled says that it compared its ledger it answers 503 to whoever shows
// a token.
//
//	digest = 01 | 64 × u64      big-endian
//
// # The file
//
// Keep writes the whole ledger to Config.File a second or more after each change: for each chunk its length as uvarint, then the chunk. So a node that
// stops knows after its start what was revoked up to shortly before a crash, or up to its end. A file that does not parse keeps a node from starting:
// whoever removes it decides that revoked tokens of the last day may come back.
//
// # Invariants
//
//  1. When Revoke or Merge returns, every connection of a token revoked by it has been told to end, and no Enter with it succeeds any more.
//  2. No lock is held while a connection is cut or Spread is called.
//  3. MayPublish and MaySubscribe take no lock and allocate nothing.
//  4. Neither errors nor logs hold any of a token's text but its ID.
//  5. No digest or chunk makes the package panic; what one costs is bounded by its length and LedgerConfig.Entries.
package access
