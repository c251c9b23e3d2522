package top

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/fastpubsub/fastpubsub/mesh/report"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// told is a report of one of three nodes.
func told(id wire.NodeID) report.Report {
	names := map[wire.NodeID]string{1: "ams", 2: "sin", 3: "nyc"}
	r := report.Report{Every: 1, Members: 3, Routes: 2, Rates: report.Rates{Published: 10 * float64(id), Arrived: 5, Delivered: 1234, Relayed: 0.5, Connections: int64(id)}}
	r.Node.ID, r.Node.Name, r.Node.Region, r.Node.Uptime = id, names[id], "r"+names[id], 3600*float64(id)
	r.Rates.CPU = map[wire.NodeID]float64{2: 0.03, 3: 0.75}[id]
	for to := range wire.NodeID(3) {
		if to++; to != id {
			r.Links = append(r.Links, report.Link{To: to, Up: id+to != 5, RTT: 10 * float64(id*to), Loss: 0.01, Cost: float64(to), Out: 3, In: 250_000, Sent: 5_000_000})
		}
	}
	return r
}

// three is a mesh of which all nodes have told.
func three() *Mesh {
	m := NewMesh()
	for id := range wire.NodeID(3) {
		r := told(id + 1)
		if id == 0 {
			r.Drops = map[string]float64{"no_route": 2, "queue": 0.5}
			r.Events = []report.Event{
				{Kind: report.LinkDown, Node: 3, Name: "nyc"},
				{Kind: report.Rerouted, Node: 2, Name: "sin", Path: []string{"ams", "nyc", "sin"}, Cost: 90, Was: []string{"ams", "sin"}, Prev: 80},
				{Kind: report.Rerouted, Node: 3, Name: "nyc", Was: []string{"ams", "nyc"}, Prev: 40},
			}
		}
		m.hear(r, began)
	}
	return m
}

const golden = `3 of 3 nodes

NODE REGION STATE CLIENTS LINKS PUB/s IN/s DELIV/s RELAY/s DROP/s CPU %  UP
ams  rams   ok          1   2/2    10  5.0    1234     0.5    2.5     - 60m
nyc  rnyc   ok          3   1/2    30  5.0    1234     0.5      0    75  3h
sin  rsin   ok          2   1/2    20  5.0    1234     0.5      0   3.0  2h

FROM TO  STATE RTT ms LOSS % COST ms OUT/s IN/s kB/s
ams  nyc up     30.00   1.00    3.00   3.0 250k 5000
ams  sin up     20.00   1.00    2.00   3.0 250k 5000
nyc  ams up     30.00   1.00    1.00   3.0 250k 5000
nyc  sin DOWN   60.00   1.00    2.00   3.0 250k 5000
sin  ams up     20.00   1.00    1.00   3.0 250k 5000
sin  nyc DOWN   60.00   1.00    3.00   3.0 250k 5000
`

func TestOnce(t *testing.T) {
	var out bytes.Buffer
	w := writer{o: Options{Once: true, Out: &out}, mesh: NewMesh()}
	for id := range wire.NodeID(3) {
		done, err := w.take(heard{report: told(id + 1), at: began})
		if err != nil || done != (id == 2) {
			t.Fatalf("after %d: %v, %v", id+1, done, err)
		}
	}
	if want := strings.Replace(golden, "2.5     - 60m", "  0     - 60m", 1); out.String() != want {
		t.Errorf("printed\n%s", out.String())
	}
	out.Reset()
	w.mesh = three()
	if err := w.write(began); err != nil || out.String() != golden {
		t.Errorf("%v, printed\n%s", err, out.String())
	}
	out.Reset()
	w.o.JSON = true
	if err := w.write(began); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Members int
		Nodes   []report.Report
	}
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Members != 3 || len(back.Nodes) != 3 || back.Nodes[1].Node.Name != "nyc" {
		t.Errorf("%v, %+v", err, back)
	}
}

// What has come is shown when the time is over; nothing is an error, and so is a node that cannot be reached.
func TestOnceIncomplete(t *testing.T) {
	var out bytes.Buffer
	w := writer{o: Options{Once: true, Out: &out}, mesh: NewMesh()}
	if done, err := w.due(began); !done || !errors.Is(err, ErrNothing) {
		t.Errorf("%v, %v", done, err)
	}
	if done, err := w.take(lost{errors.New("refused")}); !done || err == nil {
		t.Errorf("%v, %v", done, err)
	}
	_, _ = w.take(heard{err: errReport})
	_, _ = w.take(heard{report: told(1), at: began})
	if done, err := w.due(began); !done || err != nil || !strings.HasPrefix(out.String(), "1 of 3 nodes\n") {
		t.Errorf("%v, %v, %s", done, err, out.String())
	}
}

