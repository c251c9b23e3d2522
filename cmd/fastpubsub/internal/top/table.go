package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/fastpubsub/fastpubsub/mesh/report"
)

// column of a table.
type column struct {
	title string
	right bool // numbers, which sort from the highest down
	spare bool // the first to go where there is no room for all
}

// cell is text, and the number that it stands for where it sorts as one.
type cell struct {
	text   string
	number float64
}

// table is rows under columns.
type table struct {
	columns []column
	rows    [][]cell
}

func text(s string) cell { return cell{text: s} }

func count(n float64) cell { return cell{short(n), n} }

func fixed(n float64) cell { return cell{fmt.Sprintf("%.2f", n), n} }

// percent is a share of one processor, unless that is not known.
func percent(share float64) cell {
	if share <= 0 {
		return cell{"-", 0}
	}
	return cell{short(100 * share), share}
}

// short is a rate or an amount in few characters.
func short(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 9.95:
		return fmt.Sprintf("%.1f", n)
	case n < 99_950:
		return fmt.Sprintf("%.0f", n)
	case n < 9_950_000:
		return fmt.Sprintf("%.0fk", n/1e3)
	}
	return fmt.Sprintf("%.0fM", n/1e6)
}

// nodesTable has a row for each node.
func nodesTable(m *Mesh, now time.Time) *table {
	t := &table{columns: []column{
		{title: "NODE"},
		{title: "REGION", spare: true},
		{title: "STATE"},
		{title: "CLIENTS", right: true},
		{title: "LINKS", right: true},
		{title: "PUB/s", right: true},
		{title: "IN/s", right: true},
		{title: "DELIV/s", right: true},
		{title: "RELAY/s", right: true},
		{title: "DROP/s", right: true},
		{title: "CPU %", right: true},
		{title: "UP", right: true},
	}}
	for _, n := range m.sorted() {
		state := "ok"
		if n.stale(now) {
			state = "silent"
		}
		up, drops := 0, 0.0
		for _, l := range n.Links {
			if l.Up {
				up++
			}
		}
		for _, rate := range n.Drops {
			drops += rate
		}
		links := fmt.Sprintf("%d/%d", up+n.Cut, len(n.Links)+n.Cut)
		uptime := time.Duration(min(n.Node.Uptime, 1e9)) * time.Second
		t.rows = append(t.rows, []cell{
			text(n.Node.Name), text(dash(n.Node.Region)), text(state),
			{fmt.Sprint(n.Rates.Connections), float64(n.Rates.Connections)},
			{links, float64(up)},
			count(n.Rates.Published), count(n.Rates.Arrived), count(n.Rates.Delivered), count(n.Rates.Relayed), count(drops), percent(n.Rates.CPU),
			{span(uptime), n.Node.Uptime},
		})
	}
	return t
}

// linksTable has a row for each end of each link.
func linksTable(m *Mesh) *table {
	t := &table{columns: []column{
		{title: "FROM"}, {title: "TO"}, {title: "STATE"}, {title: "RTT ms", right: true}, {title: "LOSS %", right: true}, {title: "COST ms", right: true}, {title: "OUT/s", right: true}, {title: "IN/s", right: true}, {title: "kB/s", right: true},
	}}
	for _, n := range m.sorted() {
		links := slices.Clone(n.Links)
		slices.SortStableFunc(links, func(a, b report.Link) int { return strings.Compare(m.name(a.To), m.name(b.To)) })
		for _, l := range links {
			state := "up"
			if !l.Up {
				state = "DOWN"
			}
			cost := cell{"-", 0} // not told to the mesh
			if l.Cost > 0 {
				cost = fixed(l.Cost)
			}
			t.rows = append(t.rows, []cell{
				text(n.Node.Name), text(m.name(l.To)), text(state), fixed(l.RTT), fixed(100 * l.Loss), cost, count(l.Out), count(l.In), count(l.Sent / 1000),
			})
		}
	}
	return t
}

