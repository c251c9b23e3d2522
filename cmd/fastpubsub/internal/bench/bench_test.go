package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate"
)

// reported runs a bench and reads its report.
func reported(t *testing.T, cfg Config) (r Report, err error) {
	t.Helper()
	var out bytes.Buffer
	cfg.Out, cfg.JSON = &out, true
	err = Run(t.Context(), cfg)
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
	}
	return r, err
}

// what holds of a tour anywhere.
func checkTour(t *testing.T, r Report) {
	t.Helper()
	keys := map[string]string{
		"latency": "p50_us p99_9_us max_us publisher_late_p99_us", "throughput": "messages_per_s megabytes_per_s", "idle": "connections_per_s",
		"load": "rate_per_s p99_us p99_to_p50", "slow": "without_p99_us with_p99_us p50_ratio p99_ratio slow_missed slow_told slow_cut",
		"fanout": "client_cores", "channels": "messages_per_s setup_s",
	}
	for _, result := range r.Results {
		for key := range strings.FieldsSeq(keys[result.Scenario]) {
			median, known := result.Median[key]
			if !known && strings.HasSuffix(key, "_per_s") {
				continue // a busy machine may deliver nothing in so short a time
			}
			if !known || median < 0 || result.Lowest[key] > median || median > result.Highest[key] {
				t.Errorf("%s: %s is %v, %v, %v", result.What, key, result.Lowest[key], result.Median[key], result.Highest[key])
			}
		}
		if c := result.Counts; c.broken() || c.Delivered != c.Sent {
			t.Errorf("%s: %+v", result.What, c)
		}
	}
}

// A tour of a mesh by its addresses, with what can be known of it.
func TestTourByAddress(t *testing.T) {
	pub, sub := startMesh(t)
	cfg := small(nil, Target{URL: pub, SubURL: sub, Tenant: "t"})
	cfg.Repetitions, cfg.Load.Sizes = 2, []int{minSize, 8192}
	r, err := reported(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 15 {
		t.Fatalf("%d results", len(r.Results))
	}
	checkTour(t, r)
	for _, result := range r.Results {
		if _, known := result.Median["node_cores"]; known {
			t.Errorf("%s: knows the processes of others", result.What)
		}
		if result.Scenario == "fanout" && result.Counts.Sent%40 != 0 { // subscribers
			t.Errorf("%s: %+v", result.What, result.Counts)
		}
	}
	// Each message of a schedule is sent: 0.25 s at 200/s, twice.
	if c := r.Results[0].Counts; c.Sent != 100 {
		t.Errorf("%+v", c)
	}
}

// A tour on processes that the bench starts and ends (invariant 5), in text.
func TestTourOfProcesses(t *testing.T) {
	t.Setenv("FASTPUBSUB_JOIN", "not an address") // must not reach the nodes
	for _, nodes := range []int{1, 3} {
		var out bytes.Buffer
		if err := Run(t.Context(), small(&out, Target{Nodes: nodes})); err != nil {
			t.Fatal(err)
		}
		for _, want := range append(Names(), "P99.9 µs", "0 lost, 0 twice, 0 out of order", "NODE CPU s/M", "once") {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%d nodes: no %q in\n%s", nodes, want, out.String())
			}
		}
	}
}

func TestProcessesOnLinux(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("nothing tells of processes here")
	}
	cfg := small(nil, Target{})
	cfg.Scenarios, cfg.Load.Connections, cfg.Load.Subscribers = []string{"throughput", "idle"}, 200, 200
	r, err := reported(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkTour(t, r)
	for _, result := range r.Results {
		if result.Median["node_rss_mb"] <= 0 {
			t.Errorf("%s: %v", result.What, result.Median)
		}
	}
	if perConnection := r.Results[2].Median["kib_per_connection"]; perConnection <= 0 {
		t.Errorf("%v KiB a connection", perConnection)
	}
}

