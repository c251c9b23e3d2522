package demo

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// style is how a line looks on a terminal.
type style uint8

const (
	normal style = iota
	strong       // headings
	good         // a pair that gains
	bad          // a pair that loses, or a fault
	faint        // what is there only to be looked up
)

// line is one line of the view.
type line struct {
	text  string
	style style
}

// view is what the user has chosen to see.
type view struct {
	width, height int // of the terminal, in characters
	scroll        int // first pair shown
}

// Heights of the parts of the view, in lines.
const (
	headLines   = 4
	leastEvents = 3
	mostEvents  = 8
	leastRows   = 4
)

// draw fits the scene into the view: exactly as many lines as the view is high, none wider than it is.
func draw(s scene, v view) []line {
	events := min(max(v.height/4, leastEvents), mostEvents)
	rows := max(v.height-headLines-events-4, leastRows) // 4: headings of table and events, an empty line, the keys
	first := v.first(len(s.rows), rows)
	shown := s.rows[first:min(first+rows, len(s.rows))]

	lines := head(s)
	lines = append(lines, line{tableHead, strong})
	for _, r := range shown {
		lines = append(lines, r.line())
	}
	for range rows - len(shown) {
		lines = append(lines, line{})
	}
	lines = append(lines, line{}, line{"EVENTS", strong})
	lines = append(lines, eventLines(s.events, events)...)
	keys := fmt.Sprintf("s slow   b block   k kill a relay   h heal   q quit   arrows scroll: pairs %d to %d of %d",
		min(first+1, len(s.rows)), first+len(shown), len(s.rows))
	lines = append(lines, line{keys, faint})
	return fit(lines, v)
}

// first is the first row shown: scrolling ends at the last page.
func (v view) first(total, rows int) int { return max(min(v.scroll, total-rows), 0) }

// head is the lines at the top.
func head(s scene) []line {
	settled := "settling"
	if s.settled > 0 {
		settled = fmt.Sprintf("settled after %.1f s", s.settled.Seconds())
	}
	faults := line{"no fault", faint}
	if len(s.faults) > 0 {
		faults = line{"faults: " + strings.Join(s.faults, ", "), bad}
	}
	c := s.counts
	return []line{
		{fmt.Sprintf("FastPubSub demo   %s   nodes %d of %d   pairs %d of %d   %s", clock(s.elapsed), s.up, s.nodes, s.delivering, s.pairs, settled), strong},
		{fmt.Sprintf("mean direct %s   mean delivered %s   >%.0f %% faster than direct: %s", millis(s.meanDirect), millis(s.meanDelivered), 100*fasterShare, share(s.faster, s.delivering)), normal},
		{fmt.Sprintf("messages: %d delivered, %d lost, %d duplicate, %d out of order", c.Delivered, c.Lost, c.Duplicates, c.OutOfOrder), normal},
		faults,
	}
}

// share is a number of things out of all of them.
func share(n, of int) string {
	if of == 0 {
		return "none yet"
	}
	return fmt.Sprintf("%d (%.0f %%)", n, 100*float64(n)/float64(of))
}

const tableHead = "  FROM          TO              DIRECT  DELIVERED    GAIN     %  PATH TAKEN"

// line is a row of the table; one that a standing fault is about has a mark.
func (r row) line() line {
	mark, look := " ", normal
	switch {
	case faster(r.direct, r.delivered):
		look = good
	case r.delivered > r.direct+slowMargin:
		look = bad
	}
	if r.marked {
		mark = "*"
	}
	percent := 0.0
	if r.direct > 0 {
		percent = math.Round(100*float64(r.gain())/float64(r.direct)) + 0 // -0 + 0 is 0
	}
	return line{fmt.Sprintf("%s %-13s %-13s %8.1f %10.1f %7.1f %5.0f  %s",
		mark, r.from, r.to, float64(r.direct)/1e6, float64(r.delivered)/1e6, float64(r.gain())/1e6, percent, joinPath(r.path)), look}
}

// eventLines are the last events, in exactly n lines.
func eventLines(events []event, n int) []line {
	lines := make([]line, 0, n)
	for _, e := range events[max(len(events)-n, 0):] {
		lines = append(lines, line{e.String(), normal})
	}
	for len(lines) < n {
		lines = append(lines, line{})
	}
	return lines
}

// String is the event with its time.
func (e event) String() string { return fmt.Sprintf("%6s  %s", clock(e.at), e.text) }

// fit cuts lines to the view's width and their number to its height; the last one, with the keys, stays.
func fit(lines []line, v view) []line {
	if len(lines) > v.height && v.height > 0 {
		lines = append(lines[:v.height-1], lines[len(lines)-1])
	}
	for i, l := range lines {
		lines[i].text = cut(l.text, v.width)
	}
	return lines
}

// cut shortens text to so many characters; all that is drawn takes one column each.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width, 0)])
}

// table is the scene as plain text, for where there is no terminal.
func table(s scene, rows int) string {
	var b strings.Builder
	for _, l := range head(s) {
		b.WriteString(l.text + "\n")
	}
	b.WriteString(tableHead + "\n")
	for _, r := range s.rows[:min(rows, len(s.rows))] {
		b.WriteString(r.line().text + "\n")
	}
	return b.String()
}
