// Package cert keeps the TLS certificate of the client port current: from files, or from a certificate authority by ACME.
//
// # Files
//
// [Files] reads a certificate chain and its key, both PEM, when it is made, and again when a file has another modification time or size; it looks every
// Config.Every, and at once when told to Reload. A pair that does not load, or does not match, is logged as an error and changes nothing; it is tried again at every
// look, since the two files are rarely replaced in the same instant. Connections that exist keep the certificate they began with.
//
// # ACME
//
// [ACME] gets and renews certificates for given domains (RFC 8555, by certmagic). The authority proves the domain by connecting to its port 443 with the TLS
// protocol acme-tls/1 (RFC 8737), which the client port itself answers; so the client port must be reachable as 443. There is no other challenge, hence no other
// port is opened. Keys, certificates and the account are kept in a directory. Processes that serve the same domain should share it: they then use one
// certificate, and may answer each other's challenges.
//
// # Both
//
// TLS is 1.2 or later. The only application protocol offered is HTTP/1.1, which WebSocket needs.
//
// # Invariants
//
//  1. A handshake never waits for a file or the network: it gets the newest certificate that loaded.
//  2. A broken new pair never replaces one that works.
//  3. Run returns after what it started has ended.
package cert