// Without a terminal, tables or JSON lines come again and again, and what is wrong is said.
func TestPlain(t *testing.T) {
	var out bytes.Buffer
	w := writer{o: Options{Out: &out}, mesh: three()}
	if done, err := w.take(lost{errors.New("gone\x1b[2J")}); done || err != nil || out.String() != "no connection, trying again: gone?[2J\n" {
		t.Errorf("%v, %v, %q", done, err, out.String())
	}
	out.Reset()
	if done, err := w.due(began); done || err != nil || out.String() != "2026-01-02 03:04:05\n"+golden {
		t.Errorf("%v, %v, %s", done, err, out.String())
	}
	out.Reset()
	w.o.JSON = true
	for range 2 {
		if done, err := w.take(heard{report: told(1), at: began}); done || err != nil {
			t.Error(done, err)
		}
	}
	if done, err := w.due(began); done || err != nil || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%v, %v, %q", done, err, out.String())
	}
}

// press gives the model keys, a name each, or runes to type.
func press(m *model, keys ...string) (cmd tea.Cmd) {
	special := map[string]tea.Key{
		"tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift}, "esc": {Code: tea.KeyEscape}, "enter": {Code: tea.KeyEnter}, "backspace": {Code: tea.KeyBackspace},
		"down": {Code: tea.KeyDown}, "up": {Code: tea.KeyUp}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight}, "pgdown": {Code: tea.KeyPgDown}, "pgup": {Code: tea.KeyPgUp},
		"end": {Code: tea.KeyEnd}, "home": {Code: tea.KeyHome}, "ctrl+c": {Code: 'c', Mod: tea.ModCtrl},
	}
	for _, name := range keys {
		key, known := special[name]
		if !known {
			key = tea.Key{Code: []rune(name)[0], Text: name}
		}
		_, cmd = m.Update(tea.KeyPressMsg(key))
	}
	return cmd
}

// shown is the screen without looks.
func shown(m *model) string { return ansi.Strip(m.View().Content) }

func modelOfThree() *model {
	m := newModel("ws://node/ws", began)
	m.mesh = three()
	m.Update(met{})
	return m
}

func TestModelPages(t *testing.T) {
	m := modelOfThree()
	if s := shown(m); !strings.HasPrefix(s, "nodes 3 of 3  link ends 4 up 2 down  pub/s 60  deliv/s 3702") || !strings.Contains(s, "[1 nodes]") || !strings.Contains(s, "nyc") || !strings.Contains(s, "q quit") {
		t.Errorf("nodes:\n%s", s)
	}
	press(m, "2")
	if s := shown(m); !strings.Contains(s, "[2 links]") || !strings.Contains(s, "sin  nyc DOWN") || !strings.Contains(m.View().Content, "\x1b[31msin  nyc DOWN") {
		t.Errorf("links:\n%s", s)
	}
	press(m, "tab")
	if s := shown(m); !strings.Contains(s, "link-down") || !strings.Contains(s, "ams > nyc > sin (90.00 ms), was ams >") || !strings.Contains(s, "none (0.00 ms), was") {
		t.Errorf("events:\n%s", s)
	}
	press(m, "tab", "shift+tab", "shift+tab")
	if m.page != linksPage {
		t.Errorf("on page %v", m.page)
	}
}

// names are the first cells of the rows shown.
func names(m *model) (all []string) {
	for _, row := range m.table().rows {
		all = append(all, row[0].text)
	}
	return all
}

