package core

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// epoch is when tests of the core begin.
func epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// coreKeys are n keys by ascending NodeID, so that a test can choose who is smaller. The same n gives the same keys.
func coreKeys(n int) []ed25519.PrivateKey {
	keys := make([]ed25519.PrivateKey, n)
	for i := range keys {
		seed := binary.BigEndian.AppendUint64(bytes.Repeat([]byte{7}, ed25519.SeedSize-8), uint64(i))
		keys[i] = ed25519.NewKeyFromSeed(seed)
	}
	slices.SortFunc(keys, func(a, b ed25519.PrivateKey) int { return cmp.Compare(idOf(a), idOf(b)) })
	return keys
}

func idOf(key ed25519.PrivateKey) wire.NodeID { return wire.IDOf(key.Public().(ed25519.PublicKey)) }

func pattern(t testing.TB, text string) channel.Pattern {
	t.Helper()
	p, err := channel.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func query(name string) []interest.Key { return interest.AppendQuery(nil, "t", name) }

// of are the effects of one type, in order.
func of[T Effect](effects []Effect) []T {
	var out []T
	for _, e := range effects {
		if e, ok := e.(T); ok {
			out = append(out, e)
		}
	}
	return out
}

// frames are the control frames of one kind among the effects.
func frames(effects []Effect, kind wire.Kind) []SendControl {
	return slices.DeleteFunc(of[SendControl](effects), func(s SendControl) bool { return wire.Kind(s.Frame[0]) != kind })
}

// sentRecords are the records that the effects send to a node.
func sentRecords(t testing.TB, effects []Effect, to wire.NodeID) []wire.Record {
	t.Helper()
	var out []wire.Record
	for _, s := range frames(effects, wire.KindRecords) {
		records, err := wire.ParseRecords(s.Frame)
		if err != nil {
			t.Fatal(err)
		}
		if s.To == to {
			out = append(out, records...)
		}
	}
	return out
}

// digestOf is the digest that a frame carries.
func digestOf(t testing.TB, frame []byte) wire.Digest {
	t.Helper()
	_, d, err := wire.ParseDigest(frame)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// author writes the records of another node.
type author struct {
	key     ed25519.PrivateKey
	id      wire.NodeID
	boot    uint64
	version map[wire.RecordKind]uint64
	local   *interest.Local
}

func newAuthor(key ed25519.PrivateKey, boot uint64) *author {
	return &author{key: key, id: idOf(key), boot: boot, version: map[wire.RecordKind]uint64{}, local: interest.NewLocal()}
}

func (a *author) record(kind wire.RecordKind, body []byte, whole bool) wire.Record {
	r := wire.Record{Boot: a.boot, Kind: kind, Body: body}
	if !whole {
		r.Base = a.version[kind]
	}
	a.version[kind]++
	r.Version = a.version[kind]
	wire.SignRecord(&r, a.key)
	return r
}

// links is its next links record, every link at the same cost.
func (a *author) links(cost uint32, to ...wire.NodeID) wire.Record {
	slices.Sort(to)
	links := make([]wire.Link, 0, len(to))
	for _, id := range to {
		links = append(links, wire.Link{To: id, Cost: cost})
	}
	return a.record(wire.RecordLinks, wire.AppendLinks(nil, links), true)
}

// wants is its next interest record, with one pattern more: the first is whole, and a delta follows where that is shorter.
func (a *author) wants(t testing.TB, name string) wire.Record {
	t.Helper()
	a.local.Add("t", pattern(t, name))
	body, whole, changed := a.local.Flush()
	if !changed {
		t.Fatalf("%s changes no bit", name)
	}
	return a.record(wire.RecordInterest, body, whole)
}

// rig drives one core by hand: node 0 to len(peers) by ascending ID, of which it is one.
type rig struct {
	t      testing.TB
	c      *Core
	now    time.Time
	keys   []ed25519.PrivateKey
	number uint64                        // of the last link
	echo   map[wire.NodeID]time.Duration // peers that answer probes, and after what round trip
	lost   func() bool                   // whether the probe sent now is lost; nil: none is
	due    []Echoed                      // answers on their way, by time
}

const rigNodes = 8

// newRig is a core at rest as node self of rigNodes, its first interest flushed.
func newRig(t testing.TB, self int) *rig {
	t.Helper()
	r := &rig{t: t, now: epoch(), keys: coreKeys(rigNodes), echo: map[wire.NodeID]time.Duration{}}
	r.c = New(Config{Key: r.keys[self], Meta: wire.Meta{Boot: 5}, Index: new(interest.Index), Rand: rand.New(rand.NewPCG(1, 2))}, r.now)
	r.step()
	return r
}

func (r *rig) id(i int) wire.NodeID { return idOf(r.keys[i]) }

func (r *rig) author(i int, boot uint64) *author { return newAuthor(r.keys[i], boot) }

// step hands events over now and returns what the core wants done.
func (r *rig) step(events ...Event) []Effect {
	r.t.Helper()
	effects := r.c.Step(r.now, events)
	for _, p := range of[Probe](effects) {
		if rtt, answers := r.echo[p.Peer]; answers && (r.lost == nil || !r.lost()) {
			r.due = append(r.due, Echoed{p.Peer, r.c.peers[p.Peer].link, p.Seq, rtt, r.now.Add(rtt)})
		}
	}
	slices.SortStableFunc(r.due, func(a, b Echoed) int { return a.At.Compare(b.At) })
	return effects
}

// stamped is an effect and when it came.
type stamped struct {
	at time.Time
	Effect
}

// pass lets time pass, stepping whenever the core asks for it or an answer comes.
func (r *rig) pass(d time.Duration) []stamped {
	r.t.Helper()
	var all []stamped
	take := func(effects []Effect) {
		for _, e := range effects {
			all = append(all, stamped{r.now, e})
		}
	}
	end, spins := r.now.Add(d), 0
	for {
		at := r.c.Next(r.now)
		if spins++; at.After(r.now) {
			spins = 0
		} else if at = r.now.Add(time.Millisecond); spins > 100 {
			r.t.Fatal("the core asks to be woken at once, again and again")
		}
		answered := len(r.due) > 0 && !r.due[0].At.After(at)
		if answered {
			at = r.due[0].At
		}
		if at.After(end) {
			r.now = end
			return all
		}
		r.now = at
		if answered {
			e := r.due[0]
			r.due = r.due[1:]
			take(r.step(e))
		} else {
			take(r.step())
		}
	}
}

// passed is pass without the times.
func (r *rig) passed(d time.Duration) []Effect {
	r.t.Helper()
	var out []Effect
	for _, s := range r.pass(d) {
		out = append(out, s.Effect)
	}
	return out
}

func addrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 7946)
}

