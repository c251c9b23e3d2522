package mesh

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

const masterToken = "MT_of_the_tests"

// guardedMesh is nodes with gateways that want tokens.
type guardedMesh struct {
	*cluster
	gates []*access.Authority
}

// startGate starts node i with its gateway.
func (g *guardedMesh) startGate(i int, joins ...int) {
	g.t.Helper()
	keys, err := token.NewKeys(token.KeysConfig{Secret: []byte("one secret for the whole mesh")})
	if err != nil {
		g.t.Fatal(err)
	}
	var node *Node
	authority, err := access.New(access.Config{
		Keys: keys, Masters: token.Masters{token.HashMaster(masterToken)},
		Spread:  func(chunk []byte) { node.SpreadShared(chunk) },
		Settled: func() bool { return i == 0 || node.SharedSettled() },
	}, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	g.adjust = func(_ int, cfg *Config) { cfg.Shared = authority }
	hub := wsgate.NewHub(wsgate.HubConfig{})
	n := g.startTapped(i, 1, func(m channel.Message, _ Trace) { hub.Deliver(m) }, joins...)
	node = n.Node
	server, err := wsgate.New(wsgate.Config{Hub: hub, Broker: node, Authority: authority})
	if err != nil {
		g.t.Fatal(err)
	}
	listener, err := g.net.Host(n.ip).Listen(n.ip + ":8080")
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stop := n.stop
	n.stop = func() { cancel(); stop() }
	g.group.Go(func() {
		if err := server.Serve(ctx, listener); err != nil {
			g.t.Error(err)
		}
	})
	g.gates = append(g.gates, authority)
}

func (g *guardedMesh) dial(i int) net.Conn {
	g.t.Helper()
	conn, err := g.net.Host(ipOf(i)).DialContext(context.Background(), "tcp", ipOf(i)+":8080")
	if err != nil {
		g.t.Fatal(err)
	}
	return conn
}

// call makes one REST call with the master token.
func (g *guardedMesh) call(i int, method, path, body string) map[string]any {
	g.t.Helper()
	conn := g.dial(i)
	defer conn.Close()
	_, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", method, path, masterToken, len(body), body)
	if err != nil {
		g.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		g.t.Fatalf("%s %s: %s %v %v", method, path, response.Status, answer, err)
	}
	return answer
}

func (g *guardedMesh) issue(i int) string { return g.issueFor(i, time.Hour) }

func (g *guardedMesh) issueFor(i int, life time.Duration) string {
	g.t.Helper()
	return g.call(i, "POST", "/v1/get-token", `{"created_by":"test","right":{"tenant_grants":[{"tenant_ids":["t"],"allow_channels_sub":["#"]}],"expires_at":"`+
		time.Now().Add(life).UTC().Format(time.RFC3339)+`"}}`)["token"].(string)
}

// knock does a WebSocket handshake by hand.
func (g *guardedMesh) knock(i int, text string) (net.Conn, *bufio.Reader, int) {
	g.t.Helper()
	conn := g.dial(i)
	_, err := io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: llps.v1,at."+text+"\r\n\r\n")
	if err != nil {
		g.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return conn, in, response.StatusCode
}

// crowd is connections, and when each was closed with status 1008.
type crowd struct {
	mu    sync.Mutex
	size  int
	cuts  map[int][]time.Time // by node
	group sync.WaitGroup
}

// enter opens a connection at node i and watches it.
func (c *crowd) enter(g *guardedMesh, i int, text string) {
	g.t.Helper()
	conn, in, status := g.knock(i, text)
	if status != http.StatusSwitchingProtocols {
		g.t.Fatalf("node %d: status %d", i, status)
	}
	c.size++
	c.group.Go(func() {
		defer conn.Close()
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return // the test ends
		}
		if head[0] != 0x88 || int(head[2])<<8|int(head[3]) != 1008 {
			g.t.Errorf("node %d: frame % x, want a close with status 1008", i, head)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cuts[i] = append(c.cuts[i], time.Now())
	})
}

func (c *crowd) cut() (n int, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.cuts {
		n += len(times)
		for _, at := range times {
			if at.After(last) {
				last = at
			}
		}
	}
	return n, last
}

// refusedEverywhere checks that no node lets a token in.
func (g *guardedMesh) refusedEverywhere(text string) {
	g.t.Helper()
	for i := range g.nodes {
		conn, _, status := g.knock(i, text)
		conn.Close()
		if status != http.StatusUnauthorized {
			g.t.Errorf("node %d: status %d for a revoked token, want 401", i, status)
		}
	}
}

// TestRevocationReachesEveryNode is the issue's: a token revoked on one of eight nodes, far apart and over lossy paths, cuts every connection that uses
// it within a second and one path latency, and no node lets it in again. Others stay.
func TestRevocationReachesEveryNode(t *testing.T) {
	const size, path = 8, 120 * time.Millisecond
	inBubble(t, simnet.Path{Delay: path, Jitter: 5 * time.Millisecond, Loss: 0.02}, func(c *cluster) {
		g := &guardedMesh{cluster: c}
		for i := range size {
			if i == 0 {
				g.startGate(0)
			} else {
				g.startGate(i, (i-1)/2)
			}
		}
		c.meshed(30 * time.Second)
		var worst time.Duration
		for round := range 5 {
			text, other := g.issue(round), g.issue(size-1)
			gone, stay := &crowd{cuts: map[int][]time.Time{}}, &crowd{cuts: map[int][]time.Time{}}
			for i := range size {
				for range 5 {
					gone.enter(g, i, text)
				}
				stay.enter(g, i, other)
			}
			began := time.Now()
			g.call(round, "DELETE", "/v1/revoke-token", `{"token":"`+text+`"}`)
			c.eventually(time.Second+path+10*time.Millisecond, "every connection is cut", func() bool {
				n, _ := gone.cut()
				return n == gone.size
			})
			_, last := gone.cut()
			worst = max(worst, last.Sub(began))
			g.refusedEverywhere(text)
			if n, _ := stay.cut(); n != 0 {
				t.Errorf("%d connections of another token were cut", n)
			}
			g.call(0, "DELETE", "/v1/revoke-token", `{"token":"`+other+`"}`)
			gone.group.Wait()
			stay.group.Wait()
		}
		t.Logf("the last of %d connections on %d nodes was cut %v after the revocation, at worst; a path takes %v", 5*size, size, worst, path)
	})
}

// TestRevocationReachesWhoWasAway: a node that was cut off, or started later, learns of revocations by comparing, and lets nobody in before it has.
func TestRevocationReachesWhoWasAway(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 20 * time.Millisecond}, func(c *cluster) {
		g := &guardedMesh{cluster: c}
		g.startGate(0)
		g.startGate(1, 0)
		g.startGate(2, 0)
		c.meshed(10 * time.Second)
		c.eventually(10*time.Second, "all have compared", func() bool { return g.nodes[1].SharedSettled() && g.nodes[2].SharedSettled() })
		text := g.issue(1)
		away := &crowd{cuts: map[int][]time.Time{}}
		away.enter(g, 2, text)
		for i := range 2 {
			c.net.SetPath(ipOf(i), ipOf(2), simnet.Path{Loss: 1})
		}
		time.Sleep(3 * time.Second)
		g.call(0, "DELETE", "/v1/revoke-token", `{"token":"`+text+`"}`)
		time.Sleep(20 * time.Second) // longer than anything sent is kept
		if n, _ := away.cut(); n != 0 {
			t.Fatal("news crossed the cut")
		}
		for i := range 2 {
			c.net.SetPath(ipOf(i), ipOf(2), simnet.Path{Delay: 20 * time.Millisecond})
		}
		took := c.eventually(time.Minute, "the node that was away has heard", func() bool { n, _ := away.cut(); return n == 1 })
		t.Logf("cut %v after the network was whole again", took)
		away.group.Wait()

		g.startGate(3, 1)
		early, _, status := g.knock(3, text)
		early.Close()
		if status != http.StatusServiceUnavailable {
			t.Errorf("a node that knows nothing yet: status %d, want 503", status)
		}
		took = c.eventually(10*time.Second, "the newcomer has compared", g.nodes[3].SharedSettled)
		t.Logf("a newcomer has compared after %v", took)
		g.refusedEverywhere(text)
		if a, b := g.gates[3].Digest(), g.gates[0].Digest(); string(a) != string(b) {
			t.Error("the ledgers differ")
		}
	})
}

