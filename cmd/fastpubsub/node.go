package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/metrics"
	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/report"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
	"github.com/fastpubsub/fastpubsub/wsgate/web"
	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// nodeCommand runs a node.
type nodeCommand struct {
	Listen       string        `default:"127.0.0.1:7946" help:"UDP address for other nodes." placeholder:"HOST:PORT"`
	Advertise    string        `help:"Address that other nodes reach this one at; needed behind NAT." placeholder:"HOST:PORT"`
	WS           string        `name:"ws" env:"FASTPUBSUB_WS" default:"127.0.0.1:8080" help:"TCP address for clients. On Linux a second process of the same user may take it over: start it with the same --ws, another --listen and another --data-dir, then send the first SIGTERM." placeholder:"HOST:PORT"`
	AdvertiseWS  string        `name:"advertise-ws" env:"FASTPUBSUB_ADVERTISE_WS" help:"Address that clients reach this node at; needed behind NAT." placeholder:"HOST:PORT"`
	Join         []string      `help:"Address of any live node of the mesh; may be given several times. fps://SECRET@HOST:PORT carries the mesh secret, too, which others on the machine can then read." placeholder:"HOST:PORT"`
	Name         string        `help:"Name of this node, for people."`
	Region       string        `help:"Region of this node, for people and clients."`
	Geo          string        `help:"Where this node is, in degrees." placeholder:"LAT,LON"`
	DataDir      string        `help:"Directory that keeps the node's key, the members last known, and which tokens were revoked; without it every start is a new node." placeholder:"DIR" type:"path"`
	Drain        time.Duration `default:"25s" help:"How long clients have to go elsewhere after SIGTERM. Ten seconds more may pass until the process ends, so whatever kills it should wait for longer. A second signal ends the wait."`
	DrainSpread  time.Duration `default:"10s" help:"Time over which a node that drains tells its clients to reconnect; at least 10s less than --drain."`
	TCP          bool          `default:"true" negatable:"" help:"Also listen on the TCP port with the number of --listen, by which nodes less than 2 ms apart exchange messages at a third of the cost, where they can."`
	FullMesh     int           `default:"128" help:"Number of nodes up to which all are linked to each other. In a larger mesh a node has links to the nearest, some others, and where its messages go. Nodes may differ in it."`
	Open         bool          `help:"Where no mesh secret keeps other nodes out, or no tokens clients: let anybody who reaches the addresses join and connect. Without it only loopback addresses are allowed there."`
	trustOptions `embed:""`
	tokenOptions `embed:""`
	tlsOptions   `embed:""`
	limitOptions `embed:""`
	LogLevel     string `default:"info" enum:"trace,debug,info,warn,error" help:"Least level logged (${enum})."`
	LogFormat    string `default:"auto" enum:"auto,console,json" help:"How logs look (${enum}): auto is console on a terminal, else JSON."`
}

// heapFloor is a heap that the collector counts but that is never touched, and so takes no memory: without it the few MB that live in a node would be
// gone through after each few MB of passing messages.
const heapFloor = 24 << 20

// gcPercent is how far the heap, floor included, grows between collections, unless GOGC says otherwise: less than Go's 100, since a large heap here is mostly
// subscriptions, which are no garbage.
const gcPercent = 50

// collectAt sets when the collector runs; the heap's floor, which it returns, must stay alive.
func collectAt() (floor []byte) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return make([]byte, heapFloor)
}

