package top

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// page is what the terminal shows.
type page int

const (
	nodesPage page = iota
	linksPage
	eventsPage
	pages
)

func (p page) String() string { return [...]string{"nodes", "links", "events"}[p] }

// ticked says what time it is, once a second.
type ticked time.Time

// ended says that the feed has given up.
type ended struct{ err error }

func tick() tea.Cmd { return tea.Tick(time.Second, func(at time.Time) tea.Msg { return ticked(at) }) }

// order is how a page is sorted: by column, or where that is -1 as it comes.
type order struct {
	column  int
	reverse bool
}

// model is the terminal's.
type model struct {
	url           string
	mesh          *Mesh
	now           time.Time
	width, height int
	page          page
	orders        [pages]order
	first         int // row shown at the top
	filter        string
	typing        bool // what comes from the keyboard is the filter
	paused        bool
	met           bool  // the node answers
	trouble       error // why it does not
	fatal         error
}

func newModel(url string, now time.Time) *model {
	return &model{url: clean(url), mesh: NewMesh(), now: now, width: 80, height: 24, orders: [pages]order{{-1, false}, {-1, false}, {-1, false}}}
}

// Init starts the clock.
func (m *model) Init() tea.Cmd { return tick() }

// Update takes what happens.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 20), max(msg.Height, 6)
	case ticked:
		m.now = time.Time(msg)
		if !m.paused && m.met { // while the connection is lost, what was known last stays to be seen
			m.mesh.age(m.now)
		}
		return m, tick()
	case met:
		m.met, m.trouble = true, nil
	case lost:
		m.met, m.trouble = false, msg.err
	case ended:
		m.fatal = msg.err
		return m, tea.Quit
	case heard:
		m.hear(msg)
	case tea.KeyPressMsg:
		return m, m.key(msg.String(), msg.Key().Text)
	}
	m.first = max(0, min(m.first, len(m.table().rows)-m.room()))
	return m, nil
}

func (m *model) hear(msg heard) {
	switch {
	case msg.err != nil:
		m.mesh.wrong++
	case !m.paused:
		m.mesh.hear(msg.report, msg.at)
		if msg.at.After(m.now) {
			m.now = msg.at
		}
	}
}

// key does what a key says.
func (m *model) key(name, typed string) tea.Cmd {
	if name == "ctrl+c" {
		return tea.Quit
	}
	if m.typing {
		m.typeFilter(name, typed)
		return nil
	}
	switch name {
	case "q", "esc":
		if name == "esc" && m.filter != "" {
			m.filter = ""
			return nil
		}
		return tea.Quit
	case "1", "2", "3":
		m.page, m.first = page(name[0]-'1'), 0
	case "tab":
		m.page, m.first = (m.page+1)%pages, 0
	case "shift+tab":
		m.page, m.first = (m.page+pages-1)%pages, 0
	case "s", "right":
		m.turn(1)
	case "S", "left":
		m.turn(-1)
	case "r":
		m.orders[m.page].reverse = !m.orders[m.page].reverse
	case "/":
		m.typing, m.filter = true, ""
	case "p", "space":
		m.paused = !m.paused
	case "down", "j":
		m.first++
	case "up", "k":
		m.first--
	case "pgdown":
		m.first += m.room()
	case "pgup":
		m.first -= m.room()
	case "home", "g":
		m.first = 0
	case "end", "G":
		m.first = 1 << 30
	}
	m.first = max(0, min(m.first, len(m.table().rows)-m.room()))
	return nil
}

// turn sorts by the next column, or the one before; beyond the last the rows are as they come.
func (m *model) turn(by int) {
	o := &m.orders[m.page]
	n := len(m.table().columns) + 1
	o.column = (o.column+1+by+n)%n - 1
}

func (m *model) typeFilter(name, typed string) {
	switch name {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-size]
	default:
		m.filter = clean(m.filter + typed)
	}
	m.first = 0
}

// table is what the page shows, sorted and filtered.
func (m *model) table() *table {
	var t *table
	switch m.page {
	case linksPage:
		t = linksTable(m.mesh)
	case eventsPage:
		t = eventsTable(m.mesh)
	default:
		t = nodesTable(m.mesh, m.now)
	}
	t.filter(m.filter)
	o := m.orders[m.page]
	t.sort(o.column, o.reverse)
	return t
}

