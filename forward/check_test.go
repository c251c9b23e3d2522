package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
)

// checker is one on a host of its own.
func checker(t *testing.T, n *simnet.Net, host string, credentials *trust.Credentials) *Checker {
	t.Helper()
	socket, err := n.Host(host).ListenPacket(host + ":7946")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return NewChecker(CheckerConfig{Socket: socket, Trust: trust.NewKeeper(credentials)})
}

// calls is Config.Call on the simulated host of a station.
func calls(n *simnet.Net, host string) func(context.Context, netip.AddrPort, []byte) error {
	return func(_ context.Context, to netip.AddrPort, b []byte) error {
		socket, err := n.Host(host).ListenPacket(host + ":0")
		if err != nil {
			return err
		}
		defer socket.Close()
		_, err = socket.WriteTo(b, net.UDPAddrFromAddrPort(to))
		return err
	}
}

// A member learns how a node sees it, and gets the datagram that it has asked for: at its own address, and no more of them than callBurst at once.
func TestCheck(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		secret := trust.NewSecret()
		inside := func(key byte) *trust.Credentials {
			c, err := trust.Sealed(keyOf(key), []trust.Secret{secret})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		a := startStation(ctx, t, n, 1, func(c *Config) { c.Trust, c.Call = trust.NewKeeper(inside(1)), calls(n, "10.0.0.1") })
		c := checker(t, n, "10.0.0.9", inside(9))
		defer c.Close()
		met, err := c.Meet(ctx, a.addr, 1452)
		if err != nil {
			t.Fatal(err)
		}
		if met.ID != a.self || met.Authority == "" {
			t.Errorf("met %+v", met)
		}
		nonce := [nonceBytes]byte{1, 2, 3}
		answer, err := met.Ask(ctx, 7946, nonce)
		if err != nil || answer.Protocol != Protocol || answer.Seen != netip.MustParseAddrPort("10.0.0.9:7946") || !answer.Called || time.Since(answer.Now) > time.Second {
			t.Fatalf("%+v, %v", answer, err)
		}
		if err := c.Heard(ctx, nonce); err != nil {
			t.Error(err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if answer, err := met.Ask(ctx, 0, nonce); err != nil || answer.Called {
			t.Errorf("called without being asked to: %+v, %v", answer, err)
		}
		if err := c.Heard(short, nonce); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("heard %v", err)
		}
		time.Sleep(time.Minute)
		if met, err = c.Meet(ctx, a.addr, 0); err != nil {
			t.Fatal(err)
		}
		called := 0
		for range 3 * callBurst {
			if answer, err := met.Ask(ctx, 7946, nonce); err == nil && answer.Called {
				called++
			}
		}
		if called < callBurst || called > callBurst+2 {
			t.Errorf("called %d times", called)
		}
		met.Close()
	})
}

// Who is not of the mesh is told so, and learns nothing.
func TestCheckOfStranger(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		sealed := func(key byte) *trust.Credentials {
			c, err := trust.Sealed(keyOf(key), []trust.Secret{trust.NewSecret()})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		a := startStation(ctx, t, n, 1, func(c *Config) { c.Trust = trust.NewKeeper(sealed(1)) })
		c := checker(t, n, "10.0.0.9", sealed(9))
		defer c.Close()
		if _, err := c.Meet(ctx, a.addr, 0); !errors.Is(err, trust.ErrStranger) {
			t.Errorf("with another secret: %v", err)
		}
		open, err := trust.Open(keyOf(8))
		if err != nil {
			t.Fatal(err)
		}
		o := checker(t, n, "10.0.0.8", open)
		defer o.Close()
		if met, err := o.Meet(ctx, a.addr, 0); err == nil {
			t.Errorf("without a secret: met %+v", met)
		}
	})
}

func FuzzParseCall(f *testing.F) {
	f.Add("call=7946&nonce=000102030405060708090a0b0c0d0e0f")
	f.Add("call=0&nonce=00")
	f.Fuzz(func(t *testing.T, text string) {
		query, _ := url.ParseQuery(text)
		if port, nonce, ok := parseCall(query); ok && (port == 0 || len(nonce) != nonceBytes) {
			t.Errorf("%q: port %d, nonce %x", text, port, nonce)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"protocol":"fastpubsub-lane-1","now":"2026-01-02T03:04:05Z","seen":"10.0.0.1:7946","called":true}`))
	f.Add([]byte(`{"now":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, err := parseAnswer(text); err == nil && (!a.Seen.IsValid() || a.Now.IsZero() || a.Protocol == "" || len(a.Protocol) > 64) {
			t.Errorf("%q: %+v", text, a)
		}
	})
}
