package gossip

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

const port = 7946

// member is a Gossip on a simulated host, its packets in UDP and its streams in TCP at the same port.
type member struct {
	*Gossip
	id   wire.NodeID
	stop context.CancelFunc
	done chan struct{}

	mu       sync.Mutex
	alive    map[wire.NodeID]uint64 // boot by ID
	events   []string
	heard    map[wire.NodeID]wire.Stamp // announced by others
	exchange int
}

// keyFor is the key of the node with this number, below 64.
func keyFor(number int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(number)}, ed25519.SeedSize))
}

func idFor(number int) wire.NodeID { return wire.IDOf(keyFor(number).Public().(ed25519.PublicKey)) }

// numbers are those of nodes by ID.
var numbers = sync.OnceValue(func() map[wire.NodeID]int {
	of := map[wire.NodeID]int{}
	for number := range 64 {
		of[idFor(number)] = number
	}
	return of
})

func addrOf(number int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(number)}), port)
}

type option func(*Config)

func startMember(t *testing.T, n *simnet.Net, number int, boot uint64, options ...option) *member {
	t.Helper()
	addr := addrOf(number)
	host := n.Host(addr.Addr().String())
	m := &member{
		id: idFor(number), done: make(chan struct{}),
		alive: map[wire.NodeID]uint64{}, heard: map[wire.NodeID]wire.Stamp{},
	}
	packets, err := host.ListenPacket(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	streams, err := host.Listen(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Meta: wire.Meta{ID: m.id, Boot: boot, Name: fmt.Sprint("n", number)}, Key: keyFor(number), Advertise: addr, Log: zerolog.Nop(),
		Rand: rand.New(rand.NewPCG(1, uint64(number))),
		Write: func(b []byte, _ wire.NodeID, to net.Addr) error {
			_, err := packets.WriteTo(b, to)
			return err
		},
		Dial: func(ctx context.Context, to net.Addr) (net.Conn, error) {
			return host.DialContext(ctx, "tcp", to.String())
		},
		Emit: m.emit,
		Sums: func() []byte { return wire.AppendSums(nil, &wire.Sums{From: m.id}) },
	}
	for _, o := range options {
		o(&cfg)
	}
	if m.Gossip, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		buf := make([]byte, 1500)
		for {
			k, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			m.Receive(slices.Clone(buf[:k]), from, time.Now())
		}
	})
	group.Go(func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			group.Go(func() { m.Accept(c) })
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go func() {
		defer close(m.done)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
		_ = packets.Close()
		_ = streams.Close()
		group.Wait()
	}()
	return m
}

func (m *member) emit(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := e.(type) {
	case Joined:
		m.alive[e.Member.ID] = e.Member.Boot
		m.events = append(m.events, fmt.Sprintf("join %d.%d", numbers()[e.Member.ID], e.Member.Boot))
	case Left:
		if m.alive[e.ID] == e.Boot {
			delete(m.alive, e.ID)
		}
		m.events = append(m.events, fmt.Sprintf("leave %d.%d %v", numbers()[e.ID], e.Boot, e.Graceful))
	case Announced:
		for _, entry := range e.Digest.Entries {
			m.heard[entry.Origin] = entry.Stamp
		}
	case Exchanged:
		m.exchange++
	}
}

func (m *member) others() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.alive)
}

func (m *member) log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// world runs a test in virtual time and stops every member after it.
func world(t *testing.T, test func(t *testing.T, n *simnet.Net, start func(number int, boot uint64, options ...option) *member)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{Seed: 7, Path: simnet.Path{Delay: 40 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01}})
		var members []*member
		defer func() {
			for _, m := range members {
				m.stop()
			}
			for _, m := range members {
				<-m.done
			}
			time.Sleep(30 * time.Second)
			n.Close()
		}()
		test(t, n, func(number int, boot uint64, options ...option) *member {
			m := startMember(t, n, number, boot, options...)
			members = append(members, m)
			time.Sleep(13*time.Millisecond + 701*time.Nanosecond)
			return m
		})
	})
}

// eventually waits in virtual time.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < within {
		if holds() {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within %v: %s", within, what)
	return 0
}

func seeds(numbers ...int) option {
	return func(c *Config) {
		for _, k := range numbers {
			c.Seeds = append(c.Seeds, addrOf(k).String())
		}
	}
}

func TestJoinThroughOneSeedEach(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		members := []*member{start(1, 1)}
		for i := 2; i <= 8; i++ {
			members = append(members, start(i, 1, seeds(i/2)))
		}
		eventually(t, 5*time.Second, "all see all", func() bool {
			return !slices.ContainsFunc(members, func(m *member) bool { return m.others() != 7 })
		})
	})
}

func TestSeedThatStartsLater(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		var logged bytes.Buffer
		early := start(2, 1, seeds(1), func(c *Config) { c.Log = zerolog.New(&logged).Level(zerolog.InfoLevel) })
		time.Sleep(130 * time.Second)
		start(1, 1)
		eventually(t, time.Minute, "the seed is found when it comes", func() bool { return early.others() == 1 })
		time.Sleep(time.Minute)
		early.stop()
		<-early.done
		if said := bytes.Count(logged.Bytes(), []byte("no member answers there")); said < 2 || said > 3 {
			t.Errorf("the log says %d times in two minutes that the seed does not answer: %s", said, logged.Bytes())
		}
	})
}

