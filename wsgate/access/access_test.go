package access

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fataler interface {
	Helper()
	Fatal(args ...any)
}

// newAuthority is one of a mesh with one secret; told gathers what it spreads.
func newAuthority(t fataler, told *[][]byte) *Authority {
	t.Helper()
	keys, err := token.NewKeys(token.KeysConfig{Secret: []byte("sixteen bytes or more")})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Keys: keys, Masters: token.Masters{token.HashMaster("MT_x")}, Spread: func(b []byte) {
		if told != nil {
			*told = append(*told, b)
		}
	}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func request(t fataler, now time.Time) token.Request {
	t.Helper()
	rights, err := token.NewRights(token.Statement{TenantGrants: []token.Grant{{TenantIDs: []string{"t"}, AllowChannelsPub: []string{"a"}, AllowChannelsSub: []string{"a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return token.Request{Rights: rights, Expires: now.Add(time.Hour).Truncate(time.Second), CreatedBy: "me"}
}

func issue(t fataler, a *Authority, now time.Time) string {
	t.Helper()
	text, err := a.Issue(request(t, now), now)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Invariant 1, over two nodes: what was revoked on one is cut on the other as soon as that has merged it, and nobody else is.
func TestRevocationAcrossNodes(t *testing.T) {
	var told [][]byte
	now := time.Now()
	a, b := newAuthority(t, &told), newAuthority(t, nil)
	text, other := issue(t, a, now), issue(t, a, now)
	cut := map[string]int{}
	for _, of := range []string{text, text, other} {
		p, err := b.Enter(of, Visitor{}, now)
		if err != nil {
			t.Fatal(err)
		}
		b.OnRevoke(p, func() { cut[of]++ })
		defer b.Leave(p)
	}
	if _, err := a.Revoke(text, now); err != nil {
		t.Fatal(err)
	}
	for _, chunk := range told {
		if _, err := b.Merge(chunk, now); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Merge(chunk, now); err != nil { // again changes nothing
			t.Fatal(err)
		}
	}
	if cut[text] != 2 || cut[other] != 0 {
		t.Errorf("cut %v", cut)
	}
	if _, err := b.Enter(text, Visitor{}, now); !errors.Is(err, token.ErrRevoked) {
		t.Errorf("enter: %v", err)
	}
	if s := b.Stats(); s.Passes != 3 || s.Cut != 2 || s.Entered != 3 || s.Unknown != 1 || s.Ledger.Entries != 2 {
		t.Errorf("%+v", s)
	}
}

// Who is on the way in while a token is revoked is cut as well, whenever it was that they entered.
func TestNobodySlipsThroughARevocation(t *testing.T) {
	now := time.Now()
	for range 50 {
		a := newAuthority(t, nil)
		text := issue(t, a, now)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				p, err := a.Enter(text, Visitor{}, now)
				if err != nil {
					return
				}
				defer a.Leave(p)
				ended := make(chan struct{})
				a.OnRevoke(p, func() { close(ended) })
				<-ended
			})
		}
		group.Go(func() {
			if _, err := a.Revoke(text, now); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		if s := a.Stats(); s.Passes != 0 {
			t.Fatalf("%+v", s)
		}
	}
}

func TestNilPass(t *testing.T) {
	var p *Pass
	pattern, err := channel.ParsePattern("#")
	if err != nil {
		t.Fatal(err)
	}
	if !p.MayPublish("t", "a") || p.MayPublish("t", "$a") || !p.MaySubscribe("t", pattern) || p.ID() != (token.ID{}) {
		t.Error("an open gateway's pass allows too much or too little")
	}
}

// Errors and statuses, but never what a token says.
func TestRefusalsKeepSecrets(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, nil)
	text := issue(t, a, now)
	secret := text[36:]
	for name, in := range map[string]string{"none": "", "cut short": text[:len(text)-3], "changed": text[:40] + "x" + text[41:], "a JWT": secret} {
		_, err := a.Enter(in, Visitor{}, now)
		if err == nil || Barred(err) || strings.Contains(err.Error(), secret[:16]) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := a.Revoke(in, now); err == nil || strings.Contains(err.Error(), secret[:16]) {
			t.Errorf("revoke %s: %v", name, err)
		}
	}
	if _, err := a.Enter(text, Visitor{}, now.Add(2*time.Hour)); !errors.Is(err, token.ErrExpired) {
		t.Errorf("after its expiry: %v", err)
	}
}

func TestOffered(t *testing.T) {
	for _, test := range []struct {
		auth, protocols []string
		want            string
	}{
		{nil, nil, ""},
		{[]string{"Bearer a"}, []string{"llps.v1, at.b"}, "a"},
		{[]string{"bearer  a "}, nil, "a"},
		{[]string{"Basic a"}, []string{"llps.v1,at.b"}, "b"},
		{[]string{"Bearer"}, []string{"at.b , llps.v1"}, "b"},
		{nil, []string{"llps.v1", "at.b"}, "b"},
		{nil, []string{"llps.v1, bat.b"}, ""},
	} {
		got := Offered(http.Header{"Authorization": test.auth, "Sec-Websocket-Protocol": test.protocols})
		if got != test.want {
			t.Errorf("%v %v: %q, want %q", test.auth, test.protocols, got, test.want)
		}
	}
}

func TestVisitorOf(t *testing.T) {
	r := &http.Request{RemoteAddr: "[::ffff:192.0.2.1]:99", Header: http.Header{"Origin": {""}, "X-Forwarded-For": {"10.0.0.1"}}}
	if v := VisitorOf(r); v.Addr != netip.MustParseAddr("192.0.2.1") || !v.OriginGiven || v.Origin != "" {
		t.Errorf("%+v", v)
	}
	if v := VisitorOf(&http.Request{RemoteAddr: "pipe"}); v.Addr.IsValid() || v.OriginGiven {
		t.Errorf("%+v", v)
	}
}

// exchange is one comparison as the mesh does it: both give what the other may lack, most chunks at most. It tells how much was news.
func exchange(t fataler, a, b *Authority, most int, now time.Time) (news int) {
	t.Helper()
	missing := func(from, to *Authority) [][]byte {
		chunks, differs, err := from.Missing(to.Digest(), most)
		if err != nil || len(chunks) > most || differs == bytes.Equal(a.Digest(), b.Digest()) {
			t.Fatal(fmt.Sprint(len(chunks), " chunks, differs ", differs), err)
		}
		return chunks
	}
	take := func(to *Authority, chunks [][]byte) {
		for _, chunk := range chunks {
			n, err := to.Merge(chunk, now)
			if err != nil {
				t.Fatal(err)
			}
			news += n
		}
	}
	forB, forA := missing(a, b), missing(b, a)
	take(b, forB)
	take(a, forA)
	return news
}

// Whatever nodes did while they could not talk, comparing brings their ledgers together.
func TestExchangeConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		a, b := newAuthority(t, nil), newAuthority(t, nil)
		var texts []string
		for range rapid.IntRange(1, 30).Draw(t, "operations") {
			at := []*Authority{a, b}[rapid.IntRange(0, 1).Draw(t, "at")]
			switch rapid.SampledFrom([]string{"issue", "refresh", "revoke"}).Draw(t, "what") {
			case "issue":
				texts = append(texts, issue(t, at, now))
			case "refresh":
				if list := at.List(""); len(list) > 0 {
					_, _ = at.Refresh(list[0].ID, now.Add(time.Duration(len(list))*time.Minute), now) // revoked ones refuse
				}
			case "revoke":
				if len(texts) > 0 {
					if _, err := at.Revoke(rapid.SampledFrom(texts).Draw(t, "token"), now); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		exchange(t, a, b, 4, now)
		if !bytes.Equal(a.Digest(), b.Digest()) {
			t.Fatal("digests differ")
		}
		if la, lb := a.List(""), b.List(""); fmt.Sprint(la) != fmt.Sprint(lb) {
			t.Fatalf("%v\n%v", la, lb)
		}
	})
}

// A large ledger goes over in several rounds of a bounded size.
func TestExchangeInRounds(t *testing.T) {
	now := time.Now()
	a, b := newAuthority(t, nil), newAuthority(t, nil)
	for range 3000 {
		issue(t, a, now)
	}
	rounds := 0
	for exchange(t, b, a, 1, now) > 0 {
		rounds++
	}
	if !bytes.Equal(a.Digest(), b.Digest()) || rounds < 2 || rounds > 10 {
		t.Errorf("%d rounds, %d of %d entries", rounds, b.Stats().Ledger.Entries, a.Stats().Ledger.Entries)
	}
}

func TestMalformed(t *testing.T) { // invariant 5
	a := newAuthority(t, nil)
	now := time.Now()
	good := a.Digest()
	for i := range good {
		if _, _, err := a.Missing(good[:i], 4); !errors.Is(err, errDigest) {
			t.Errorf("a digest of %d bytes: %v", i, err)
		}
	}
	if _, _, err := a.Missing(append(good, 0), 4); !errors.Is(err, errDigest) {
		t.Errorf("a byte left over: %v", err)
	}
	if _, err := a.Merge([]byte{9}, now); !errors.Is(err, token.ErrEntries) {
		t.Errorf("chunk: %v", err)
	}
	if n := a.Stats().Malformed; n != uint64(len(good)+2) {
		t.Errorf("%d counted", n)
	}
}

func TestDigestGolden(t *testing.T) {
	var digests [token.Buckets]uint64
	digests[0], digests[63] = 0x0102030405060708, 0xff
	got := encodeDigest(digests)
	want := append([]byte{1, 1, 2, 3, 4, 5, 6, 7, 8}, make([]byte, 8*62+7)...)
	want = append(want, 0xff)
	if !bytes.Equal(got, want) {
		t.Errorf("% x", got)
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(encodeDigest([token.Buckets]uint64{1, 2, 3}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		defer alloc.Bound(t, 256*len(in))()
		digests, err := parseDigest(in)
		if err == nil && !bytes.Equal(encodeDigest(digests), in) {
			t.Errorf("% x reads as % x", in, digests)
		}
	})
}

// Many connections with one token hold its rights once; but tokens of others that have one name may differ in them.
func TestRightsAreShared(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, nil)
	text := issue(t, a, now)
	first, err1 := a.Enter(text, Visitor{}, now)
	second, err2 := a.Enter(text, Visitor{}, now)
	third, err3 := a.Enter(issue(t, a, now), Visitor{}, now)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if first.rights != second.rights || first.rights == third.rights {
		t.Error("rights are not shared by token")
	}
}

// Until a node has compared its ledger, nobody comes in, and a token that it does not know may exist.
func TestUnsettled(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, nil)
	text, known := issue(t, newAuthority(t, nil), now), issue(t, a, now)
	settled := false
	a.settled = func() bool { return settled }
	id, err := token.ParseID(text[3:35])
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Enter(known, Visitor{}, now)
	_, err2 := a.Refresh(id, now.Add(time.Hour), now)
	if !errors.Is(err, ErrUnsettled) || !errors.Is(err2, ErrUnsettled) {
		t.Errorf("%v, %v", err, err2)
	}
	settled = true
	_, err = a.Enter(text, Visitor{}, now)
	_, err2 = a.Refresh(id, now.Add(time.Hour), now)
	if err != nil || !errors.Is(err2, token.ErrUnknown) {
		t.Errorf("%v, %v", err, err2)
	}
}

func TestTickForgets(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, nil)
	issue(t, a, now)
	a.Tick(now)
	a.Tick(now.Add(2 * time.Hour))
	if n := a.Stats().Ledger.Entries; n != 0 {
		t.Errorf("%d entries", n)
	}
}
