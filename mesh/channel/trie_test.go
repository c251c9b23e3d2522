package channel

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTrieZeroValue(t *testing.T) {
	var trie Trie[string]
	p := mustParse(t, "a.#")
	if v, found := trie.Get(p); v != "" || found {
		t.Errorf("Get = %q, %v", v, found)
	}
	if trie.Delete(p) || trie.Len() != 0 || len(matched(&trie, "a")) != 0 {
		t.Error("an empty trie holds something")
	}
	for p := range trie.All() {
		t.Errorf("All yields %q", p)
	}
}

func TestTrieZeroPattern(t *testing.T) {
	var trie Trie[int]
	trie.Put(mustParse(t, "#"), 1)
	if _, found := trie.Get(Pattern{}); found || trie.Delete(Pattern{}) {
		t.Error("the zero Pattern is stored")
	}
	defer func() {
		if recover() == nil || trie.Len() != 1 {
			t.Errorf("Put of the zero Pattern went through, Len %d", trie.Len())
		}
	}()
	trie.Put(Pattern{}, 2)
}

func TestTrieMatchVectors(t *testing.T) {
	var trie Trie[string]
	for text := range strings.FieldsSeq("a.b.c a.* a.*.c a.b* a.b*.c a.b.> a.b.# *.b.# # > * a.b# a.b> b*.#") {
		trie.Put(mustParse(t, text), text)
	}
	for name, want := range map[string]string{
		"a":       "# * >",
		"b1":      "# * > b*.#",
		"a.b":     "# *.b.# > a.* a.b# a.b* a.b.#",
		"a.b1":    "# > a.* a.b# a.b*",
		"a.c":     "# > a.*",
		"a.b.c":   "# *.b.# > a.*.c a.b# a.b*.c a.b.# a.b.> a.b.c a.b>",
		"a.b1.c":  "# > a.*.c a.b# a.b*.c a.b>",
		"a.b.c.d": "# *.b.# > a.b# a.b.# a.b.> a.b>",
		"b.b":     "# *.b.# > b*.#",
		"c.d":     "# >",
	} {
		if got := strings.Join(matched(&trie, name), " "); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestTrieMatchIsFilterByMatches(t *testing.T) { // invariant 5
	rapid.Check(t, func(t *rapid.T) {
		var trie Trie[int]
		stored := map[Pattern]int{}
		for i := range rapid.IntRange(0, 60).Draw(t, "patterns") {
			p := drawPattern(t)
			trie.Put(p, i)
			stored[p] = i
		}
		for range 5 {
			checkMatch(t, &trie, stored, drawName(t))
		}
	})
}

func TestTrieAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var trie Trie[int]
		model := map[Pattern]int{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				p, v := drawPattern(t), rapid.Int().Draw(t, "value")
				trie.Put(p, v)
				model[p] = v
			},
			"delete": func(t *rapid.T) {
				p := drawPattern(t)
				if _, want := model[p]; trie.Delete(p) != want {
					t.Fatalf("Delete(%q) = %v", p, !want)
				}
				delete(model, p)
			},
			"delete stored": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				p := rapid.SampledFrom(slices.SortedFunc(maps.Keys(model), comparePatterns)).Draw(t, "stored")
				if !trie.Delete(p) {
					t.Fatalf("Delete(%q) finds nothing", p)
				}
				delete(model, p)
			},
			"get": func(t *rapid.T) {
				p := drawPattern(t)
				want, stored := model[p]
				if v, found := trie.Get(p); v != want || found != stored {
					t.Fatalf("Get(%q) = %d, %v; want %d, %v", p, v, found, want, stored)
				}
			},
			"match": func(t *rapid.T) { checkMatch(t, &trie, model, drawName(t)) },
			"": func(t *rapid.T) {
				if trie.Len() != len(model) || !maps.Equal(maps.Collect(trie.All()), model) {
					t.Fatalf("the trie has %v, the model %v", maps.Collect(trie.All()), model)
				}
				checkShape(t, &trie)
			},
		})
	})
}