// A large ledger reaches a newcomer in rounds, soon and whole.
func TestLargeLedgerReachesNewcomer(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 20 * time.Millisecond}, func(c *cluster) {
		g := &guardedMesh{cluster: c}
		g.startGate(0)
		rights, err := token.NewRights(token.Statement{TenantGrants: []token.Grant{{TenantIDs: []string{"t"}}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 4000 {
			now := time.Now()
			r := token.Request{Rights: rights, Expires: now.Add(time.Hour), CreatedBy: strings.Repeat("c", 60), Description: strings.Repeat("d", 120)}
			if _, err := g.gates[0].Issue(r, now); err != nil {
				t.Fatal(err)
			}
		}
		g.startGate(1, 0)
		took := c.eventually(10*time.Second, "the newcomer has it all", func() bool { return g.gates[1].Stats().Ledger.Entries == 4000 })
		t.Logf("%v", took)
		c.eventually(time.Second, "and knows that", g.nodes[1].SharedSettled)
	})
}

// What a peer sends about tokens, or anything else that is shared, is hostile until it is parsed.
func TestSharedFromHostilePeers(t *testing.T) {
	inBubble(t, simnet.Path{Delay: time.Millisecond}, func(c *cluster) {
		g := &guardedMesh{cluster: c}
		g.startGate(0)
		n, peer := g.nodes[0], wire.NodeID(77)
		for name, frame := range map[string][]byte{
			"cut short": {byte(wire.KindShare), 0, 9},
			"bad flag":  {byte(wire.KindCompare), 7, 0},
			"too long":  wire.AppendShared(nil, &wire.Shared{Kind: wire.KindShare, Body: make([]byte, wire.MaxShared+1)}),
		} {
			if n.control(peer, frame) == nil {
				t.Errorf("%s: taken", name)
			}
		}
		for name, s := range map[string]wire.Shared{
			"no digest": {Kind: wire.KindCompare},
			"no chunk":  {Kind: wire.KindShare},
			"garbage":   {Kind: wire.KindShare, Body: []byte(strings.Repeat("x", wire.MaxShared))},
		} {
			if err := n.control(peer, wire.AppendShared(nil, &s)); err != nil {
				t.Errorf("%s: %v, want it counted", name, err)
			}
		}
		n.arrived(&wire.Message{Class: wire.ClassShared, Origin: peer, Payload: []byte("garbage")})
		n.arrived(&wire.Message{Class: wire.ClassShared, Origin: peer, Payload: wire.AppendShared(nil, &wire.Shared{Kind: wire.KindCompare, Body: g.gates[0].Digest()})})
		if got := n.Counters().Dropped(forward.DropMalformed); got != 5 {
			t.Errorf("%d counted as malformed, want 5", got)
		}
		if stats := g.gates[0].Stats(); stats.Malformed != 3 || stats.Ledger.Entries != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// A node that asks for comparison after comparison is not answered each time; one with a large difference is.
func TestComparisonsAreGranted(t *testing.T) {
	var s sharing
	now := time.Now()
	grants := func(from wire.NodeID, at time.Time) (n int) {
		for range 1000 {
			if s.grant(from, at) {
				n++
			}
		}
		return n
	}
	if a, b := grants(1, now), grants(2, now); a != creditMost || b != creditMost {
		t.Errorf("%d and %d at once, want %d", a, b, creditMost)
	}
	if got := grants(1, now.Add(2*time.Second)); got != 2*creditRate {
		t.Errorf("%d after 2 s, want %d", got, 2*creditRate)
	}
	for id := range wire.NodeID(3 * creditNodes) {
		s.grant(id+1, now)
	}
	if len(s.credit) > creditNodes {
		t.Errorf("%d nodes remembered", len(s.credit))
	}
}

// TestRefreshReachesEveryNode: moved into the past, a token lets nobody in anywhere, while who is in stays; moved on, it lives longer everywhere.
func TestRefreshReachesEveryNode(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 40 * time.Millisecond}, func(c *cluster) {
		g := &guardedMesh{cluster: c}
		for i := range 4 {
			g.startGate(i, max(0, i-1))
		}
		c.meshed(10 * time.Second)
		refresh := func(text string, to time.Duration) {
			t.Helper()
			g.call(3, "PUT", "/v1/refresh-token", `{"token_id":"`+text[3:35]+`","expires_at":"`+time.Now().Add(to).UTC().Format(time.RFC3339)+`"}`)
			time.Sleep(time.Second)
		}
		ended, longer := g.issue(0), g.issueFor(1, 10*time.Second)
		time.Sleep(time.Second)
		inside := &crowd{cuts: map[int][]time.Time{}}
		for i := range 4 {
			inside.enter(g, i, ended)
		}
		refresh(ended, -time.Minute)
		g.refusedEverywhere(ended)
		if n, _ := inside.cut(); n != 0 {
			t.Errorf("%d connections were cut", n)
		}
		refresh(longer, time.Hour)
		time.Sleep(20 * time.Second) // its text says 10
		for i := range 4 {
			conn, _, status := g.knock(i, longer)
			conn.Close()
			if status != http.StatusSwitchingProtocols {
				t.Errorf("node %d: status %d", i, status)
			}
		}
		g.call(2, "DELETE", "/v1/revoke-token", `{"token":"`+ended+`"}`) // over, but not yet revoked
		time.Sleep(time.Second)
	})
}

// TestRevocationSurvivesItsRelay: the way to a node leads through another, which is cut off as the revocation goes out. It gets there all the same.
func TestRevocationSurvivesItsRelay(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 60 * time.Millisecond}, func(c *cluster) {
		g := &guardedMesh{cluster: c}
		c.net.SetPath(ipOf(0), ipOf(3), simnet.Path{Loss: 1})
		for _, relay := range []int{1, 2} { // the first is the better one
			for _, end := range []int{0, 3} {
				c.net.SetPath(ipOf(end), ipOf(relay), simnet.Path{Delay: time.Duration(20*relay) * time.Millisecond})
			}
		}
		g.startGate(0)
		g.startGate(1, 0)
		g.startGate(2, 0)
		g.startGate(3, 1)
		c.meshed(20 * time.Second)
		c.eventually(10*time.Second, "all have compared", func() bool { return g.nodes[3].SharedSettled() })
		time.Sleep(2 * time.Second)
		v, _ := g.nodes[0].View()
		for _, r := range v.Routes {
			if r.To == g.nodes[3].ID() && r.NextHop != g.nodes[1].ID() {
				t.Fatalf("the way to node 3 does not lead through node 1: %+v", r)
			}
		}
		text := g.issue(3)
		far := &crowd{cuts: map[int][]time.Time{}}
		far.enter(g, 3, text)
		for _, other := range []int{0, 2, 3} {
			c.net.SetPath(ipOf(1), ipOf(other), simnet.Path{Loss: 1})
		}
		began := time.Now()
		g.call(0, "DELETE", "/v1/revoke-token", `{"token":"`+text+`"}`)
		c.eventually(time.Second+80*time.Millisecond, "the connection is cut", func() bool { n, _ := far.cut(); return n == 1 })
		_, at := far.cut()
		t.Logf("cut %v after the revocation, whose relay was lost with it; a path takes 80 ms", at.Sub(began))
		far.group.Wait()
	})
}