// A seed's name is looked up at each try, and only addresses of the mesh's family count; the log says once a minute that there are none.
func TestSeedNamesAreResolvedAgain(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		var logged bytes.Buffer
		var mu sync.Mutex
		asked := 0
		answer := []netip.Addr{netip.MustParseAddr("fd00::1")}
		early := start(2, 1, func(c *Config) {
			c.Seeds = []string{"seed.example:7946", "[fd00::9]:7946"}
			c.Log = zerolog.New(&logged)
			c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				if host != "seed.example" || len(answer) == 0 {
					return nil, fmt.Errorf("%s is not known", host)
				}
				return answer, nil
			}
		})
		say := func(ips ...netip.Addr) (before int) {
			mu.Lock()
			defer mu.Unlock()
			answer, before, asked = ips, asked, 0
			return before
		}
		start(1, 1)
		time.Sleep(30 * time.Second)
		if n := say(); n < 9 || n > 11 || early.others() != 0 {
			t.Errorf("asked %d times in 30 s, %d members", n, early.others())
		}
		time.Sleep(30 * time.Second)
		say(netip.MustParseAddr("fd00::1"), addrOf(1).Addr())
		eventually(t, 6*time.Second, "the seed is found once its name says where it is", func() bool { return early.others() == 1 })
		say()
		time.Sleep(30 * time.Second)
		if n := say(); n != 0 {
			t.Errorf("asked %d times although the seed is a member", n)
		}
		early.stop()
		<-early.done
		if lines := bytes.Count(logged.Bytes(), []byte("does not resolve")); lines > 4 {
			t.Errorf("the log says %d times in two minutes that two seeds do not resolve", lines)
		}
	})
}

func TestGracefulLeaveAndCrash(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		a, b, c, d := start(1, 1), start(2, 1, seeds(1)), start(3, 1, seeds(1)), start(4, 1, seeds(1))
		eventually(t, 5*time.Second, "mesh of four", func() bool { return a.others() == 3 && b.others() == 3 && c.others() == 3 })
		d.stop()
		eventually(t, 3*time.Second, "all know that it left", func() bool { return a.others() == 2 && b.others() == 2 && c.others() == 2 })
		if !slices.Contains(a.log(), "leave 4.1 true") {
			t.Errorf("a saw %v, want a graceful leave", a.log())
		}
		n.Isolate(addrOf(3).Addr().String())
		took := eventually(t, 60*time.Second, "a crash is noticed", func() bool { return a.others() == 1 && b.others() == 1 })
		if slices.Contains(a.log(), "leave 3.1 true") {
			t.Error("a crash counted as graceful")
		}
		t.Logf("crash noticed by all after %v", took)
	})
}

// A ping takes a round trip; one to a run that has ended, to nobody, or by a node that is no member, has no answer.
func TestPing(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		a, b := start(1, 1), start(2, 1, seeds(1))
		eventually(t, 5*time.Second, "two members", func() bool { return a.others() == 1 && b.others() == 1 })
		rtt, err := a.Ping(idFor(2), 1, addrOf(2))
		for range 3 { // packets are lost now and then
			if err != nil {
				rtt, err = a.Ping(idFor(2), 1, addrOf(2))
			}
		}
		if err != nil || rtt < 75*time.Millisecond || rtt > 95*time.Millisecond {
			t.Errorf("%v, %v", rtt, err)
		}
		if rtt, err := a.Ping(idFor(2), 2, addrOf(2)); err == nil {
			t.Errorf("a run that there is not answers after %v", rtt)
		}
		n.Isolate(addrOf(2).Addr().String())
		if rtt, err := a.Ping(idFor(2), 1, addrOf(2)); err == nil {
			t.Errorf("a node that is cut off answers after %v", rtt)
		}
		a.stop()
		<-a.done
		if _, err := a.Ping(idFor(2), 1, addrOf(2)); !errors.Is(err, errNotRunning) {
			t.Errorf("a node that has stopped: %v", err)
		}
	})
}

func TestRestartIsNoFlapping(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		a, b := start(1, 1), start(2, 1, seeds(1))
		c := start(3, 1, seeds(1))
		eventually(t, 5*time.Second, "mesh of three", func() bool { return a.others() == 2 && b.others() == 2 && c.others() == 2 })
		n.Kill(addrOf(3).Addr().String())
		c.stop()
		<-c.done
		time.Sleep(time.Second)
		c = start(3, 2, seeds(1))
		eventually(t, 5*time.Second, "the new run is known", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.alive[idFor(3)] == 2
		})
		time.Sleep(60 * time.Second)
		if a.others() != 2 || b.others() != 2 || c.others() != 2 {
			t.Errorf("%d, %d and %d others, want 2 each", a.others(), b.others(), c.others())
		}
		joins := 0
		for _, e := range a.log() {
			if e == "join 3.2" {
				joins++
			}
			if e == "leave 3.2 false" {
				t.Error("the new run was declared dead")
			}
		}
		if joins != 1 {
			t.Errorf("the new run joined %d times", joins)
		}
	})
}