// TestTrieRootsStay: what a reader has of the tree stays as it is, whatever is done to the trie.
func TestTrieRootsStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var trie Trie[int]
		type snapshot struct {
			root  *node[int]
			shape string
		}
		var taken []snapshot
		for i := range rapid.IntRange(1, 40).Draw(t, "changes") {
			if p := drawPattern(t); !trie.Delete(p) || rapid.Bool().Draw(t, "again") {
				trie.Put(p, i)
			}
			text, _ := shape(trie.wild.root.Load())
			taken = append(taken, snapshot{trie.wild.root.Load(), text})
		}
		for i, s := range taken {
			if now, _ := shape(s.root); now != s.shape {
				t.Fatalf("after change %d the tree was %s, and that became %s", i, s.shape, now)
			}
		}
	})
}

func TestTrieAllOrder(t *testing.T) {
	var trie Trie[int]
	for text := range strings.FieldsSeq("b.> z a.b> a.* a a.b* b.# a.b.c a.# a.*.c > # * ab*") {
		trie.Put(mustParse(t, text), 0)
	}
	want := "a a.b.c z # * > a.# a.* a.*.c a.b* a.b> ab* b.# b.>"
	if got := strings.Join(texts(&trie), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for stop := 1; stop <= trie.Len(); stop++ {
		seen := 0
		for range trie.All() {
			if seen++; seen == stop {
				break
			}
		}
		if seen != stop {
			t.Errorf("stopped after %d of %d", seen, stop)
		}
	}
}

func TestTriePutReplaces(t *testing.T) {
	var trie Trie[string]
	for _, text := range []string{"a.b", "a.#"} {
		p := mustParse(t, text)
		trie.Put(p, "old")
		trie.Put(p, "new")
		if v, found := trie.Get(p); v != "new" || !found {
			t.Errorf("Get(%q) = %q, %v", p, v, found)
		}
	}
	if trie.Len() != 2 {
		t.Errorf("Len %d", trie.Len())
	}
}

// TestTrieManyWaysToOneName stores all 4,096 mixes of "a" and "*" of twelve tokens: each node is entered once
// (invariant 6), so each pattern is visited once although any prefix of the name has thousands of ways to match.
func TestTrieManyWaysToOneName(t *testing.T) {
	trie := mixedTrie(t, 12)
	visits := matched(trie, deepName(12))
	if all, different := len(visits), len(slices.Compact(visits)); all != 1<<12 || different != 1<<12 {
		t.Errorf("%d visits, %d different", all, different)
	}
	for _, name := range []string{deepName(11), deepName(13)} {
		if visits := matched(trie, name); len(visits) != 0 {
			t.Errorf("%q: %d visits", name, len(visits))
		}
	}
}

func TestTrieDeepest(t *testing.T) {
	var trie Trie[int]
	for depth := range 128 {
		trie.Put(mustParse(t, strings.Repeat("*.", depth)+"#"), depth)
	}
	if visits := matched(&trie, deepName(128)); len(visits) != 128 {
		t.Errorf("%d of 128 patterns match", len(visits))
	}
	if visits := matched(&trie, "a"); len(visits) != 2 { // "#" and "*.#"
		t.Errorf("a: %q", visits)
	}
}

func TestTrieGivesMemoryBack(t *testing.T) { // invariant 7
	const count = 20_000
	patterns := make([]Pattern, 0, 2*count)
	for i := range count {
		patterns = append(patterns, mustParse(t, fmt.Sprintf("a.%d.x", i)), mustParse(t, fmt.Sprintf("a.%d.*", i)))
	}
	var trie Trie[int]
	empty := heapInUse()
	for i, p := range patterns {
		trie.Put(p, i)
	}
	full := heapInUse()
	for _, p := range patterns[2:] {
		trie.Delete(p)
	}
	left := heapInUse()
	if held := full - empty; held < 1<<20 {
		t.Fatalf("the test measures nothing: %d patterns in %d bytes", len(patterns), held)
	}
	if left-empty > (full-empty)/20 {
		t.Errorf("2 patterns hold %d bytes, %d patterns held %d", left-empty, len(patterns), full-empty)
	}
	trie.Delete(patterns[0])
	trie.Delete(patterns[1])
	if trie.exact.chains.Load() != nil || trie.wild.root.Load() != nil || trie.Len() != 0 {
		t.Error("an emptied trie holds something")
	}
}

func TestTrieMatchAllocatesNothing(t *testing.T) { // invariant 5
	trie := mixedTrie(t, 6)
	for text := range strings.FieldsSeq("a.a.a.a.a.a a.# # > a* a*.a>") {
		trie.Put(mustParse(t, text), 0)
	}
	visits := 0
	for _, name := range []string{"a", "b.c", deepName(6), deepName(128)} {
		if n := testing.AllocsPerRun(100, func() { trie.Match(name, func(Pattern, int) { visits++ }) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if visits == 0 {
		t.Error("nothing was visited")
	}
}

// checkMatch compares Match with a filter by Matches over the stored patterns.
func checkMatch(t *rapid.T, trie *Trie[int], stored map[Pattern]int, name string) {
	visited := map[Pattern]int{}
	trie.Match(name, func(p Pattern, v int) {
		if _, twice := visited[p]; twice {
			t.Fatalf("%q visited twice for %q", p, name)
		}
		visited[p] = v
	})
	want := maps.Clone(stored)
	maps.DeleteFunc(want, func(p Pattern, _ int) bool { return !p.Matches(name) })
	if !maps.Equal(visited, want) {
		t.Fatalf("%q: visited %v, want %v", name, visited, want)
	}
}

// checkShape checks invariant 7: sparse nodes, and the shape a fresh trie of the same patterns has.
func checkShape(t *rapid.T, trie *Trie[int]) {
	var fresh Trie[int]
	for p, v := range trie.All() {
		fresh.Put(p, v)
	}
	got, nodes := shape(trie.wild.root.Load())
	if want, _ := shape(fresh.wild.root.Load()); got != want {
		t.Fatalf("shape %s, fresh %s", got, want)
	}
	if size := int(trie.wild.size.Load()); nodes-1 > 2*size {
		t.Fatalf("%d nodes below the root for %d patterns: %s", nodes-1, size, got)
	}
	if (trie.exact.Len() == 0) != (trie.exact.chains.Load() == nil) {
		t.Fatal("empty chains are kept")
	}
}

// shape writes the tree below n as label=pattern(children), and counts its nodes with n.
func shape(n *node[int]) (text string, nodes int) {
	if n == nil {
		return "", 1 // the root that an empty tree need not have
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s=%s:%d(", n.label, n.pattern, n.value)
	nodes = 1
	for _, child := range n.children {
		below, count := shape(child)
		b.WriteString(below)
		nodes += count
	}
	b.WriteString(")")
	return b.String(), nodes
}

// mixedTrie holds every pattern of depth tokens that are each "a" or "*".
func mixedTrie(tb testing.TB, depth int) *Trie[int] {
	tb.Helper()
	var trie Trie[int]
	for mix := range 1 << depth {
		text := make([]string, depth)
		for i := range text {
			text[i] = []string{"a", "*"}[mix>>i&1]
		}
		trie.Put(mustParse(tb, strings.Join(text, ".")), mix)
	}
	return &trie
}

// matched is the patterns that Match visits for name, sorted.
func matched[V any](trie *Trie[V], name string) []string {
	var visits []string
	trie.Match(name, func(p Pattern, _ V) { visits = append(visits, p.String()) })
	slices.Sort(visits)
	return visits
}

// texts is the patterns of All in its order.
func texts[V any](trie *Trie[V]) []string {
	var all []string
	for p := range trie.All() {
		all = append(all, p.String())
	}
	return all
}

func comparePatterns(a, b Pattern) int { return strings.Compare(a.String(), b.String()) }

func heapInUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
