package demo

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func ms64(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }

// sample scene: two pairs gain, one by more than a tenth; one loses.
func exampleScene() scene {
	s := scene{
		elapsed: 83 * second, nodes: 4, up: 3, pairs: 6, settled: ms64(3250), faults: []string{"London - Singapore blocked", "Lagos killed"},
		counts: tally{Delivered: 1234, Lost: 5, Duplicates: 6, OutOfOrder: 7},
		events: []event{{9 * second, "block London Singapore: on the path of 2 pairs"}, {10 * second, "re-routed after 250.0 ms: London > Dubai > Singapore (before: London > Singapore)"}},
	}
	s.add(row{"London", "Singapore", ms64(80), ms64(100.25), []string{"London", "Dubai", "Singapore"}, true})
	s.add(row{"NewDelhi", "Seoul", ms64(195.2), ms64(88.3), []string{"NewDelhi", "Singapore", "Seoul"}, false})
	s.add(row{"Johannesburg", "LosAngeles", ms64(140), ms64(139.4), []string{"Johannesburg", "LosAngeles"}, false})
	s.meanDirect, s.meanDelivered = s.meanDirect/3, s.meanDelivered/3
	return s
}

func TestDraw(t *testing.T) {
	const want = `
FastPubSub demo   1:23   nodes 3 of 4   pairs 3 of 6   settled after 3.2 s
mean direct 138.4 ms   mean delivered 109.3 ms   >10 % faster than direct: 1 (33
messages: 1234 delivered, 5 lost, 6 duplicate, 7 out of order
faults: London - Singapore blocked, Lagos killed
  FROM          TO              DIRECT  DELIVERED    GAIN     %  PATH TAKEN
* London        Singapore         80.0      100.2   -20.2   -25  London > Dubai
  NewDelhi      Seoul            195.2       88.3   106.9    55  NewDelhi > Sing
  Johannesburg  LosAngeles       140.0      139.4     0.6     0  Johannesburg >


EVENTS
  0:09  block London Singapore: on the path of 2 pairs
  0:10  re-routed after 250.0 ms: London > Dubai > Singapore (before: London > S

s slow   b block   k kill a relay   h heal   q quit   arrows scroll: pairs 1 to`
	lines := draw(exampleScene(), view{width: 80, height: 15})
	var got strings.Builder
	for _, l := range lines {
		got.WriteString("\n" + strings.TrimRight(l.text, " "))
	}
	if got.String() != want {
		t.Errorf("got%s\nwant%s", got.String(), want)
	}
	for i, look := range map[int]style{0: strong, 3: bad, 5: bad, 6: good, 7: normal, 14: faint} {
		if lines[i].style != look {
			t.Errorf("line %d has style %d, want %d", i, lines[i].style, look)
		}
	}
}

func TestDrawScrolls(t *testing.T) {
	var s scene
	for i := range 40 {
		s.add(row{from: string(rune('A' + i)), to: "x", direct: second, path: []string{"a", "b"}})
	}
	top := func(scroll int) string {
		return strings.Fields(draw(s, view{width: 200, height: 24, scroll: scroll})[headLines+1].text)[0]
	}
	if got := top(0) + top(7) + top(1000); got != "AH"+string(rune('A'+40-10)) {
		t.Errorf("%q on top", got)
	}
}

// Whatever there is to see and however small the terminal, the view fits.
func TestDrawFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := exampleScene()
		for range rapid.IntRange(0, 100).Draw(t, "rows") {
			s.add(s.rows[1])
		}
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			s.events = append(s.events, event{second, rapid.String().Draw(t, "text")})
		}
		v := view{
			width: rapid.IntRange(1, 300).Draw(t, "width"), height: rapid.IntRange(1, 100).Draw(t, "height"),
			scroll: rapid.IntRange(-5, 200).Draw(t, "scroll"),
		}
		lines := draw(s, v)
		if len(lines) > v.height {
			t.Fatalf("%d lines of %d", len(lines), v.height)
		}
		for _, l := range lines {
			if utf8.RuneCountInString(l.text) > v.width {
				t.Fatalf("%q is wider than %d", l.text, v.width)
			}
		}
	})
}

func TestTable(t *testing.T) {
	got := table(exampleScene(), 2)
	if n := strings.Count(got, "\n"); n != headLines+1+2 || strings.Contains(got, "\x1b") {
		t.Errorf("%d lines: %q", n, got)
	}
	if got := table(scene{}, 20); !strings.Contains(got, "none yet") || !strings.Contains(got, "settling") {
		t.Errorf("%q", got)
	}
}

func TestSummaryLine(t *testing.T) {
	s := exampleScene()
	const want = "1:23  nodes 3/4  pairs 3/6  direct 138.4 ms  delivered 109.3 ms  >10% faster 1  lost 5"
	if got := s.summary(); got != want {
		t.Errorf("%q", got)
	}
}

func TestFrame(t *testing.T) {
	got := string(appendFrame(nil, []line{{"a", strong}, {"b", normal}}))
	const want = "\x1b[?2026h\x1b[H\x1b[1ma\x1b[0m\x1b[K\r\nb\x1b[0m\x1b[K\x1b[J\x1b[?2026l"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