func TestClusterFailures(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startCluster(t.Context(), program+".missing", 1); err == nil {
		t.Error("started what is not there")
	}
	if _, err := startProcess(t.Context(), program, []string{"-test.run=^$"}); err == nil || !strings.Contains(err.Error(), "did not start") {
		t.Errorf("a program that is no node: %v", err)
	}
	c, err := startCluster(t.Context(), program, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	_ = c.nodes[1].cmd.Process.Kill()
	<-c.nodes[1].exited
	if err := c.ready(t.Context()); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("a node that was killed: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := startCluster(ctx, program, 2); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

// A node that dies while it is measured is an error, and so is the end of the context; in both cases Run returns.
func TestRunEnds(t *testing.T) {
	pub, sub := startMesh(t)
	cfg := small(new(bytes.Buffer), Target{URL: pub, SubURL: sub})
	cfg.Duration = time.Hour
	for _, name := range Names() {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		cfg.Scenarios = []string{name}
		if err := Run(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	cfg.Scenarios = []string{"latency"}
	cfg.Target = Target{URL: serve(t, nil, func(ctx context.Context, ws *websocket.Conn) {
		for range 3 {
			kind, line, _ := ws.Read(ctx)
			if kind == websocket.MessageText {
				_ = text(ctx, ws, "OK:"+string(line))
			}
		}
		_ = ws.Close(websocket.StatusGoingAway, "enough")
	})}
	if err := Run(t.Context(), cfg); err == nil || errors.Is(err, ErrBroken) {
		t.Errorf("a node that closes: %v", err)
	}
}

// mischief is a Broker alone in its mesh that does to each tenth message what a mesh must not do.
type mischief struct {
	hub  *wsgate.Hub
	kind string

	mu   sync.Mutex // guards what follows
	held *channel.Message
}

func (b *mischief) Publish(_ context.Context, m channel.Message) error {
	for payload := range m.Payloads {
		b.pass(channel.Message{Tenant: m.Tenant, Channel: m.Channel, Mode: m.Mode, Payload: payload})
	}
	return nil
}

// pass passes one message on, or not.
func (b *mischief) pass(m channel.Message) {
	s, _ := parseStamp(m.Payload)
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.number == probeNumber || s.number%10 != 5 {
		b.hub.Deliver(m)
		if b.held != nil {
			b.hub.Deliver(*b.held)
			b.held = nil
		}
		return
	}
	switch b.kind {
	case "none":
		b.hub.Deliver(m)
	case "lost":
	case "twice":
		b.hub.Deliver(m)
		b.hub.Deliver(m)
	case "swapped":
		if b.held != nil { // of another channel
			b.hub.Deliver(*b.held)
		}
		m.Payload = bytes.Clone(m.Payload)
		b.held = &m
		time.AfterFunc(50*time.Millisecond, b.release) // should none come after it
	}
}

// release delivers what is held.
func (b *mischief) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held != nil {
		b.hub.Deliver(*b.held)
		b.held = nil
	}
}
func (*mischief) SetInterest(string, channel.Pattern, bool) {}
func (*mischief) AfterSpread(func())                        {}

func TestBroken(t *testing.T) {
	for _, kind := range []string{"lost", "twice", "swapped"} {
		cfg := small(nil, Target{URL: gate(t, kind, wsgate.Config{})})
		cfg.Scenarios = []string{"latency", "throughput", "fanout", "slow"}
		if kind == "lost" { // so many that there is no throughput to take a share of
			cfg.Scenarios = append(cfg.Scenarios, "load")
		}
		r, err := reported(t, cfg)
		if !errors.Is(err, ErrBroken) || len(r.Results) != len(cfg.Scenarios)+2 {
			t.Fatalf("%s: %v, %d results", kind, err, len(r.Results))
		}
		for _, result := range r.Results {
			c := result.Counts
			one := map[string]uint64{"lost": c.Lost, "twice": c.Duplicates, "swapped": c.OutOfOrder}
			for other, n := range one {
				if (n > 0) != (other == kind) {
					t.Errorf("%s: %s: %+v", kind, result.What, c)
				}
			}
			if c.Delivered+c.Lost != c.Sent {
				t.Errorf("%s: %s: %+v", kind, result.What, c)
			}
		}
	}
}

// gate serves clients, alone in its mesh, with a mischief of some kind.
func gate(t *testing.T, kind string, cfg wsgate.Config) (address string) {
	t.Helper()
	cfg.Hub = wsgate.NewHub(wsgate.HubConfig{})
	cfg.Broker = &mischief{hub: cfg.Hub, kind: kind}
	server, err := wsgate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = server.Serve(ctx, listener) })
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	return "ws://" + listener.Addr().String() + "/ws"
}

// serve serves WebSocket connections, to be misused.
func serve(t *testing.T, protocols []string, each func(context.Context, *websocket.Conn)) string {
	t.Helper()
	if protocols == nil {
		protocols = []string{subprotocol}
	}
	ctx, cancel := context.WithCancel(t.Context())
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: protocols})
		if err == nil {
			defer func() { _ = ws.CloseNow() }()
			each(ctx, ws)
		}
	}))
	t.Cleanup(func() {
		cancel()
		web.Close()
	})
	return "ws" + strings.TrimPrefix(web.URL, "http") + "/ws"
}

