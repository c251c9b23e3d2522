package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/report"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/fastpubsub/fastpubsub/testdata"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
	"github.com/fastpubsub/fastpubsub/wsgate/token"
	"github.com/fastpubsub/fastpubsub/wsgate/web"
)

// hop is what a relay's own work counts in a link's cost by default.
const hop = 500 * time.Microsecond

// stage is one gateway that stands for all nodes of a mesh in 36 cities, with reports of them as the test wants them.
type stage struct {
	hub    *wsgate.Hub
	addr   string
	matrix *wan.Matrix
	places map[string]wan.Place
	down   map[[2]int]bool // links, both ways
	silent map[int]bool    // nodes that do not report
}

func (s *stage) Publish(_ context.Context, m channel.Message) error {
	s.hub.Deliver(m)
	return nil
}

func (s *stage) SetInterest(string, channel.Pattern, bool) {}

func (s *stage) AfterSpread(f func()) { f() }

func idOf(site int) wire.NodeID { return wire.NodeID(site+1) << 32 }

func openStage(t *testing.T, authority *access.Authority) *stage {
	t.Helper()
	matrix, err := wan.ParseMatrix(bytes.NewReader(testdata.Metro36CSV()))
	if err != nil {
		t.Fatal(err)
	}
	places, err := wan.ParsePlaces(bytes.NewReader(testdata.Metro36Places()))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{hub: wsgate.NewHub(wsgate.HubConfig{}), addr: l.Addr().String(), matrix: matrix, places: places, down: map[[2]int]bool{}, silent: map[int]bool{}}
	server, err := wsgate.New(wsgate.Config{
		Hub: s.hub, Broker: s, Authority: authority, Home: web.Dashboard, Handlers: map[string]http.Handler{"GET " + web.Prefix: web.Handler()},
		Describe: func() any { return core.View{Node: core.NodeView{ID: idOf(0), Name: matrix.Names()[0]}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// oneWay is the latency of a link, the same in both directions.
func (s *stage) oneWay(a, b int) time.Duration {
	there, _ := s.matrix.OneWay(a, b)
	back, _ := s.matrix.OneWay(b, a)
	return (there + back) / 2
}

// report has all nodes report once, one of them what happened.
func (s *stage) report(t *testing.T, by int, happened ...report.Event) {
	t.Helper()
	names := s.matrix.Names()
	for site, name := range names {
		if s.silent[site] {
			continue
		}
		place := s.places[name]
		r := report.Report{
			Node:  core.NodeView{ID: idOf(site), Name: name, Region: place.Country, Addr: fmt.Sprintf("192.0.2.%d:7946", site+1), Client: s.addr, Lat: &place.Lat, Lon: &place.Lon, Uptime: float64(3600 + site)},
			Every: 0.25, Members: len(names) - len(s.silent), Routes: len(names) - 1,
			Rates: report.Rates{Published: float64(10 + site%7), Relayed: float64(site * site % 23), Delivered: float64(40 + 5*site%31), Connections: int64(2 + site%5)},
		}
		if site == by {
			r.Events = happened
		}
		for to := range names {
			if to == site || s.silent[to] {
				continue
			}
			up := !s.down[[2]int{min(site, to), max(site, to)}]
			rtt := float64(2*s.oneWay(site, to)) / float64(time.Millisecond)
			l := report.Link{To: idOf(to), Up: up, RTT: rtt, Out: float64((site * to) % 40), In: float64((site * to) % 40), Sent: 130 * float64((site*to)%40)}
			if up {
				l.Cost = rtt/2 + 0.5
			}
			r.Links = append(r.Links, l)
		}
		payload, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		s.hub.Deliver(channel.Message{Tenant: report.Tenant, Channel: report.Channel(idOf(site)), Payload: payload})
	}
}

// site is where a city is in the matrix.
func (s *stage) site(t *testing.T, name string) int {
	t.Helper()
	i, ok := s.matrix.Index(name)
	if !ok {
		t.Fatal("no city", name)
	}
	return i
}

// openPage opens an address in a new tab, in which nothing may go wrong.
func openPage(t *testing.T, browser context.Context, url string) context.Context {
	t.Helper()
	tab := openTab(t, browser, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("page: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
		case *runtime.EventConsoleAPICalled:
			for _, arg := range e.Args {
				t.Errorf("page: console: %s", arg.Value)
			}
		case *log.EventEntryAdded: // as of a Content-Security-Policy
			if !strings.Contains(e.Entry.Text, "401") { // which the page asks for
				t.Errorf("page: %s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	})
	do(t, tab, chromedp.EmulateViewport(1440, 900), chromedp.Navigate(url))
	return tab
}

// choose chooses an option of a select by its text.
func choose(t *testing.T, tab context.Context, id, option string) {
	t.Helper()
	await(t, tab, `(() => { const s = document.querySelector(%q); const o = [...s.options].find(o => o.text === %q); if (!o) return false; s.value = o.value; s.dispatchEvent(new Event('change')); return true })()`, id, option)
}

// dress sets the theme, by the button, and the size of the window.
func dress(t *testing.T, tab context.Context, scheme string, width, height int64) {
	t.Helper()
	do(t, tab, chromedp.EmulateViewport(width, height))
	await(t, tab, `document.documentElement.dataset.theme === %q || document.querySelector('#theme').click()`, scheme)
	await(t, tab, `innerWidth === %d`, width)
}

// accessible lets axe-core look for what people with disabilities could not use in the whole page.
func accessible(t *testing.T, tab context.Context, name string) {
	t.Helper()
	pictured(t, tab, name)
	found, err := chromedp.Run(tab, chromedp.Evaluate[string](axe(t)+`;axe.run().then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ' ' + n.target + ' ' + n.failureSummary)).join('\n'))`, chromedp.EvalAwaitPromise))
	if err != nil || found != "" {
		t.Errorf("%s: %v\n%s", name, err, found)
	}
}

// pictured makes sure that nothing is wider than the window, and with -artifacts keeps a picture for people.
func pictured(t *testing.T, tab context.Context, name string) {
	t.Helper()
	await(t, tab, `document.documentElement.scrollWidth <= innerWidth`)
	if flag.Lookup("test.artifacts").Value.String() != "true" {
		return
	}
	picture, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), picture, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// scroll brings a part of the page to the top of the window.
func scroll(t *testing.T, tab context.Context, id string) {
	t.Helper()
	do(t, tab, chromedp.Evaluate[chromedp.Void](`document.querySelector('`+id+`').scrollIntoView({ behavior: 'instant' }), undefined`))
}

// axe is the text of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	packed, err := os.Open("testdata/axe.min.js.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDashboard(t *testing.T) {
	browser := startBrowser(t)
	t.Run("of an open mesh", func(t *testing.T) { testDashboard(t, browser) })
	t.Run("wants a token", func(t *testing.T) { testDashboardWantsToken(t, browser) })
}

// testDashboard: the map and the graph follow what nodes report, routes are the shortest paths, and all of it can be used by keyboard and read by anybody.
func testDashboard(t *testing.T, browser context.Context) {
	s := openStage(t, nil)
	tab := openPage(t, browser, "http://"+s.addr+"/")
	await(t, tab, `document.body.dataset.status === 'open' && location.pathname === %q`, web.Dashboard)
	await(t, tab, `document.querySelector('#here').textContent === 'at %s'`, s.matrix.Names()[0])
	accessible(t, tab, "empty")
	stop := s.keepReporting(t)
	await(t, tab, `document.querySelector('#tile-nodes').textContent === '36' && document.querySelector('#tile-links').textContent === '630'`)

	t.Run("routes", func(t *testing.T) {
		choose(t, tab, "#node", "NewDelhi")
		want := s.costs(t, s.site(t, "NewDelhi"))
		await(t, tab, `document.querySelectorAll('#side-routes tr').length === 35`)
		text, err := chromedp.Run(tab, chromedp.Evaluate[string](`[...document.querySelectorAll('#side-routes tr')].map(r => r.cells[0].textContent + ' ' + r.cells[1].textContent).sort().join('\n')`))
		if err != nil || text != strings.Join(want, "\n") {
			t.Errorf("routes, %v:\n%s\nwant:\n%s", err, text, strings.Join(want, "\n"))
		}
		dress(t, tab, "light", 1440, 1000)
		accessible(t, tab, "node-light")
		do(t, tab, chromedp.Click(chromedp.CSS("#view-graph")))
		dress(t, tab, "dark", 1440, 1000)
		await(t, tab, `document.querySelector('#view-graph').getAttribute('aria-pressed') === 'true'`)
		accessible(t, tab, "graph-dark")
		do(t, tab, chromedp.Click(chromedp.CSS("#view-map")))
	})
	t.Run("keyboard", func(t *testing.T) {
		do(t, tab, chromedp.Evaluate[chromedp.Void](`document.querySelector('#canvas').focus()`))
		press := func(key string) {
			do(t, tab, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: %q, bubbles: true })), undefined`, key)))
		}
		press("ArrowLeft")
		await(t, tab, `document.querySelector('#node').selectedOptions[0].text !== 'NewDelhi' && document.querySelector('#node').value !== ''`)
		press("Escape")
		await(t, tab, `document.querySelector('#node').value === '' && document.querySelector('#side').hidden`)
	})
	t.Run("overlay", func(t *testing.T) {
		do(t, tab, chromedp.SendKeys(chromedp.CSS("#overlay-filter"), "auckl"))
		await(t, tab, `document.querySelectorAll('#overlay-rows tr').length === 35`)
		do(t, tab, chromedp.Click(chromedp.CSS("#overlay-rows tr:first-child button")))
		await(t, tab, `document.querySelector('#overlay-rows tr:first-child').getAttribute('aria-current') === 'true'`)
		dress(t, tab, "light", 1440, 1000)
		scroll(t, tab, "#overlay-card")
		pictured(t, tab, "overlay-light")
	})
	t.Run("try it", func(t *testing.T) {
		choose(t, tab, "#sub-node", "Sydney")
		choose(t, tab, "#pub-node", "London")
		do(t, tab, chromedp.Click(chromedp.CSS("#try-sub button")))
		await(t, tab, `document.querySelector('#sub-state').textContent.includes('the whole mesh knows')`)
		do(t, tab, chromedp.Click(chromedp.CSS("#try-pub button")))
		await(t, tab, `/^try.hello Hello \d.* ms .* ms .* ms London\u00a0> .*Sydney$/.test([...(document.querySelector('#try-rows tr')?.cells ?? [])].map(c => c.textContent).join(' '))`)
		dress(t, tab, "dark", 1440, 1000)
		scroll(t, tab, "#try-card")
		pictured(t, tab, "try-dark")
	})
	stop()
	s.fault(t, tab)
	for _, scheme := range []string{"light", "dark"} {
		dress(t, tab, scheme, 390, 844)
		for _, part := range []string{"tiles", "overlay-card", "rates-card", "events-card", "try-card"} {
			scroll(t, tab, "#"+part)
			pictured(t, tab, "phone-"+part+"-"+scheme)
		}
		accessible(t, tab, "phone-"+scheme)
	}
}

// fault has a link break, a path in use go elsewhere and a node go silent; the page must show each.
func (s *stage) fault(t *testing.T, tab context.Context) {
	t.Helper()
	london, seoul := s.site(t, "London"), s.site(t, "Seoul")
	s.report(t, -1)
	s.down[[2]int{min(london, seoul), max(london, seoul)}] = true
	s.report(t, london, report.Event{Kind: report.LinkDown, Node: idOf(seoul), Name: "Seoul"},
		report.Event{Kind: report.Rerouted, Node: idOf(seoul), Name: "Seoul", Path: []string{"London", "Singapore", "Seoul"}, Was: []string{"London", "Seoul"}, Cost: 128.5, Prev: 120})
	await(t, tab, `document.querySelector('#events').textContent.includes('Re-routed London to Seoul: Singapore (129 ms), was direct (120 ms)')`)
	await(t, tab, `document.querySelector('#events').textContent.includes('Link down London – Seoul')`)
	s.report(t, seoul, report.Event{Kind: report.LinkDown, Node: idOf(london), Name: "London"},
		report.Event{Kind: report.Rerouted, Node: idOf(london), Name: "London", Path: []string{"Seoul", "Singapore", "London"}, Was: []string{"Seoul", "London"}, Cost: 128.5, Prev: 120})
	await(t, tab, `document.querySelector('#events').textContent.includes('Re-routed London – Seoul: Singapore (129 ms), was direct (120 ms)')`) // both ways
	choose(t, tab, "#node", "London")
	stop := s.keepReporting(t)
	await(t, tab, `document.querySelector('#tile-links').textContent === '629' && [...document.querySelectorAll('#side-routes tr')].some(r => r.cells[0].textContent === 'Seoul' && r.cells[2].textContent === '–' && r.cells[3].textContent === 'only way')`)
	await(t, tab, `[...document.querySelectorAll('#events li')].filter(e => e.textContent.includes('Link down')).length === 1`) // though both ends told
	dress(t, tab, "dark", 1440, 1000)
	scroll(t, tab, "#tiles")
	pictured(t, tab, "node-dark")
	scroll(t, tab, "#rates-card")
	pictured(t, tab, "rates-dark")
	dress(t, tab, "light", 1440, 1000)
	pictured(t, tab, "rates-light")
	stop()
	var left []report.Event
	for site := range 30 {
		left = append(left, report.Event{Kind: report.Left, Node: idOf(100 + site), Name: fmt.Sprint("n", site)})
	}
	s.report(t, london, left...)
	s.report(t, seoul, left...)
	await(t, tab, `document.querySelector('#events').textContent.includes('Left 26 more at the same time') && [...document.querySelectorAll('#events li')].filter(e => /Left n\d+, seen by 2 nodes/.test(e.textContent)).length === 4`)
	s.silent[seoul] = true
	t.Cleanup(s.keepReporting(t))
	await(t, tab, `document.querySelector('#tile-nodes').textContent === '35' && [...document.querySelector('#node').options].every(o => o.text !== 'Seoul')`)
}

// keepReporting has nodes report four times a second until stop, which may be called twice, or the test ends.
func (s *stage) keepReporting(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			s.report(t, -1)
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// costs are the shortest paths from a node, as the page shows them.
func (s *stage) costs(t *testing.T, from int) (lines []string) {
	t.Helper()
	n := s.matrix.Len()
	best := make([]time.Duration, n)
	for to := range best {
		best[to] = time.Hour
	}
	best[from] = 0
	for range n { // Bellman and Ford's
		for a := range n {
			for b := range n {
				if a != b {
					best[b] = min(best[b], best[a]+s.oneWay(a, b)+hop)
				}
			}
		}
	}
	for to, cost := range best {
		if ms := float64(cost) / float64(time.Millisecond); to != from {
			format := "%s %.0f"
			if ms < 10 {
				format = "%s %.1f"
			}
			lines = append(lines, fmt.Sprintf(format, s.matrix.Names()[to], ms))
		}
	}
	slices.Sort(lines)
	return lines
}

// testDashboardWantsToken: where clients need tokens the page asks for one, says what it must allow, and works with it.
func testDashboardWantsToken(t *testing.T, browser context.Context) {
	keys, err := token.NewKeys(token.KeysConfig{Secret: []byte("a secret of the whole mesh")})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := access.New(access.Config{Keys: keys}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(rule string) string {
		rights, err := token.NewRights(token.Statement{TenantGrants: []token.Grant{{TenantIDs: []string{"~"}, AllowChannelsSub: []string{rule}}}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := authority.Issue(token.Request{Rights: rights, Expires: time.Now().Add(time.Hour).Truncate(time.Second), CreatedBy: "test"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	s := openStage(t, authority)
	s.keepReporting(t)
	tab := openPage(t, browser, "http://"+s.addr+"/")
	await(t, tab, `!document.querySelector('#login').hidden && document.querySelector('#login-why').textContent.includes('$mesh.#')`)
	accessible(t, tab, "login")
	do(t, tab, chromedp.SendKeys(chromedp.CSS("#token"), issue("$mesh.#")+"\r"))
	await(t, tab, `document.querySelector('#login').hidden && document.querySelector('#tile-nodes').textContent === '36'`)
	do(t, tab, chromedp.Reload())
	await(t, tab, `document.querySelector('#tile-nodes').textContent === '36'`) // the tab remembers
}
