package interest

import (
	"strings"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// Key is the hash of (tenant, exact or tree, name) with the key's form in its low bits, the same on every node; see the package comment.
type Key uint64

// Forms of keys: exact, or the tree of so many tokens, formMost and more being one.
const (
	formBits  = 6
	forms     = 1 << formBits
	formExact = forms - 1
	formMost  = forms - 2
)

func (k Key) form() uint64 { return uint64(k) % forms }

// Last byte of a key's input. A tree stands for its name and everything below it.
const (
	kindExact = 0x01
	kindTree  = 0x02
)

// reserved stands for the tree of all reserved names.
const reserved = "$"

// 64-bit FNV-1a (draft-eastlake-fnv).
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x00000100000001b3
)

// golden is 2^64 divided by the golden ratio, rounded to odd.
const golden = 0x9e3779b97f4a7c15

// PatternKey is the key under which a pattern enters a filter: its name if it has no wildcard, else the tree of its
// literal prefix, or where that is empty of "$" for what starts with it. The tenant is in normal form ("~" for none).
func PatternKey(tenant string, p channel.Pattern) Key {
	name, exact := p.LiteralPrefix()
	if name == "" && channel.IsReserved(p.String()) {
		name = reserved
	}
	h := hashString(hashTenant(tenant), name)
	switch {
	case exact:
		return exactKey(h)
	case name == "":
		return treeKey(h, 0)
	}
	return treeKey(h, strings.Count(name, ".")+1)
}

// AppendQuery appends the keys of every pattern that could match the channel name: the trees of "" and of each
// prefix of tokens, the whole name included, then the exact name: t+2 keys for a name of t tokens. For a reserved name "$" stands for "", as no
// pattern under that matches it.
func AppendQuery(dst []Key, tenant, name string) []Key {
	h := hashTenant(tenant)
	if channel.IsReserved(name) {
		dst = append(dst, treeKey(hashString(h, reserved), 1))
	} else {
		dst = append(dst, treeKey(h, 0))
	}
	tokens := 1
	for i := range len(name) {
		if name[i] == '.' {
			dst = append(dst, treeKey(h, tokens))
			tokens++
		}
		h = hashByte(h, name[i])
	}
	return append(dst, treeKey(h, tokens), exactKey(h))
}

func exactKey(h uint64) Key { return finish(h, kindExact, formExact) }

func treeKey(h uint64, tokens int) Key { return finish(h, kindTree, uint64(min(tokens, formMost))) }

func hashTenant(tenant string) uint64 { return hashByte(hashString(fnvOffset, tenant), 0x00) }

func hashString(h uint64, s string) uint64 {
	for i := range len(s) {
		h = hashByte(h, s[i])
	}
	return h
}

func hashByte(h uint64, b byte) uint64 { return (h ^ uint64(b)) * fnvPrime }

// finish closes the FNV hash with the kind, spreads it over all 64 bits, as FNV alone leaves the top bits, from which positions are taken, poorly mixed
// for short names, and puts the form in.
func finish(h uint64, kind byte, form uint64) Key {
	h = hashByte(h, kind)
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return Key((h^h>>31)&^(forms-1) | form)
}

// probe yields the bit positions of one key, one a call of next.
type probe struct {
	hash  uint64
	shift uint8
}

func (p *probe) next() uint64 {
	position := p.hash >> (p.shift & 63) // the mask spares the compiler its check for shifts past 63
	p.hash *= golden
	return position
}