// eventsTable has a row for each event, the latest first.
func eventsTable(m *Mesh) *table {
	t := &table{columns: []column{{title: "TIME"}, {title: "SEEN BY"}, {title: "WHAT"}, {title: "NODE"}, {title: "MORE"}}}
	for _, e := range slices.Backward(m.events) {
		more := ""
		if e.Kind == report.Rerouted {
			more = fmt.Sprintf("%s (%.2f ms), was %s (%.2f ms)", path(e.Path), e.Cost, path(e.Was), e.Prev)
		}
		t.rows = append(t.rows, []cell{text(e.at.Format("15:04:05")), text(e.seenBy), text(string(e.Kind)), text(e.Name), text(more)})
	}
	return t
}

func path(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " > ")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// span is a time in few characters.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// sort orders the rows by a column: text as in a dictionary, numbers from the highest down; reverse the other way round. Rows that are alike stay as they were.
func (t *table) sort(by int, reverse bool) {
	if by < 0 || by >= len(t.columns) {
		return
	}
	numbers := t.columns[by].right
	slices.SortStableFunc(t.rows, func(a, b []cell) int {
		order := strings.Compare(a[by].text, b[by].text)
		if numbers {
			order = cmp.Compare(b[by].number, a[by].number)
		}
		if reverse {
			return -order
		}
		return order
	})
}

// filter keeps the rows that have the text in any cell, whatever the case of letters.
func (t *table) filter(wanted string) {
	if wanted = strings.ToLower(wanted); wanted == "" {
		return
	}
	t.rows = slices.DeleteFunc(t.rows, func(row []cell) bool {
		return !slices.ContainsFunc(row, func(c cell) bool { return strings.Contains(strings.ToLower(c.text), wanted) })
	})
}

const (
	gap       = 1 // between columns
	leastText = 8 // that a column of text is narrowed to
)

// natural are the widths that the columns want.
func (t *table) natural() []int {
	w := make([]int, len(t.columns))
	for i, c := range t.columns {
		w[i] = ansi.StringWidth(c.title)
		for _, row := range t.rows {
			w[i] = max(w[i], ansi.StringWidth(row[i].text))
		}
	}
	return w
}

// layout chooses the columns, by number, that have room in a width, and their widths; 0 means without limit. Spare columns go first, then the last ones, down to
// one; of those that stay columns of text yield, the widest first.
func (t *table) layout(width int) (shown, widths []int) {
	widths = t.natural()
	total, least := -gap, -gap
	for i, c := range t.columns {
		shown = append(shown, i)
		total += widths[i] + gap
		least += c.least(widths[i]) + gap
	}
	for width > 0 && least > width && len(shown) > 1 {
		at := len(shown) - 1
		for i, n := range shown {
			if t.columns[n].spare {
				at = i
			}
		}
		n := shown[at]
		shown = slices.Delete(shown, at, at+1)
		total -= widths[n] + gap
		least -= t.columns[n].least(widths[n]) + gap
	}
	for ; width > 0 && total > width; total-- {
		widest := -1
		for _, n := range shown {
			if widths[n] > t.columns[n].least(widths[n]) && (widest < 0 || widths[n] > widths[widest]) {
				widest = n
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return shown, widths
}

// least is what a column of a width can be narrowed to: numbers cannot.
func (c column) least(width int) int {
	if c.right {
		return width
	}
	return min(width, leastText)
}

// lines are the head and the rows, none wider than width, unless that is 0. The column with the mark has one at its title.
func (t *table) lines(width, marked int) []string {
	shown, widths := t.layout(width)
	head := make([]cell, len(t.columns))
	for i, c := range t.columns {
		head[i] = text(c.title)
	}
	if marked >= 0 && marked < len(head) {
		head[marked].text = strings.ToLower(head[marked].text) // it must be seen without colour, and take no room
	}
	out := make([]string, 0, len(t.rows)+1)
	for _, row := range append([][]cell{head}, t.rows...) {
		var b strings.Builder
		for i, n := range shown {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", gap))
			}
			s := fit(row[n].text, widths[n])
			pad := strings.Repeat(" ", widths[n]-ansi.StringWidth(s))
			if t.columns[n].right {
				s, pad = pad, s
			}
			b.WriteString(s + pad)
		}
		line := strings.TrimRight(b.String(), " ")
		if width > 0 {
			line = fit(line, width)
		}
		out = append(out, line)
	}
	return out
}

// fit cuts text to a width, and shows that it did.
func fit(s string, width int) string {
	if ansi.StringWidth(s) <= width {
		return s
	}
	return ansi.Truncate(s, width, "~")
}
