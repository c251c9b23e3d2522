package channel

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table Table[int]
		model := map[string]int{}
		name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint("n", rapid.IntRange(0, 400).Draw(t, "n")) })
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				n, v := name.Draw(t, "name"), rapid.Int().Draw(t, "value")
				table.Put(n, v)
				model[n] = v
			},
			"put many": func(t *rapid.T) {
				for i := range rapid.IntRange(0, 300).Draw(t, "many") {
					table.Put(fmt.Sprint("n", i), -i)
					model[fmt.Sprint("n", i)] = -i
				}
			},
			"delete": func(t *rapid.T) {
				n := name.Draw(t, "name")
				if _, want := model[n]; table.Delete(n) != want {
					t.Fatalf("Delete(%q) = %v", n, !want)
				}
				delete(model, n)
			},
			"delete many": func(t *rapid.T) {
				for i := range rapid.IntRange(0, 400).Draw(t, "many") {
					table.Delete(fmt.Sprint("n", i))
					delete(model, fmt.Sprint("n", i))
				}
			},
			"get": func(t *rapid.T) {
				n := name.Draw(t, "name")
				want, there := model[n]
				if v, found := table.Get(n); v != want || found != there {
					t.Fatalf("Get(%q) = %d, %v; want %d, %v", n, v, found, want, there)
				}
			},
			"": func(t *rapid.T) { checkTable(t, &table, model) },
		})
	})
}

// checkTable compares a table with a model, and its chains with its size.
func checkTable(t *rapid.T, table *Table[int], model map[string]int) {
	held := map[string]int{}
	var names []string
	for _, i := range table.sorted() {
		held[i.name] = i.value
		names = append(names, i.name)
	}
	if table.Len() != len(model) || len(names) != len(model) || !slices.IsSorted(names) || !maps.Equal(held, model) {
		t.Fatalf("the table has %d: %v, the model %v", table.Len(), held, model)
	}
	for n := range model {
		if table.find(n) == nil {
			t.Fatalf("%q is in the wrong chain", n)
		}
	}
	c := table.chains.Load()
	if len(model) == 0 {
		if c != nil {
			t.Fatal("empty chains are kept")
		}
		return
	}
	if n := len(c.heads); len(model) > n || n >= shrinkFloor && len(model) <= n/shrinkFactor || n < fewestChains || n&(n-1) != 0 {
		t.Fatalf("%d items in %d chains", len(model), n)
	}
}

// TestTableReadersOnTheirWay is invariant 8 in slow motion: a reader who has come to any place of the chain of a name, at any time, still finds the name from there, whatever
// was done to other names since.
func TestTableReadersOnTheirWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const kept, others = 20, 200
		type reader struct {
			link *atomic.Pointer[item[int]] // that he is about to follow
			name string
		}
		var table Table[int]
		var readers []reader
		for i := range kept {
			table.Put(fmt.Sprint("kept", i), i)
		}
		for step := range rapid.IntRange(1, 8).Draw(t, "steps") {
			for i := range kept {
				c, name := table.chains.Load(), fmt.Sprint("kept", i)
				for link := &c.heads[c.at(name)]; ; link = &link.Load().next {
					readers = append(readers, reader{link, name})
					if link.Load().name == name {
						break
					}
				}
			}
			from := rapid.IntRange(0, others).Draw(t, "from")
			to, put := rapid.IntRange(from, others).Draw(t, "to"), rapid.Bool().Draw(t, "put")
			for i := from; i < to; i++ {
				if name := fmt.Sprint("other", i); put {
					table.Put(name, step)
				} else {
					table.Delete(name)
				}
			}
			if again := fmt.Sprint("kept", rapid.IntRange(0, kept-1).Draw(t, "again")); rapid.Bool().Draw(t, "replace") {
				table.Put(again, step)
			}
			for _, r := range readers {
				i := r.link.Load()
				for ; i != nil && i.name != r.name; i = i.next.Load() {
				}
				if i == nil {
					t.Fatalf("step %d: a reader lost %s", step, r.name)
				}
			}
		}
	})
}

func TestTableAllocs(t *testing.T) {
	var table Table[int]
	for i := range 1000 {
		table.Put(fmt.Sprint("name", i), i)
	}
	if n := testing.AllocsPerRun(100, func() { table.Get("name17"); table.Get("none") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTrieReadWhileChanged is invariant 8, on a trie that one goroutine fills and empties, so that its chains are resized and its tree is rebuilt around what stays.
func TestTrieReadWhileChanged(t *testing.T) {
	const count = 2000
	var trie Trie[int]
	c := changing{trie: &trie}
	for i := range count {
		pair := [2]Pattern{mustParse(t, fmt.Sprintf("a.%d.b", i)), mustParse(t, fmt.Sprintf("a.%d.*", i))}
		c.pairs = append(c.pairs, pair)
		if i%50 == 0 {
			trie.Put(pair[0], i)
			trie.Put(pair[1], i)
		}
	}
	var done atomic.Bool
	var reads atomic.Int64
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for !done.Load() && !t.Failed() {
				c.read(t)
				reads.Add(1)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := 0; (round < 4 || reads.Load() < 20) && !t.Failed(); round++ {
		for _, put := range []bool{true, false} {
			for _, i := range rnd.Perm(count) {
				c.change(i, round, put)
			}
		}
	}
	done.Store(true)
	readers.Wait()
	if want := 2 * count / 50; trie.Len() != want {
		t.Errorf("%d patterns left, want %d", trie.Len(), want)
	}
}

// changing is a trie with an exact pattern and one with a wildcard for each number i, under values that leave i when divided by their number. Where i is a multiple of 50
// they are always stored, and where it is one more never.
type changing struct {
	trie  *Trie[int]
	pairs [][2]Pattern
}

func (c *changing) change(i, round int, put bool) {
	for _, p := range c.pairs[i] {
		switch {
		case i%50 == 1:
		case put || i%50 == 0:
			c.trie.Put(p, i+round*len(c.pairs))
		default:
			c.trie.Delete(p)
		}
	}
}

// read looks all names up.
func (c *changing) read(t *testing.T) {
	for i, pair := range c.pairs {
		var found [2]int
		c.trie.Match(pair[0].String(), func(p Pattern, v int) {
			at := slices.Index(pair[:], p)
			if at < 0 || v%len(c.pairs) != i {
				t.Errorf("%q has %q with value %d", pair[0], p, v)
				return
			}
			found[at]++
		})
		if _, got := c.trie.Get(pair[i%2]); i%50 == 0 && (found != [2]int{1, 1} || !got) || i%50 == 1 && (found != [2]int{} || got) || max(found[0], found[1]) > 1 {
			t.Errorf("%q: visited %v times, got %v", pair[0], found, got)
		}
	}
	seen := map[Pattern]int{}
	for p := range c.trie.All() {
		seen[p]++
	}
	for i, pair := range c.pairs {
		for _, p := range pair {
			if n := seen[p]; n > 1 || i%50 == 0 && n == 0 || i%50 == 1 && n != 0 {
				t.Errorf("All yields %q %d times", p, n)
			}
		}
	}
}
