package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
	"github.com/fastpubsub/fastpubsub/wsgate/conformance/suite"
	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	serverIP  = "10.0.0.1"
	clientIP  = "10.0.0.2"
	guardedIP = "10.0.0.4"
	master    = "MT_0123456789abcdef"
)

// loopback is a Broker that is alone in its mesh.
type loopback struct{ hub *wsgate.Hub }

func (l loopback) Publish(_ context.Context, m channel.Message) error {
	l.hub.Deliver(m)
	return nil
}
func (loopback) SetInterest(string, channel.Pattern, bool) {}
func (loopback) AfterSpread(f func())                      { f() }

// inWorld runs a test in a bubble, with real servers on a simulated network: one is open, and one guarded by tokens.
func inWorld(t *testing.T, test func(t *testing.T, network *simnet.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(simnet.Config{StreamBuffer: 64 << 10})
		defer network.Close()
		keys, err := token.NewKeys(token.KeysConfig{Secret: []byte("a secret of the whole mesh")})
		if err != nil {
			t.Fatal(err)
		}
		authority, err := access.New(access.Config{Keys: keys, Masters: token.Masters{token.HashMaster(master)}, Region: "EU"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for ip, authority := range map[string]*access.Authority{serverIP: nil, guardedIP: authority} {
			hub := wsgate.NewHub(wsgate.HubConfig{})
			server, err := wsgate.New(wsgate.Config{
				Hub: hub, Broker: loopback{hub}, Authority: authority, Edges: func() []wsgate.Edge { return []wsgate.Edge{{Host: ip + ":8080"}} },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer serve(t, network, ip, server.Serve)()
		}
		test(t, network)
	})
}

// serve runs a server until stop, which waits for it.
func serve(t *testing.T, network *simnet.Net, ip string, run func(context.Context, net.Listener) error) (stop func()) {
	t.Helper()
	l, err := network.Host(ip).Listen(":8080")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run(ctx, l)
	}()
	return func() { cancel(); <-done }
}

func target(network *simnet.Net, ip string) suite.Target {
	return suite.Target{URL: "ws://" + ip + ":8080/ws", DialContext: network.Host(clientIP).DialContext}
}

// TestConformance: our server does all that the contract says, whether it is open or wants tokens.
func TestConformance(t *testing.T) {
	inWorld(t, func(t *testing.T, network *simnet.Net) {
		guarded := target(network, guardedIP)
		guarded.Master = master
		for _, to := range []suite.Target{target(network, serverIP), guarded} {
			results, err := suite.Run(t.Context(), to, nil)
			if err != nil || len(results) != len(suite.Cases()) {
				t.Fatalf("%d results, %v", len(results), err)
			}
			for _, r := range results {
				excused := r.Outcome == suite.Skipped && to.Master == "" && strings.HasPrefix(r.Reason, "needs a ")
				if r.Outcome != suite.Pass && !excused {
					t.Errorf("%s %s: %s", r.Outcome, r.Name, r.Reason)
				}
			}
		}
	})
}

// TestCases: names are unique and tell their section, marks are known, and every case says something.
func TestCases(t *testing.T) {
	var names []string
	for _, c := range suite.Cases() {
		names = append(names, c.Name)
		if !slices.Contains(strings.Split("1 2 3 4 5 6 7 8 9", " "), c.Section()) || !strings.Contains(c.Name, ".") || c.Says == "" {
			t.Errorf("%+v", c)
		}
		for mark := range strings.SplitSeq(c.Mark, "/") {
			if !slices.Contains([]string{"S", "T", "D", "I"}, mark) {
				t.Errorf("%s: mark %q", c.Name, c.Mark)
			}
		}
	}
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("names are not unique: %q", names)
	}
}

// TestCommand: the table, the list, the JSON and the exit code.
func TestCommand(t *testing.T) {
	dead, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + dead.Addr().String() + "/ws"
	_ = dead.Close()
	for _, test := range []struct {
		args []string
		code int
		out  []string
	}{
		{[]string{"--list", "--only", "^3.ping"}, 0, []string{"3.ping.pong  [S]  every PING"}},
		{
			[]string{"--url", url, "--only", `^(3\.ping|8\.refresh\.ok)`},
			1,
			[]string{"FAIL", "3.ping.pong", "skipped", "8.refresh.ok", "needs a master token", "0 passed, 1 failed, 1 skipped"},
		},
		{[]string{"--url", "http://h"}, 2, []string{"no ws or wss URL"}},
		{[]string{"--token", "AT_x"}, 2, []string{"without the tenant"}},
		{[]string{"--only", "("}, 2, []string{"--only"}},
		{[]string{"more"}, 2, []string{"unknown argument"}},
		{[]string{"--no-such"}, 2, []string{"no-such"}},
		{[]string{"--help"}, 0, []string{"-master"}},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), test.args, &out, &out); code != test.code {
			t.Errorf("%q: exit code %d\n%s", test.args, code, out.String())
		}
		for _, want := range test.out {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: no %q in\n%s", test.args, want, out.String())
			}
		}
	}
	var out bytes.Buffer
	var results []suite.Result
	code := run(t.Context(), []string{"--json", "--url", url, "--only", "^3.ping"}, &out, &out)
	err = json.Unmarshal(out.Bytes(), &results)
	if err != nil || code != 1 || len(results) != 1 || results[0].Outcome != suite.Fail || results[0].Reason == "" {
		t.Errorf("%d, %v, %s", code, err, out.String())
	}
}
