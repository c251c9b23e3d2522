package forward

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

func sealsOf(t interface{ Fatal(args ...any) }, number byte) (*seals, ed25519.PublicKey) {
	key := keyOf(number)
	s, err := newSeals(key)
	if err != nil {
		t.Fatal(err)
	}
	return s, key.Public().(ed25519.PublicKey)
}

// The tag was made by another implementation.
func TestTagGolden(t *testing.T) {
	a, publicA := sealsOf(t, 1)
	b, publicB := sealsOf(t, 2)
	m := wire.Message{
		Batch: true, Mode: 1, Deadline: 5000, Origin: a.self, Boot: 7, Tenant: []byte("t"), Channel: []byte("c.d"), Payload: []byte("hello"),
		Age: 77, HopsLeft: 9, Via: []wire.NodeID{3}, // which relays change
	}
	d := wire.Destination{ID: b.self, Seq: 300, Back: 2, Ahead: 5, Boot: 0xbeef}
	content, _ := contentOf(&m, sha256.New(), nil)
	want, _ := hex.DecodeString(strings.ReplaceAll("91 06 3b 50 d1 b4 ed f6 b8 47 f5 d6 2f c5 32 5a", " ", ""))
	for _, end := range []struct {
		*seals
		other  wire.NodeID
		public ed25519.PublicKey
	}{{a, b.self, publicB}, {b, a.self, publicA}} {
		k, err := end.with(end.other, end.public)
		if err != nil {
			t.Fatal(err)
		}
		if tag := k.tag(&m, &content, &d); !bytes.Equal(tag[:], want) {
			t.Errorf("% x, want % x", tag, want)
		}
	}
}

// The X25519 key that others make of an Ed25519 public key is that of the secret.
func TestMontgomery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, public := sealsOf(t, rapid.Byte().Draw(t, "number"))
		if got, err := montgomery(public); err != nil || !got.Equal(s.secret.PublicKey()) {
			t.Fatalf("%v, %v", got, err)
		}
	})
	identity := append([]byte{1}, make([]byte, 31)...) // y = 1
	s, _ := sealsOf(t, 1)
	for name, key := range map[string]ed25519.PublicKey{"none": nil, "short": make([]byte, 31), "of order 1": identity, "of order 4": make([]byte, 32)} {
		if _, err := s.with(9, key); err == nil {
			t.Errorf("a key %s is taken", name)
		}
	}
}

// All that a tag is to cover changes it.
func TestTagCovers(t *testing.T) {
	a, _ := sealsOf(t, 1)
	_, publicB := sealsOf(t, 2)
	k, _ := a.with(2, publicB)
	make1 := func(change func(*wire.Message, *wire.Destination)) [wire.TagSize]byte {
		m := wire.Message{Deadline: 1, Origin: 1, Boot: 1, Tenant: []byte("ab"), Channel: []byte("c"), Payload: []byte("d")}
		d := wire.Destination{ID: 2, Seq: 9, Back: 1, Ahead: 2, Boot: 3}
		change(&m, &d)
		content, _ := contentOf(&m, sha256.New(), nil)
		return k.tag(&m, &content, &d)
	}
	seen := map[[wire.TagSize]byte]int{}
	for i, change := range []func(*wire.Message, *wire.Destination){
		func(*wire.Message, *wire.Destination) {},
		func(m *wire.Message, _ *wire.Destination) { m.Class = wire.ClassAck },
		func(m *wire.Message, _ *wire.Destination) { m.Mode = 1 },
		func(m *wire.Message, _ *wire.Destination) { m.Batch = true },
		func(m *wire.Message, _ *wire.Destination) { m.Deadline = 2 },
		func(m *wire.Message, _ *wire.Destination) { m.Origin = 2 },
		func(m *wire.Message, _ *wire.Destination) { m.Boot = 2 },
		func(m *wire.Message, _ *wire.Destination) { m.Tenant, m.Channel = []byte("a"), []byte("bc") },
		func(m *wire.Message, _ *wire.Destination) { m.Channel, m.Payload = []byte("cd"), nil },
		func(m *wire.Message, _ *wire.Destination) { m.Payload = []byte("D") },
		func(_ *wire.Message, d *wire.Destination) { d.ID = 3 },
		func(_ *wire.Message, d *wire.Destination) { d.Seq = 10 },
		func(_ *wire.Message, d *wire.Destination) { d.Back = 0 },
		func(_ *wire.Message, d *wire.Destination) { d.Ahead = 3 },
		func(_ *wire.Message, d *wire.Destination) { d.Boot = 4 },
	} {
		tag := make1(change)
		if j, twice := seen[tag]; twice {
			t.Errorf("changes %d and %d have the same tag", j, i)
		}
		seen[tag] = i
	}
}