func TestModelSortsAndFilters(t *testing.T) {
	m := modelOfThree()
	press(m, "s") // by name
	if got := fmt.Sprint(names(m)); got != "[ams nyc sin]" || !strings.Contains(shown(m), "\nnode ") {
		t.Errorf("by name: %s\n%s", got, shown(m))
	}
	press(m, "r")
	if got := fmt.Sprint(names(m)); got != "[sin nyc ams]" {
		t.Errorf("reversed: %s", got)
	}
	press(m, "r", "s", "s", "s") // by clients, most first
	if got := fmt.Sprint(names(m)); got != "[nyc sin ams]" {
		t.Errorf("by clients: %s", got)
	}
	press(m, "left", "left", "left", "left")
	if m.orders[nodesPage].column != -1 {
		t.Errorf("sorted by %d", m.orders[nodesPage].column)
	}
	press(m, "S")
	if got := m.orders[nodesPage].column; got != 11 {
		t.Errorf("before the first is %d", got)
	}
	press(m, "/", "R", "N", "Y", "x", "backspace")
	if got := fmt.Sprint(names(m)); got != "[nyc]" || !strings.Contains(shown(m), "filter: RNY_") {
		t.Errorf("filtered: %s\n%s", got, shown(m))
	}
	press(m, "enter", "2") // the filter stays, on other pages, too
	if got := len(m.table().rows); got != 0 || m.typing {
		t.Errorf("%d rows", got)
	}
	press(m, "esc")
	if m.filter != "" || len(m.table().rows) != 6 {
		t.Errorf("filter %q", m.filter)
	}
	press(m, "/", "q", "esc")
	if m.filter != "" || m.typing {
		t.Errorf("filter %q", m.filter)
	}
	for _, key := range []string{"q", "esc", "ctrl+c"} {
		if cmd := press(m, key); cmd == nil || cmd() != tea.Quit() {
			t.Errorf("%s does not end it", key)
		}
	}
}

func TestModelScrolls(t *testing.T) {
	m := newModel("u", began)
	for i := range 100 {
		r := told(1)
		r.Node.ID, r.Node.Name = wire.NodeID(i+1), fmt.Sprintf("n%02d", i)
		m.Update(heard{report: r, at: began})
	}
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	first := func() string { return strings.Fields(strings.Split(shown(m), "\n")[3])[0] }
	for _, step := range []struct{ key, want string }{
		{"up", "n00"}, {"down", "n01"}, {"j", "n02"}, {"k", "n01"}, {"pgdown", "n21"}, {"end", "n80"}, {"down", "n80"}, {"pgup", "n60"}, {"home", "n00"}, {"G", "n80"}, {"g", "n00"}, {"G", "n80"},
	} {
		if press(m, step.key); first() != step.want {
			t.Errorf("%s: %s, want %s", step.key, first(), step.want)
		}
	}
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 60})
	if first() != "n44" {
		t.Errorf("a larger window begins with %s", first())
	}
}

// A node that goes silent is said to, and then forgotten; so is a connection that is lost, and what was known stays; a pause stops all.
func TestModelSilence(t *testing.T) {
	m := modelOfThree()
	later := func(d time.Duration) { m.Update(ticked(began.Add(d))) }
	later(3 * time.Second)
	if strings.Contains(shown(m), "silent") {
		t.Error("silent too early")
	}
	m.Update(heard{report: told(1), at: began.Add(6 * time.Second)})
	if got := strings.Count(shown(m), "silent"); got != 2 {
		t.Errorf("%d silent\n%s", got, shown(m))
	}
	m.Update(lost{errors.New("broken\x1b[31m pipe")})
	later(90 * time.Second)
	if s := shown(m); !strings.Contains(s, "NO CONNECTION, trying again: broken?[31m pipe") || len(m.mesh.nodes) != 3 {
		t.Errorf("lost:\n%s", s)
	}
	m.Update(met{})
	press(m, "p")
	later(91 * time.Second)
	m.Update(heard{report: told(2), at: began.Add(92 * time.Second)})
	if s := shown(m); !strings.Contains(s, "PAUSED") || len(m.mesh.nodes) != 3 || strings.Contains(s, "NO CONNECTION") {
		t.Errorf("paused:\n%s", s)
	}
	press(m, "p")
	later(93 * time.Second)
	if len(m.mesh.nodes) != 0 || !strings.Contains(shown(m), "reports come within seconds") {
		t.Errorf("%d nodes\n%s", len(m.mesh.nodes), shown(m))
	}
	m.Update(heard{err: errReport})
	if !strings.Contains(shown(m), "1 messages were no reports") {
		t.Errorf("%s", shown(m))
	}
	if _, cmd := m.Update(ended{ErrRefused}); cmd == nil || !errors.Is(m.fatal, ErrRefused) {
		t.Error("goes on although refused")
	}
}

