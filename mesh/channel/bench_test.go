package channel

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkMatch looks up names, in turn, among many exact patterns and four with wildcards. Three match each name.
func BenchmarkMatch(b *testing.B) {
	for _, exact := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("exact=%d", exact), func(b *testing.B) {
			var trie Trie[int]
			names := make([]string, exact)
			for i := range names {
				names[i] = fmt.Sprintf("building.floor%d.room%d.temperature", i%40, i)
				trie.Put(mustParse(b, names[i]), i)
			}
			for text := range strings.FieldsSeq("building.# building.*.*.humidity *.*.room*.temperature lobby.>") {
				trie.Put(mustParse(b, text), 0)
			}
			benchmarkMatch(b, &trie, names, 3)
		})
	}
}

// BenchmarkMatchHostile looks up names against patterns stored to make that dear.
func BenchmarkMatchHostile(b *testing.B) {
	b.Run("prefixes=10000", func(b *testing.B) { // "p*" with many different p in one place, one of which matches
		var trie Trie[int]
		for i := range 10_000 {
			trie.Put(mustParse(b, fmt.Sprintf("a.%05d*.c", i)), i)
		}
		benchmarkMatch(b, &trie, []string{"a.01234x.c"}, 1)
	})
	b.Run("nested=250", func(b *testing.B) { // "p*", "pp*", "ppp*", ..., all of which match
		var trie Trie[int]
		for i := range 250 {
			trie.Put(mustParse(b, strings.Repeat("p", i+1)+"*"), i)
		}
		benchmarkMatch(b, &trie, []string{strings.Repeat("p", 250)}, 250)
	})
	b.Run("mixed=4096", func(b *testing.B) { // every mix of "a" and "*", all walked to the end, none of which matches
		benchmarkMatch(b, mixedTrie(b, 12), []string{deepName(11) + ".b.b"}, 0)
	})
}

func BenchmarkPatternMatches(b *testing.B) {
	p := mustParse(b, "building.*.room*.#")
	b.ReportAllocs()
	for b.Loop() {
		if !p.Matches("building.floor12.room4711.temperature") {
			b.Fatal("no match")
		}
	}
}

func BenchmarkMessageValidate(b *testing.B) {
	m := Message{Tenant: "acme", Channel: "building.floor12.room4711.temperature", Payload: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTriePutDelete stores and removes a pattern among 10,000.
func BenchmarkTriePutDelete(b *testing.B) {
	for _, format := range []string{"room%d.temperature", "room%d.#"} {
		b.Run(format, func(b *testing.B) {
			var trie Trie[int]
			patterns := make([]Pattern, 10_000)
			for i := range patterns {
				patterns[i] = mustParse(b, fmt.Sprintf(format, i))
				trie.Put(patterns[i], i)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				trie.Delete(patterns[i])
				trie.Put(patterns[i], i)
				i = (i + 7919) % len(patterns)
			}
		})
	}
}

// BenchmarkTrieMemory is what 100,000 patterns take beyond their texts, which whoever parsed them keeps as well.
func BenchmarkTrieMemory(b *testing.B) {
	for _, format := range []string{"room%d.temperature", "room%d.#"} {
		b.Run(format, func(b *testing.B) {
			patterns := make([]Pattern, 100_000)
			for i := range patterns {
				patterns[i] = mustParse(b, fmt.Sprintf(format, i))
			}
			for b.Loop() {
				trie, empty := new(Trie[*int]), heapInUse()
				for _, p := range patterns {
					trie.Put(p, nil)
				}
				b.ReportMetric(float64(heapInUse()-empty)/float64(trie.Len()), "B/pattern")
			}
		})
	}
}

// benchmarkMatch looks the names up in an order that no cache foresees and checks the number of matches of each.
func benchmarkMatch(b *testing.B, trie *Trie[int], names []string, matchesEach int) {
	matches, i := 0, 0
	visit := func(Pattern, int) { matches++ }
	b.ReportAllocs()
	for b.Loop() {
		trie.Match(names[i], visit)
		i = (i + 7919) % len(names)
	}
	if matches != matchesEach*b.N {
		b.Fatalf("%d matches in %d rounds, want %d each", matches, b.N, matchesEach)
	}
}

func mustParse(tb testing.TB, text string) Pattern {
	tb.Helper()
	p, err := ParsePattern(text)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