// frame is the lines around the rows: two of summary, the head of the table, and one for help or trouble.
const frame = 4

// room is how many rows there is room for.
func (m *model) room() int { return max(1, m.height-frame) }

// View is the screen.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen = true
	return v
}

// Looks, as parameters of SGR. What they say is in the words, too: there are terminals without.
const (
	bold    = "1"
	inverse = "7"
	red     = "31"
)

func styled(s, look string) string { return "\x1b[" + look + "m" + s + "\x1b[m" }

// screen is as many lines as the terminal has.
func (m *model) screen() []string {
	t := m.table()
	lines := t.lines(m.width, m.orders[m.page].column)
	all := []string{styled(fit(m.summary(), m.width), bold), fit(m.tabs(len(t.rows)), m.width)}
	head := lines[0] + strings.Repeat(" ", max(0, m.width-ansi.StringWidth(lines[0])))
	all = append(all, styled(head, inverse))
	rows := lines[1:]
	for i := m.first; i < min(len(rows), m.first+m.room()); i++ {
		line := rows[i]
		if m.bad(t.rows[i]) {
			line = styled(line, red)
		}
		all = append(all, line)
	}
	for len(all) < m.height-1 {
		all = append(all, "")
	}
	return append(all, m.foot())
}

// bad reports whether a row needs looking at.
func (m *model) bad(row []cell) bool {
	return m.page != eventsPage && (row[2].text == "DOWN" || row[2].text == "silent")
}

func (m *model) summary() string {
	up, down, published, delivered, drops := 0, 0, 0.0, 0.0, 0.0
	for _, n := range m.mesh.nodes {
		for _, l := range n.Links {
			if l.Up {
				up++
			} else {
				down++
			}
		}
		published += n.Rates.Published
		delivered += n.Rates.Delivered
		for _, rate := range n.Drops {
			drops += rate
		}
	}
	return fmt.Sprintf("nodes %d of %d  link ends %d up %d down  pub/s %s  deliv/s %s  drop/s %s",
		len(m.mesh.nodes), m.mesh.members(), up, down, short(published), short(delivered), short(drops))
}

func (m *model) tabs(rows int) string {
	var b strings.Builder
	for p := range pages {
		name := fmt.Sprintf(" %d %s ", p+1, p)
		if p == m.page {
			name = fmt.Sprintf("[%d %s]", p+1, p)
		}
		b.WriteString(name)
	}
	fmt.Fprintf(&b, " %d rows", rows)
	if m.page == eventsPage && m.mesh.missed > 0 {
		fmt.Fprintf(&b, ", and %d that nodes had no room to tell", m.mesh.missed)
	}
	if m.paused {
		b.WriteString("  PAUSED")
	}
	if m.typing || m.filter != "" {
		b.WriteString("  filter: " + m.filter)
	}
	if m.typing {
		b.WriteString("_")
	}
	return b.String() + "  " + m.url
}

func (m *model) foot() string {
	switch {
	case m.trouble != nil:
		return styled(fit("NO CONNECTION, trying again: "+cleanLong(cause(m.trouble)), m.width), red)
	case !m.met:
		return fit("connecting to "+m.url, m.width)
	case m.mesh.wrong > 0:
		return fit(fmt.Sprintf("%d messages were no reports", m.mesh.wrong), m.width)
	case len(m.mesh.nodes) == 0:
		return fit("connected; the nodes' reports come within seconds", m.width)
	}
	return fit("q quit  tab/1-3 page  s sort  r reverse  / filter  p pause  arrows scroll", m.width)
}

// cause is the part of an error that fits into a line: what the network said, without who asked.
func cause(err error) string {
	if op, is := errors.AsType[*net.OpError](err); is {
		return op.Error()
	}
	return err.Error()
}

// cleanLong is clean for text that may be as long as a line.
func cleanLong(s string) string {
	var b strings.Builder
	for len(s) > 0 && b.Len() < 1024 {
		n := min(len(s), textMost)
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n++
		}
		b.WriteString(clean(s[:n]))
		s = s[n:]
	}
	return b.String()
}