func TestPartitionHeals(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		var members []*member
		for i := 1; i <= 6; i++ {
			members = append(members, start(i, 1, seeds(max(1, i-1))))
		}
		all := func() bool { return !slices.ContainsFunc(members, func(m *member) bool { return m.others() != 5 }) }
		eventually(t, 5*time.Second, "mesh of six", all)
		cut := func(how func(a, b string)) {
			for i := 1; i <= 3; i++ {
				for j := 4; j <= 6; j++ {
					how(addrOf(i).Addr().String(), addrOf(j).Addr().String())
				}
			}
		}
		cut(n.Cut)
		eventually(t, 60*time.Second, "each half is alone", func() bool {
			return !slices.ContainsFunc(members, func(m *member) bool { return m.others() != 2 })
		})
		time.Sleep(20 * time.Second)
		cut(n.Heal)
		t.Logf("healed after %v", eventually(t, 8*time.Second, "one mesh again", all))
	})
}

func TestKnownMembersSurviveRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "members.json")
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		start(1, 1)
		b := start(2, 1, seeds(1))
		c := start(3, 1, seeds(2), func(cfg *Config) { cfg.KnownFile = file })
		eventually(t, 5*time.Second, "mesh of three", func() bool { return c.others() == 2 })
		n.Kill(addrOf(3).Addr().String())
		c.stop()
		b.stop() // its only seed goes too
		<-c.done
		<-b.done
		time.Sleep(time.Second)
		c = start(3, 2, seeds(2), func(cfg *Config) { cfg.KnownFile = file })
		eventually(t, 8*time.Second, "it joins a member that it remembers", func() bool { return c.others() == 1 })
	})
}

func TestAnnouncementsReachAll(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		var members []*member
		for i := 1; i <= 6; i++ {
			members = append(members, start(i, 1, seeds(1)))
		}
		eventually(t, 5*time.Second, "mesh of six", func() bool {
			return !slices.ContainsFunc(members, func(m *member) bool { return m.others() != 5 })
		})
		for origin := range 200 {
			members[0].Announce(wire.DigestEntry{Origin: wire.NodeID(1000 + origin), Kind: wire.RecordLinks, Stamp: wire.Stamp{Boot: 1 << 40, Version: 9}})
		}
		time.Sleep(10 * time.Second)
		// Each is sent a few times, to whomever chance picks; here those who hear it do not pass it on.
		reached := map[wire.NodeID]bool{}
		for _, m := range members[1:] {
			m.mu.Lock()
			for origin := range m.heard {
				reached[origin] = true
			}
			m.mu.Unlock()
		}
		if len(reached) != 200 {
			t.Errorf("%d of 200 announcements arrived", len(reached))
		}
	})
}

func TestAnnouncementsNewestWinsAndFits(t *testing.T) {
	a := newAnnouncements(1)
	for v := uint64(1); v <= 3; v++ {
		a.add(wire.DigestEntry{Origin: 5, Kind: wire.RecordLinks, Stamp: wire.Stamp{Boot: 1, Version: v}})
	}
	a.add(wire.DigestEntry{Origin: 5, Kind: wire.RecordLinks, Stamp: wire.Stamp{Boot: 1, Version: 2}})
	for origin := range 100 {
		a.add(wire.DigestEntry{Origin: wire.NodeID(100 + origin), Kind: wire.RecordInterest, Stamp: wire.Stamp{Boot: 1 << 62, Version: 1 << 62}})
	}
	seen := map[wire.NodeID]wire.Stamp{}
	for range 1000 {
		frame := a.take(1000)
		if frame == nil {
			break
		}
		if len(frame) > 1000 {
			t.Fatalf("frame of %d bytes, room for 1000", len(frame))
		}
		_, d, err := wire.ParseDigest(frame)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range d.Entries {
			seen[e.Origin] = e.Stamp
		}
	}
	if len(seen) != 101 || seen[5].Version != 3 {
		t.Errorf("%d origins, version %d of node 5; want 101 and 3", len(seen), seen[5].Version)
	}
	if a.queue.Len() != 0 {
		t.Errorf("%d announcements wait for ever", a.queue.Len())
	}
	if a.take(20) != nil {
		t.Error("a frame without room")
	}
}

func TestGarbageIsCounted(t *testing.T) {
	g := &Gossip{}
	tr := newTransport(&Config{}, &g.stats)
	for _, b := range [][]byte{nil, {0x20}, {0x3f, 1, 2}} {
		tr.receive(b, nil, time.Time{})
	}
	for range packetsWaiting + 5 {
		tr.receive([]byte{1}, nil, time.Time{})
	}
	if g.stats.Garbage.Load() != 3 || g.stats.PacketsDropped.Load() != 5 {
		t.Errorf("%d garbage, %d dropped; want 3 and 5", g.stats.Garbage.Load(), g.stats.PacketsDropped.Load())
	}
}
