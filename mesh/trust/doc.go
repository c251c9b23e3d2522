// Package trust decides who is a node of the mesh: secrets, the certificates made from them, and the TLS configurations of links.
//
// # The secret
//
// A mesh secret is 32 random bytes. As text it is "fps1-" and 48 characters of base64url: the bytes, and the first 4 of the SHA-256 of
// "fps1-" and the bytes, so that a mistyped one is told from a foreign one. What is derived from it, by HKDF-SHA-256 (RFC 5869) without salt:
//
//	info                               32 bytes that are
//	"fastpubsub mesh authority v1"     the seed of the Ed25519 key of the mesh's certificate authority
//	"fastpubsub mesh swim v1"          the AES-256-GCM key of SWIM packets and streams
//	"fastpubsub mesh tokens v1"        the secret of client tokens, where none is given
//
// Each node mints its certificate at its start: its own Ed25519 key, signed by the authority. So whoever has the secret can mint, and nobody else;
// the authority's key is dropped as soon as that is done.
//
// # Who is believed
//
// Both ends of a link speak TLS 1.3, show a certificate, and verify the other's by crypto/x509 against the authorities that they believe. The handshake
// proves that the peer holds the key, and the NodeID is the key's hash, so a member cannot be another one. Without a secret, in an open mesh, any key is
// believed, and still names its node.
//
// Certificates minted here are valid from 1970 to 9999 (RFC 5280, section 4.1.2.5: no expiration). Dates would keep nobody out, since whoever has the
// secret mints as it likes, but would keep nodes out whose clock is wrong. A secret ends by rotation. Certificates of an operator's own
// authority have the dates that it gave them, which are verified.
//
// # Rotation
//
// A node takes several secrets: the first is what it shows and seals with, all are believed. A mesh changes from A to B in three steps, each done on every
// node before the next begins: A B, B A, B. Links whose certificates are not what they would be now are opened anew beside the old ones.
//
// # Invariants
//
//  1. No error, log or String shows a secret.
//  2. Credentials are immutable; a Keeper swaps them whole.
//  3. A node's key never changes while it runs.
package trust