// Run runs the node until the context ends.
func (c *nodeCommand) Run(ctx context.Context, std streams, given *nodeOptions, read readOptions) error {
	defer runtime.KeepAlive(collectAt())
	hangups := catchHangups()
	defer hangups.release()
	join, secret, err := seeds(c.Join)
	if err == nil {
		err = c.check(secret)
	}
	if err != nil {
		return err
	}
	log, err := newLogger(std.err, c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	place, err := parseGeo(c.Geo)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	identity, err := mesh.LoadIdentity(c.DataDir, c.MeshKey, time.Now())
	if err != nil {
		return err
	}
	member, err := c.membership(identity.Key, secret, hangups, log)
	if err != nil {
		return err
	}
	gate, err := openGate(ctx, c.WS)
	if err != nil {
		return err
	}
	security, err := c.security(c.DataDir, gate.addr, c.clientAddr(gate.addr), hangups, log)
	if err != nil {
		return errors.Join(err, gate.close())
	}
	hub := wsgate.NewHub(wsgate.HubConfig{})
	var node *mesh.Node
	authority, err := c.authority(c, member.current.Load().Secrets(), log, func() *mesh.Node { return node })
	if err != nil {
		return errors.Join(err, gate.close(), free(security.run))
	}
	cfg := mesh.Config{
		Identity: identity, Trust: member.current.Load(), Listen: c.Listen, Advertise: c.Advertise, Client: c.clientAddr(gate.addr),
		Join: join, Name: c.Name, Region: c.Region, Place: place, DataDir: c.DataDir, Log: log, NoTCP: !c.TCP, FullMesh: c.FullMesh,
		Deliver: func(m channel.Message, _ mesh.Trace) bool { return hub.Queue(m) > 0 }, Delivered: hub.Flush, Wants: hub.Wants,
	}
	if authority != nil {
		cfg.Shared = authority
	}
	if node, err = mesh.New(cfg); err != nil {
		return errors.Join(err, gate.close(), free(security.run))
	}
	tokens := held(&c.tokenOptions)
	member.apply = func(next *trust.Credentials) error { return tokens.Load().turn(next, node, authority) }
	var server *wsgate.Server
	server, err = wsgate.New(wsgate.Config{
		Hub: hub, Broker: node, Authority: authority, Ready: node.Ready, Describe: func() any { return viewOf(node, server) }, Trace: node.ServeTrace, Edges: edgesOf(node), Logger: log, Version: versionText(),
		TLS: security.config, Limits: c.limits(), Rates: c.rates(), Timing: wsgate.Timing{Request: c.HandshakeTimeout, Spread: c.DrainSpread},
		Home: web.Dashboard, Handlers: map[string]http.Handler{"GET " + web.Prefix: web.Handler(), "GET " + metrics.Path: metrics.Handler(&measured{node, &server}, versionText())},
	})
	if err != nil {
		return errors.Join(err, gate.close(), free(node.Run, security.run))
	}
	again := reloader{read: read, now: given, node: node, server: server, member: member, tokens: tokens, authority: authority, log: log}
	hangups.reloadFirst(again.reload) // other secrets of the mesh then meet the present options of tokens
	life := life{node: node, server: server, gate: gate, drain: c.Drain, log: log}
	life.others = []func(context.Context) error{authority.Keep, security.run, member.run, hangups.run, reports(node, server)}
	life.announce = func(clients net.Addr) error { return c.announce(std.out, node, member, clients, log) }
	return life.run(ctx)
}

// reports tells on the node's reserved channel what it sees, while somebody reads.
func reports(node *mesh.Node, server *wsgate.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		return report.Run(ctx, report.Config{Node: node, Clients: server.Deliveries, CPU: cpuTime})
	}
}

// nodeView is what GET /v1/mesh shows.
type nodeView struct {
	mesh.View
	Clients wsgate.Stats `json:"clients"`
}

// measured is what metrics are made of. The server is there by the first scrape, which it serves.
type measured struct {
	*mesh.Node
	server **wsgate.Server
}

// Clients is the gateway's part.
func (m *measured) Clients() wsgate.Stats { return (*m.server).Stats() }

func viewOf(node *mesh.Node, server *wsgate.Server) nodeView {
	view, _ := node.View()
	return nodeView{view, server.Stats()}
}

// edgesOf lists the nodes that clients can connect to: those with an address for clients that a route leads to, and the node itself.
func edgesOf(node *mesh.Node) func() []wsgate.Edge {
	return func() []wsgate.Edge {
		view, ok := node.View()
		if !ok {
			return nil
		}
		costs := map[string]float64{view.Node.ID.String(): 0}
		for _, r := range view.Routes {
			costs[r.To.String()] = r.Cost
		}
		edge := func(n mesh.NodeView, cost float64) wsgate.Edge {
			return wsgate.Edge{Host: n.Client, Name: n.Name, Region: n.Region, Lat: n.Lat, Lon: n.Lon, Cost: cost}
		}
		edges := []wsgate.Edge{edge(view.Node, 0)}
		for _, m := range view.Members {
			if cost, reachable := costs[m.ID.String()]; reachable && m.State == "alive" {
				edges = append(edges, edge(m.NodeView, cost))
			}
		}
		return edges
	}
}

// held is a place for options that are replaced as a whole.
func held(o *tokenOptions) *atomic.Pointer[tokenOptions] {
	p := new(atomic.Pointer[tokenOptions])
	p.Store(o)
	return p
}

// turn has the node go on with other credentials, and with what tokens they are the key of.
func (o *tokenOptions) turn(next *trust.Credentials, node *mesh.Node, authority *access.Authority) error {
	if authority != nil && o.derived(next.Secrets()) {
		keys, err := o.keys(next.Secrets())
		if err != nil {
			return err
		}
		authority.SetKeys(keys)
	}
	return node.SetTrust(next)
}

// check refuses to expose an unprotected node by accident.
func (c *nodeCommand) check(secret *trust.Secret) error {
	if err := c.fits(secret); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return nil
}