func (r *rig) member(i int, boot uint64) MemberUp {
	return MemberUp{Meta: wire.Meta{ID: r.id(i), Boot: boot, Name: string(rune('a' + i))}, Addr: addrOf(i)}
}

// open reports a new link to a peer.
func (r *rig) open(i int, boot uint64) LinkOpened {
	r.number++
	return LinkOpened{Peer: r.id(i), Boot: boot, Link: r.number}
}

// up makes node i a member with a link that works.
func (r *rig) up(i int) {
	r.t.Helper()
	r.echo[r.id(i)] = 10 * time.Millisecond
	r.step(r.member(i, 1), r.open(i, 1))
	r.pass(200 * time.Millisecond)
	if p := r.c.peers[r.id(i)]; !p.up {
		r.t.Fatal("the link does not come up")
	}
}

// detour has node over reach node to, besides this node.
func (r *rig) detour(over, to int) {
	r.t.Helper()
	if p := r.c.peers[r.id(over)]; p == nil || !p.up {
		r.up(over)
	}
	r.step(r.records(over, r.author(over, 1).links(1000, r.c.self, r.id(to)), r.author(to, 1).links(1000, r.c.self, r.id(over))))
	r.pass(200 * time.Millisecond)
	if _, ok := r.c.table.Lookup(r.id(to)); !ok {
		r.t.Fatal("the detour does not lead there")
	}
}

func (r *rig) records(from int, records ...wire.Record) RecordsCame {
	return RecordsCame{From: r.id(from), Records: records}
}

// finds reports whether a channel's subscribers include node i.
func (r *rig) finds(i int, name string) bool {
	return slices.Contains(r.c.index.Lookup(nil, query(name)), r.id(i))
}

// linked reports whether the database has the link between two nodes, from both ends.
func (r *rig) linked(a, b int) bool {
	_, ok := r.c.db.Cost(r.id(a), r.id(b))
	return ok
}
