// Package channel holds the names of FastPubSub: tenants, channels and patterns, what a valid one looks like, which
// patterns match which channel, and a trie that finds all patterns matching one. It is a leaf and pure: no goroutine,
// lock, log, clock or I/O, and only the standard library.
//
// # Names
//
// A tenant is an isolated name space. A channel is a path of tokens inside it. Names are bytes and case-sensitive.
//
//	tenant  = 1*128 ( word-byte | "." )           a flat name: its dots mean nothing; "" stands for "~"
//	channel = [ "$" ] word *( "." word )          1..256 bytes, no empty token
//	pattern = *( middle "." ) last                1..256 bytes, no empty token; "$" may stand before the word it starts with
//	middle  = word | "*" | word "*"
//	last    = middle | ">" | "#" | word ">" | word "#"
//	word    = 1*word-byte
//	word-byte = a-z | A-Z | 0-9 | "_" | "-" | "~" | "@"
//
// Channels that start with "$" are reserved: only the mesh publishes there, which is for the gateways to see to.
//
// # Matching
//
// A pattern matches a channel as a whole, token by token:
//
//	abc   that token
//	*     one token, any
//	p*    one token that starts with p, p itself included
//	>     one or more further tokens
//	#     zero or more further tokens: "a.#" matches "a"
//	p>    one token that starts with p, then one or more further tokens
//	p#    one token that starts with p, then zero or more further tokens
//
// No wildcard in the place of the first token matches a reserved channel, as in MQTT: who wants those must name them, as
// "$mesh.#" does.
//
// Read byte by byte, this needs no backtracking: a literal byte takes one byte of the name, "*" takes the rest of the
// current token, ">" and "#" take the rest of the name. One more rule makes "a.#" match "a": a dot may be taken just
// past the end of the name, and there only "#" matches.
//
// # The trie
//
// [Trie] keeps exact patterns, most of what clients ask for, in a [Table], a hash table by name. The others form a radix tree
// (Morrison, "PATRICIA", J. ACM 15(4), 1968) over the bytes of their texts, wildcards included. The children of a node
// start with different bytes, so a step finds a child by a bit test and a population count, and the many "p*" that one
// place may hold are found by walking the token's bytes once, not by trying each. A name goes on to at most four
// children of a node: its own next byte and the three wildcards.
//
// # Ownership
//
// Patterns are immutable values that keep no caller's memory alive. Put and Delete of a Trie or a Table are for one goroutine
// at a time, which is for its owner to see to. All else may be called by any number of others meanwhile: it takes no lock
// and never waits, on the way from wherever a message comes to whoever wants it.
//
// # Invariants
//
//  1. What is accepted holds only the bytes of the grammar above: never ':', blank, control or non-ASCII bytes. Lines
//     may be split at ':' and names logged as they are.
//  2. A pattern's String is byte for byte what was parsed, and two patterns are == exactly when their texts are.
//  3. An exact pattern matches its own name only. Any other matches only its literal prefix and names below it
//     (prefix + "." + more), or anything not reserved where that prefix is empty.
//  4. Matches takes time linear in the two texts and allocates nothing.
//  5. Trie.Match visits precisely the stored patterns that match, each once, and allocates nothing.
//  6. Trie.Match enters a tree node at most once per name: the labels down to a node fix how much of the name they
//     take, so no node is reached in two ways. Whatever the patterns, a node costs at most its label and the name, once
//     each; the recursion is at most MaxNameLen deep.
//  7. Every tree node but the root holds a pattern or has two or more children: at most two nodes for each pattern. The
//     tree's shape depends on the patterns stored, not on their history; an empty Trie holds nothing. Memory follows
//     the number of patterns down as well as up.
//  8. What is stored from before a call of Get, Match or All until after it is found, and what is at no time meanwhile is
//     not. Get, and Match for one pattern, see a change as a whole or not at all. Match and All see changes of several
//     patterns in no stated order.
package channel