// Invariant 4: nothing that a node sends is taken for what it is not, and each ends the run with an error that tells.
func TestForeignNodes(t *testing.T) {
	delivery := func(s stamp, patterns ...string) []byte {
		payload := make([]byte, minSize)
		s.put(payload)
		return appendDelivery(nil, "~", "c", payload, patterns...)
	}
	answers := map[string]func(ctx context.Context, ws *websocket.Conn) error{
		"not answered": func(context.Context, *websocket.Conn) error { return nil },
		"reports":      func(ctx context.Context, ws *websocket.Conn) error { return text(ctx, ws, "ERR:permission_denied") },
		"malformed": func(ctx context.Context, ws *websocket.Conn) error {
			return ws.Write(ctx, websocket.MessageBinary, []byte{2})
		},
		"closed": func(_ context.Context, ws *websocket.Conn) error {
			return ws.Close(websocket.StatusPolicyViolation, "no")
		},
		"lost": func(_ context.Context, ws *websocket.Conn) error { return ws.CloseNow() },
		"not what was": func(ctx context.Context, ws *websocket.Conn) error {
			return ws.Write(ctx, websocket.MessageBinary, delivery(stamp{7, 9, 0, 0}, "c"))
		},
		"by 2 patterns": func(ctx context.Context, ws *websocket.Conn) error {
			return ws.Write(ctx, websocket.MessageBinary, delivery(stamp{7, 0, 0, 0}, "c", "*"))
		},
	}
	for want, answer := range answers {
		address := serve(t, nil, func(ctx context.Context, ws *websocket.Conn) {
			_, _, _ = ws.Read(ctx)
			ctx = ws.CloseRead(ctx) // for the pong
			_ = text(ctx, ws, "whatever this is")
			_ = text(ctx, ws, "ERR:slow_consumer:3")
			if err := ws.Ping(ctx); err != nil {
				t.Errorf("%s: ping: %v", want, err)
			}
			if answer(ctx, ws) == nil {
				<-ctx.Done()
			}
		})
		cfg, err := small(nil, Target{URL: address}).normal()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("not answered"))
		if want != "not answered" {
			ctx, cancel = context.WithCancel(t.Context())
		}
		r, playing := newRig(ctx, cfg, address, address)
		r.repetition = 7
		a := newAudience(r, []string{"c"}, 1, 1)
		err = a.gather(playing, 1, a.inTurn(1), itself)
		if err != nil {
			err = context.Cause(playing)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		r.close()
		cancel()
	}
}

func text(ctx context.Context, ws *websocket.Conn, line string) error {
	return ws.Write(ctx, websocket.MessageText, []byte(line))
}

func TestHandshake(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer AT_1_2" {
			w.WriteHeader(401)
			return
		}
		w.WriteHeader(418)
	}))
	defer refusing.Close()
	address := "ws" + strings.TrimPrefix(refusing.URL, "http")
	for _, test := range []struct{ address, token, want string }{
		{address, "", "401"},
		{address, "AT_1_2", "418"},
		{serve(t, []string{"other"}, func(context.Context, *websocket.Conn) {}), "", "does not speak llps.v1"},
		{"ws://127.0.0.1:1/ws", "", "connect"},
		{"wss" + strings.TrimPrefix(address, "ws"), "", "connect"},
	} {
		c, _, err := dialWebSocket(t.Context(), &net.Dialer{}, test.address, test.token)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.address, err, test.want)
		}
		if c != nil {
			t.Error("a connection all the same")
		}
	}
	if got := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455, section 1.3
		t.Errorf("accept %s", got)
	}
}

// A connection's subscribers have patterns of their own, which all match.
func TestCrowdPatterns(t *testing.T) {
	cfg, err := Config{Load: Load{Subscribers: 512, Connections: 2}}.normal()
	if err != nil {
		t.Fatal(err)
	}
	r, _ := newRig(t.Context(), cfg, "", "")
	defer r.close()
	a := cfg.crowd(r, 1)
	distinct := map[string]bool{}
	for _, text := range a.crowdPatterns(a.channels[0]) {
		distinct[text] = true
		p, err := channel.ParsePattern(text)
		if err != nil || !p.Matches(a.channels[0]) {
			t.Errorf("%s for %s: %v", text, a.channels[0], err)
		}
	}
	if len(distinct) != 256 {
		t.Errorf("%d patterns: %v", len(distinct), slices.Sorted(maps.Keys(distinct)))
	}
}

func FuzzParseAddresses(f *testing.F) {
	f.Add("node a (e4c7)\n  nodes    udp 127.0.0.1:7946\n  clients  ws://127.0.0.1:8080/ws\n  join it  fastpubsub node\n")
	f.Fuzz(func(t *testing.T, text string) {
		found := make(chan addresses, 1)
		readAddresses(strings.NewReader(text), found)
		select {
		case a := <-found:
			if a.node == "" || a.gate == "" || !strings.Contains(text, a.node) || !strings.Contains(text, a.gate) {
				t.Fatalf("%+v", a)
			}
		default:
		}
	})
}