// Whatever nodes say and however small the terminal is, the screen has its height, no line is wider, and nothing in it is for the terminal but looks.
func TestScreenFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(rapid.String().Draw(t, "url"), began)
		for i := range rapid.IntRange(0, 30).Draw(t, "nodes") {
			r := told(1)
			r.Node.ID, r.Node.Name, r.Node.Region = wire.NodeID(i+1), rapid.String().Draw(t, "name"), rapid.String().Draw(t, "region")
			r.Rates.Published = rapid.Float64().Draw(t, "rate")
			r.Events = []report.Event{{Kind: report.Rerouted, Name: rapid.String().Draw(t, "event"), Path: []string{rapid.String().Draw(t, "hop")}}}
			r.Drops = map[string]float64{rapid.String().Draw(t, "reason"): 1}
			payload, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			back, err := parseReport(report.Channel(r.Node.ID), payload)
			m.Update(heard{back, err, began})
		}
		width, height := rapid.IntRange(20, 200).Draw(t, "width"), rapid.IntRange(6, 60).Draw(t, "height")
		m.Update(tea.WindowSizeMsg{Width: width, Height: height})
		for range rapid.IntRange(0, 10).Draw(t, "keys") {
			press(m, rapid.SampledFrom([]string{"1", "2", "3", "tab", "s", "r", "/", "enter", "down", "end", "pgup", "é", "p"}).Draw(t, "key"))
		}
		lines := strings.Split(shown(m), "\n")
		if len(lines) != height {
			t.Fatalf("%d lines, want %d", len(lines), height)
		}
		for _, line := range lines {
			if ansi.StringWidth(line) > width {
				t.Fatalf("%q is wider than %d", line, width)
			}
			for _, r := range line {
				if !unicode.IsPrint(r) {
					t.Fatalf("%q has %U", line, r)
				}
			}
		}
	})
}

func TestNarrow(t *testing.T) {
	m := modelOfThree()
	n := m.mesh.nodes[1]
	n.Node.Name, n.Node.Region = strings.Repeat("name", 12), strings.Repeat("region", 10)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	row := strings.Split(shown(m), "\n")[3:6]
	if !strings.Contains(strings.Join(row, "\n"), "2.5     - 60m") || strings.Contains(shown(m), "REGION") {
		t.Errorf("numbers are cut at 80 columns:\n%s", shown(m))
	}
	m.Update(tea.WindowSizeMsg{Width: 40, Height: 24})
	if row = strings.Split(shown(m), "\n")[2:5]; strings.Join(row, "\n") != `NODE      STATE CLIENTS LINKS PUB/s IN/s
namename~ ok          1   2/2    10  5.0
nyc       ok          3   1/2    30  5.0` {
		t.Errorf("at 40 columns:\n%s", strings.Join(row, "\n"))
	}
	m.Update(lost{fmt.Errorf("client: dial: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")})})
	if s := shown(m); !strings.Contains(s, "NO CONNECTION, trying again: dial tcp: ") {
		t.Errorf("why there is no connection does not fit:\n%s", s)
	}
}

func TestBounds(t *testing.T) {
	m := NewMesh()
	r := told(1)
	for i := range nodesMost + 10 {
		r.Node.ID = wire.NodeID(i + 1)
		r.Events = []report.Event{{Kind: report.Joined}}
		r.Missed = 1
		m.hear(r, began)
	}
	if len(m.nodes) != nodesMost || len(m.events) != eventsMost || m.missed != nodesMost {
		t.Errorf("%d nodes, %d events, %d missed", len(m.nodes), len(m.events), m.missed)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.04: "0.0", 9.94: "9.9", 9.96: "10", 1234: "1234", 99_949: "99949", 100_000: "100k", 12_345_678: "12M"} {
		if got := short(n); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{90 * time.Second: "90s", 5 * time.Minute: "5m", 47 * time.Hour: "47h", 72 * time.Hour: "3d"} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	for id := range wire.NodeID(3) {
		b, err := json.Marshal(told(id + 1))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(report.Channel(id+1), b)
	}
	f.Add("$mesh.0000000000000001", []byte(`{"node":{"id":"0000000000000001","name":"\u001b[2J"},"every_s":1,"events":[{"path":["\u009b"]}],"drops":{"\n":1}}`))
	f.Fuzz(func(t *testing.T, channel string, payload []byte) {
		r, err := parseReport(channel, payload)
		if err != nil {
			return
		}
		m := NewMesh()
		m.hear(r, began)
		var out bytes.Buffer
		w := writer{o: Options{Out: &out}, mesh: m}
		if err := w.write(began); err != nil {
			t.Fatal(err)
		}
		for _, line := range eventsTable(m).lines(0, -1) {
			fmt.Fprintln(&out, line)
		}
		for _, c := range out.String() {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Fatalf("%U reaches the terminal", c)
			}
		}
	})
}
