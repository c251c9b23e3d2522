// Package token holds what a client may do: rules over channels, the rights made of them, the tokens that carry rights, and
// the ledger of what the mesh must remember about tokens. It is pure: no goroutine, lock, clock, randomness or I/O.
//
// # Rules
//
// A rule is segments separated by dots, at most MaxRuleLen bytes.
//
//	publish rule   = tail | segment *( "." segment ) [ "." tail ]
//	subscribe rule = the same, and "?" and "*" are segments too
//	segment        = word | "(" alternative *( "|" alternative ) ")"      at most MaxAlternatives
//	alternative    = word | word "*"
//	tail           = "#" | ">"
//	word           = a token of package channel; for subscribing the first may have "$" before it
//
//	word    that token             *   any token                       #   zero or more further tokens
//	(a|p*)  a, or what starts with p   ?   any token, asked for by name    >   one or more further tokens
//
// So a.b.c is one channel, and a.b.c.# the channel and all below. A rule read like this is a set of channels. Publishing is
// allowed in a channel of the set. A pattern may be subscribed if every channel that it could match is in the set of one
// rule: that several rules together would do is not enough. And where the rule has "?", the pattern must have a word in the same
// place, not a wildcard: a.? allows a.x and a.y one by one, but no pattern that takes both. The limit on the length of channels is
// left out of account.
//
// Channels that start with "$" are the mesh's own. No wildcard, "?" or tail in the first place of a rule or a pattern means
// them, and nobody may publish there; a subscribe rule can name them: $mesh.#. Whoever delivers must hold to the same.
//
// # Rights
//
// A Statement is rights as JSON has them, in requests and in tokens:
//
//	{"tenant_grants":[{"tenant_ids":["t"],"allow_channels_pub":["a.#"],"allow_channels_sub":["a.*"]}],
//	 "allow_ip_masks":["10.0.0.0/8"],"allow_regions":["EU"],"allowed_ws_origin":["https://x"],"expires_at":"2026-05-16T12:00:00Z"}
//
// Grants add up. No grant for a tenant: nothing is allowed in it. Each of the other lists restricts who may come in, unless it is empty.
// Unknown members are refused, as a misspelt restriction would restrict nothing.
//
// # Tokens
//
//	AT_<id>_<secret>    id = 16 random bytes as 32 lower-case hexadecimal digits, no secret
//	                    secret = a JWT, HS256 under HKDF-SHA256(mesh secret, no salt, "fastpubsub client tokens v1")
//
// Every node that has the mesh secret verifies every token by itself. The claims are jti (the id), iat, exp, created_by if given,
// and right: a Statement without expires_at. exp is at most MaxLife and a little after iat. A token is at most MaxTextLen
// bytes, which MaxRightsLen makes sure of.
//
// Plain JWTs by others are taken besides if there are keys for them: EdDSA (Ed25519) or HS256, with the claims iat, exp, right, and, if wanted,
// nbf, iss, jti, created_by or sub. The same limits hold. Their ID is a hash of iss and jti, or without jti of what was signed. aud is not
// looked at: whoever signs a claim right means us.
//
// A key serves one algorithm and one kind of token. What a token's header says only chooses among the keys there are.
//
// # The ledger
//
// A Ledger remembers what tokens do not say themselves: which were issued, whose expiry was moved, which are revoked. It is a map
// from ID to Entry that merges: of two entries of one token the greater counts, by (revoked, changed since the issue, time
// of the last change, rest), so revoked is for ever and otherwise the later change wins. Nodes tell one another new entries as
// they come (Merge says which were new) and compare BucketDigests now and then. An entry is trusted as the node is that sent it: the members of a
// mesh can all mint tokens anyway.
//
//	chunk = 01 entry…                           at most MaxChunkLen bytes
//	entry = id (16 bytes) | flags (u8; 1 = revoked) | uvarint created | uvarint (stamp - created) | uvarint expires
//	        | u8 len, created_by | u8 len, description          times in ms since 1970; varints as short as can be
//
// It holds LedgerConfig.Entries at most. When that is reached Issue is refused (ErrFull), but revocations and merged entries push
// out what matters least, by the same order: first entries as issued, oldest first, whose tokens stay good but can no longer be refreshed
// or listed; then changed ones; then, if all are revocations of the last day, the oldest of them. LedgerStats counts each. As the order is
// the same everywhere, full ledgers converge too. Where Forgotten rises, replace the mesh secret.
//
// An entry as issued is dropped some minutes after its expiry, any other a day and some minutes after the change: until then
// someone who does not know of the change may hold an expiry that is not over. Nodes drop by their own clocks, so digests may
// differ for as long as clocks do; Merge lets nothing back in that is over. Clocks must agree within ClockSkew: changes further ahead
// are left out, and come with a later comparison.
//
// # What a node does not know
//
// A node that has just started, or is cut off, knows only what tokens say themselves. Until it has merged the ledger of one other node it
//
//   - accepts tokens that were revoked, or ended by a refresh into the past;
//   - refuses tokens whose expiry was moved on, once their first one is over;
//   - answers ErrUnknown to a refresh of tokens that others issued.
//
// So it should not take clients with tokens before that, unless it is alone. A mesh that stops as a whole forgets its ledger, unless
// a node keeps chunks of it on disk. A revocation reaches all nodes that can be reached within a day; one that is
// cut off for longer, and refreshes the token meanwhile, brings it back to life.
//
// # Use
//
//	t, err := keys.Verify(text, now)
//	if err == nil || errors.Is(err, token.ErrExpired) { // the ledger may know a later expiry
//		err = ledger.Check(t, now)
//	}
//	if err == nil {
//		err = t.Rights.Admits(addr, region, origin, originGiven)
//	}
//
// # Invariants
//
//  1. AllowsSubscribe is exactly the definition above; AllowsPublish is membership in the set.
//  2. Rules that allow the same have the same String, which parses to the same rule.
//  3. What ParseRequest accepts can be minted and reads back as it was.
//  4. MayPublish and Check allocate nothing.
//  5. Of our tokens only what was minted verifies, byte for byte. No error tells any of a token's text.
//  6. A token verifies only by a key meant for its kind and its algorithm.
//  7. Merge is commutative, associative and idempotent, also at the limit, for entries that are not over.
//  8. No input makes the package panic, hold more than LedgerConfig.Entries, or put an expiry further ahead than a day and the skews.
package token
