package route

import (
	"cmp"
	"iter"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// MaxOrigins is how many origins a Database holds. It keeps every sum of link costs exact in 64 bits (see metric).
const MaxOrigins = 1 << 15

// Link is one entry of an origin's vector: the one-way cost to a neighbor, in microseconds and including the cost of
// the hop itself. Cost is greater than 0.
type Link struct {
	To   wire.NodeID
	Cost uint32
}

// Database is the link-state database: the newest vector of each origin. It belongs to one goroutine.
type Database struct {
	origins []wire.NodeID // ascending
	vectors [][]Link      // vectors[i] is that of origins[i], ascending by To; replaced whole, never modified
}

// NewDatabase makes an empty database.
func NewDatabase() *Database { return &Database{} }

// Set replaces the vector of origin and says whether that changed the database. The links may come in any order.
// Entries that no honest origin sends are dropped: to itself, to no node (ID zero), of cost zero; of repeated ones the
// greatest cost stays. The zero origin is ignored, and so is a new origin in a database that holds MaxOrigins.
func (db *Database) Set(origin wire.NodeID, links []Link) (changed bool) {
	if origin == 0 {
		return false
	}
	i, known := slices.BinarySearch(db.origins, origin)
	if !known && len(db.origins) >= MaxOrigins {
		return false
	}
	vector := screen(origin, links)
	switch {
	case !known:
		db.origins = slices.Insert(db.origins, i, origin)
		db.vectors = slices.Insert(db.vectors, i, vector)
	case slices.Equal(db.vectors[i], vector):
		return false
	default:
		db.vectors[i] = vector
	}
	return true
}

// screen returns the usable entries of links as a vector of its own, ascending by To, without repetition.
func screen(origin wire.NodeID, links []Link) []Link {
	vector := make([]Link, 0, len(links))
	for _, l := range links {
		if l.To != origin && l.To != 0 && l.Cost != 0 {
			vector = append(vector, l)
		}
	}
	// The greatest cost first among equal IDs, because CompactFunc keeps the first: the worse claim is the safe one.
	slices.SortFunc(vector, func(a, b Link) int {
		return cmp.Or(cmp.Compare(a.To, b.To), cmp.Compare(b.Cost, a.Cost))
	})
	return slices.CompactFunc(vector, func(a, b Link) bool { return a.To == b.To })
}

// Remove forgets the vector of origin and says whether there was one.
func (db *Database) Remove(origin wire.NodeID) (changed bool) {
	i, known := slices.BinarySearch(db.origins, origin)
	if !known {
		return false
	}
	db.origins = slices.Delete(db.origins, i, i+1)
	db.vectors = slices.Delete(db.vectors, i, i+1)
	return true
}

// Links is the vector of origin as screened by Set, ascending by To; nil if there is none. The caller must not modify
// it; it stays as it is when the database changes.
func (db *Database) Links(origin wire.NodeID) []Link {
	i, known := slices.BinarySearch(db.origins, origin)
	if !known {
		return nil
	}
	return slices.Clip(db.vectors[i])
}

// Len is the number of origins.
func (db *Database) Len() int { return len(db.origins) }

// Origins yields every origin in ascending order. The database must not change meanwhile.
func (db *Database) Origins() iter.Seq[wire.NodeID] { return slices.Values(db.origins) }

// Cost is the cost of the usable link between a and b in microseconds: the greater of both ends' claims. It reports
// false unless both ends advertise the link.
func (db *Database) Cost(a, b wire.NodeID) (uint32, bool) {
	there, ok := db.claim(a, b)
	if !ok {
		return 0, false
	}
	back, ok := db.claim(b, a)
	if !ok {
		return 0, false
	}
	return max(there, back), true
}

// claim is what origin advertises as the cost of its link to the neighbor.
func (db *Database) claim(origin, neighbor wire.NodeID) (uint32, bool) {
	return claimIn(db.Links(origin), neighbor)
}

// claimIn is what a vector says of the link to the neighbor.
func claimIn(vector []Link, neighbor wire.NodeID) (uint32, bool) {
	i, ok := slices.BinarySearchFunc(vector, neighbor, func(l Link, id wire.NodeID) int { return cmp.Compare(l.To, id) })
	if !ok {
		return 0, false
	}
	return vector[i].Cost, true
}