func (c *nodeCommand) fits(secret *trust.Secret) error {
	closed := c.closed(secret)
	for _, addr := range []struct {
		flag, value string
		protected   bool
		remedy      string
	}{
		{"--listen", c.Listen, closed, "let nodes need a mesh secret (--mesh-secret-file)"},
		{"--ws", c.WS, c.wanted(), "let clients need tokens (--token-secret-file, or --require-tokens with a mesh secret)"},
	} {
		host, _, err := hostPort(addr.flag, addr.value)
		if err != nil {
			return err
		}
		if !addr.protected && !c.Open && !loopback(host) {
			return fmt.Errorf("%s %s is not a loopback address, and nothing protects it: anybody who reaches it could read and write everything; %s, or say --open if that is meant", addr.flag, addr.value, addr.remedy)
		}
	}
	if err := c.trustOptions.check(secret); err != nil {
		return err
	}
	if c.AdvertiseWS != "" {
		host, port, err := hostPort("--advertise-ws", c.AdvertiseWS)
		if err != nil {
			return err
		}
		if ip, err := netip.ParseAddr(host); host == "" || port == 0 || err == nil && ip.IsUnspecified() {
			return fmt.Errorf("--advertise-ws %q: clients need a host and a port", c.AdvertiseWS)
		}
		if !strings.HasSuffix(c.AdvertiseWS, ":"+strconv.Itoa(port)) { // clients of many kinds do not know services by name
			return fmt.Errorf("--advertise-ws %q: want a port number", c.AdvertiseWS)
		}
	}
	if c.FullMesh < 1 {
		return fmt.Errorf("--full-mesh %d: want at least 1", c.FullMesh)
	}
	if c.Drain < 0 || c.DrainSpread < 0 {
		return fmt.Errorf("--drain %v, --drain-spread %v: negative time", c.Drain, c.DrainSpread)
	}
	return c.tlsOptions.check(c.DataDir)
}

// hostPort splits an address that a flag has.
func hostPort(flag, addr string) (host string, port int, err error) {
	host, name, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: want HOST:PORT", flag, addr)
	}
	if port, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", name); err != nil {
		return "", 0, fmt.Errorf("%s %q: want a port from 0 to 65535", flag, addr)
	}
	return host, port, nil
}

// announce tells where the node listens and the command that joins it: from this machine if it is on loopback, else from another. The log says who may use it.
func (c *nodeCommand) announce(out io.Writer, node *mesh.Node, m *membership, clients net.Addr, log zerolog.Logger) error {
	c.expose(m, clients, log)
	how := "--listen 0.0.0.0:7946 --ws 0.0.0.0:8080"
	if node.Addr().Addr().IsLoopback() {
		how = "--listen 127.0.0.1:0 --ws 127.0.0.1:0"
	} else if c.Open {
		how += " --open"
	}
	if !m.current.Load().IsOpen() {
		how += " --mesh-secret-file FILE"
	}
	if c.MeshCA != "" {
		how += " --mesh-ca FILE --mesh-cert FILE --mesh-key FILE"
	}
	switch {
	case c.derived(m.current.Load().Secrets()):
		how += " --require-tokens"
	case c.wanted():
		how += " --token-secret-file FILE"
	}
	scheme := "ws"
	if c.secure() {
		scheme = "wss"
	}
	_, err := fmt.Fprintf(out, "node %s (%v)\n  nodes    udp %v\n  clients  %s://%v/ws\n  join it  fastpubsub node --join %v %s\n",
		node.Name(), node.ID(), node.Addr(), scheme, clients, node.Addr(), how)
	return err
}

// clientAddr is where clients reach the node, as far as it can tell by itself.
func clientAddr(advertise string, bound net.Addr) string {
	addr, ok := bound.(*net.TCPAddr)
	if !ok {
		return ""
	}
	if !addr.IP.IsUnspecified() {
		return addr.String()
	}
	if host, _, err := net.SplitHostPort(advertise); err == nil {
		return net.JoinHostPort(host, strconv.Itoa(addr.Port))
	}
	return ""
}

func parseGeo(text string) (*mesh.Place, error) {
	if text == "" {
		return nil, nil
	}
	latText, lonText, _ := strings.Cut(text, ",")
	lat, err1 := strconv.ParseFloat(strings.TrimSpace(latText), 64)
	lon, err2 := strconv.ParseFloat(strings.TrimSpace(lonText), 64)
	if err1 != nil || err2 != nil || !(lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180) {
		return nil, fmt.Errorf("--geo %q: want LAT,LON in degrees, as in 52.52,13.40", text)
	}
	return &mesh.Place{Lat: lat, Lon: lon}, nil
}

func newLogger(w io.Writer, level, format string) (zerolog.Logger, error) {
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("%w: --log-level: %w", errUsage, err)
	}
	if f, ok := w.(*os.File); format == "console" || format == "auto" && ok && term.IsTerminal(int(f.Fd())) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: os.Getenv("NO_COLOR") != ""}
	}
	zerolog.SetGlobalLevel(parsed) // SIGHUP can change it
	return zerolog.New(w).With().Timestamp().Logger(), nil
}