// line is stations 1, 2 and 3, whose only way from 1 to 3 leads over 2.
func line(ctx context.Context, t *testing.T, n *simnet.Net) (a, relay, c *station) {
	t.Helper()
	a, relay, c = newStation(ctx, t, n, 1), newStation(ctx, t, n, 2), newStation(ctx, t, n, 3)
	costs := map[wire.NodeID][]route.Link{
		a.self: {{To: relay.self, Cost: 10_000}}, c.self: {{To: relay.self, Cost: 10_000}},
		relay.self: {{To: a.self, Cost: 10_000}, {To: c.self, Cost: 10_000}},
	}
	for _, far := range []*station{a, c} {
		if err := far.Dial(ctx, relay.addr, relay.self); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	for _, x := range []*station{a, relay, c} {
		x.use(costs)
	}
	return a, relay, c
}

// A relay cannot speak for another: what it writes in another's name, changes, or redirects is refused and counted against it.
func TestRelayCannotSpeakForAnother(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, relay, c := line(ctx, t, n)
		a.spread(t, "true", 0, c.self)
		time.Sleep(time.Second)
		link := relay.Link(c.self)
		message := func() (wire.Message, wire.Destination) {
			return wire.Message{
				HopsLeft: 5, Origin: a.self, Boot: 1, Deadline: 5000, Via: []wire.NodeID{relay.self},
				Tenant: []byte("t"), Channel: []byte("c"), Payload: []byte("false"),
			}, wire.Destination{ID: c.self, Seq: 2, Back: 1, Boot: 1}
		}
		for name, change := range map[string]func(*wire.Message, *wire.Destination){
			"without a tag":                  func(*wire.Message, *wire.Destination) {},
			"with a made up tag":             func(m *wire.Message, d *wire.Destination) { m.Sealed, d.Tag[3] = true, 7 },
			"as if from its own link":        func(m *wire.Message, _ *wire.Destination) { m.Via = nil },
			"as if another had passed it on": func(m *wire.Message, _ *wire.Destination) { m.Via = []wire.NodeID{99} },
			"in the name of a stranger":      func(m *wire.Message, _ *wire.Destination) { m.Origin, m.Sealed = 1234, true },
			"unnumbered":                     func(_ *wire.Message, d *wire.Destination) { *d = wire.Destination{ID: c.self} },
			"with its own key": func(m *wire.Message, d *wire.Destination) {
				k, err := relay.seals.with(c.self, relay.forwarder.snapshot.Load().Keys[c.self])
				if err != nil {
					t.Fatal(err)
				}
				content, _ := contentOf(m, sha256.New(), nil)
				m.Sealed, d.Tag = true, k.tag(m, &content, d)
			},
		} {
			before := c.Faults()[relay.self]["forged"]
			m, d := message()
			change(&m, &d)
			if err := link.sendMessage(&m, wire.AppendMessageHead(nil, &m, []wire.Destination{d}), false, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			if got := c.Faults()[relay.self]["forged"]; got != before+1 {
				t.Errorf("%s: %d faults before, %d after", name, before, got)
			}
		}
		a.spread(t, "also", 0, c.self)
		time.Sleep(time.Second)
		if got := c.payloads(); !slices.Equal(got, []string{"true", "also"}) {
			t.Errorf("got %v", got)
		}
		if c.Link(relay.self) == nil {
			t.Error("the link has ended")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	a, _ := sealsOf(b, 1)
	_, publicB := sealsOf(b, 2)
	m := wire.Message{Tenant: []byte("tenant"), Channel: []byte("some.channel"), Payload: make([]byte, 128)}
	h, text := sha256.New(), []byte(nil)
	var content [sha256.Size]byte
	b.ReportAllocs()
	for b.Loop() {
		content, text = contentOf(&m, h, text)
		k, _ := a.with(2, publicB)
		d := wire.Destination{ID: 2, Seq: 9}
		d.Tag = k.tag(&m, &content, &d)
	}
}
