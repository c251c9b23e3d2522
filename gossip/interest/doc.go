// Package interest answers one question on the hot path of every publish: which nodes want this channel?
//
// # Model
//
// A node's interest is the set of patterns that its clients subscribe. Each pattern becomes one [Key], a 64-bit hash: a
// pattern without wildcards is entered under its exact name, any other under its literal prefix as a tree ("a.b.#" is
// "a.b and all below"; reserved patterns without such a prefix, as "$a*", under the tree "$"). A publish asks for the exact key of its name and the tree key of each of its prefixes
// ([AppendQuery]), so every pattern that matches the name is asked for: no false negatives. A node tells the mesh its keys
// as a Bloom filter (Bloom 1970): [Local] keeps it and writes it as record bodies, [Filter] is a remote node's copy, and
// [Index] holds the filters of all nodes so that one lookup asks them all at once. A false positive costs one message that
// its destination drops and counts.
//
// # Keys and bit positions
//
//	key      = fmix(FNV-1a-64(tenant | 0x00 | name | kind)) with the form as its low 6 bits    kind: 0x01 exact, 0x02 tree
//	form     = 63 if exact, else the number of the name's tokens, 62 at most
//	position = the top log2(m) bits of (key|1)·φ^i mod 2^64     i = 0..k-1, φ = 0x9e3779b97f4a7c15
//	           and m + form
//
// fmix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014). The kind stands last so that one pass over a name yields
// all keys of a query; no name holds bytes below 0x20, hence no two inputs are equal. Multiplying again for each
// position is what RocksDB's FastLocalBloom does: unlike double hashing it has no step that can be almost zero, which
// is felt in small filters. The bit of the form says whether a node has any key of the kind: a query asks for a tree of each depth, most nodes have none
// at most depths, and are spared both the looking and the false positives. The hash has no secret: whoever crafts collisions earns false positives on channels of his own.
//
// # Size
//
// A filter has m bits, a power of two in 64..2^24, and k positions a key, and 64 bits more for the forms. One of n keys needs 1.44·log2(1/p)·n bits for a
// rate of false positives p a key (p = 1 %: 9.585 bits), so m has the capacity m/9.585. Own filters use k = round(m/n·ln 2) at that capacity, which is 7,
// always: then all filters of one m share one shape in the index. In a larger mesh, where each message has more nodes to go to in vain, own filters get
// more room ([Local.Expect]): p is 0.3 % from 129 nodes on, 0.1 % from 513 on and 0.03 % from 2,049 on, for 12.2, 15 and 18.6 bits a key. p stays at or
// below that while a filter fills. A filter grows when n > capacity, to the least m that
// holds n, and shrinks when n < capacity/4, to the least m that holds 2n, so a key added and removed in turn resizes
// nothing. Beyond 2^24 bits (1,750,000 keys at 1 %) a filter stops growing and p rises. No interest at all: m = 64, no bit set.
//
// A delta is told while deltas since the last whole filter have cost less than twice what that costs, and are 256 at most.
//
// # Record bodies
//
//	full   0x01 | log2 m (u8) | k (u8) | uvarint keys | encoding (u8) | data
//	       encoding 0, raw:    data = m/8 + 8 bytes, position p is bit p%8 (1 = lowest) of byte p/8
//	       encoding 1, sparse: data = positions
//	delta  0x02 | uvarint keys | log2 m (u8) | positions set | positions cleared
//
//	positions = uvarint count | count × uvarint gap, ascending; gap = positions skipped since the one before
//
// Varints are as short as they can be and nothing may follow. A writer takes the shorter of the two encodings. A delta names
// exactly the bits that differ from the record one version before; the versions are in the record, which the caller keeps.
// Refused as [ErrMalformed]: log2 m outside 6..24, k outside 1..16, keys above 2^24, more bits than keys·(k+1) or less than two
// for some keys. A delta that is well formed but flips a bit to what it is already does not belong to this filter: [ErrBase].
// What parsing allocates is bounded: four times the body for positions and m/8 + 8 bytes for the filter, so at most 2 MiB
// for a sparse body that claims 2^24 bits; the raw encoding must bring these bytes.
//
// # Index
//
// Filters of one shape (m, k) are bit-sliced: row p is a bitset over the nodes that have bit p set, and a query ANDs k rows
// a key and ORs over the keys. Each class has a power of two of slots, a row takes that many bits, and rows of
// less than a word are packed, so the rows take less than four times the filters' own bits even for one lonely large filter.
// Of 1,000 nodes with 1,000,000 keys in all, one of them with 100,000, the index takes 4.2 MB, the filters' own copies included, and a lookup half a microsecond
// (BenchmarkBigMesh). A Local takes some 100 bytes a key.
//
// One owner writes (Set, ApplyDelta, Remove), any number of goroutines call [Index.Lookup] at the same time without lock. This is
// the one place of the package that knows of concurrency, by sync/atomic alone. Which slot belongs to whom is in an immutable
// snapshot behind an atomic pointer; the bits of the rows change in place. The rule that makes this sound: bits are added before,
// and taken away after, a publication of the snapshot (of the same one again, where slots stay as they are). So while one
// snapshot is current each slot has at least the bits of its node's filter at publication. A lookup that finds another
// snapshot at its end than at its start looks again; it never waits for the owner, who may stop anywhere.
//
// # Invariants
//
//  1. If p.Matches(name) then AppendQuery(tenant, name) holds PatternKey(tenant, p).
//  2. A filter has every key that its Local held at the Flush that told it, through any series of bodies applied in order.
//  3. A Local that came to a set of keys by any way tells the same bits as one that got them afresh at the same size.
//  4. Filter.Apply and Index.ApplyDelta do all or nothing.
//  5. Lookup returns a node exactly if its filter has one of the keys, each node once.
//  6. During any change a lookup sees at least a node's filter of before or all of its filter of after: a node that wants a
//     channel by both is never missed, be it resized, moved, or by other keys than before.
//  7. Lookup and AppendQuery allocate nothing beyond dst.
//  8. No body makes a parser panic, or allocate beyond the bound above.
package interest
