package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// largestMeta is at every limit.
func largestMeta() Meta {
	return Meta{
		ID: IDOf(testKey(0).Public().(ed25519.PublicKey)), Boot: 1<<64 - 1, Edition: 1<<32 - 1, Name: strings.Repeat("n", MaxName), Region: strings.Repeat("r", MaxName),
		Client: strings.Repeat("c", maxClient), Leaving: true, Located: true, Lat: 90, Lon: -180,
	}
}

// appendMeta is how metas travel in tests that do not look at who signed.
func appendMeta(dst []byte, m *Meta) []byte {
	return AppendMeta(dst, m, netip.MustParseAddrPort("10.0.0.1:7946"), testKey(0))
}

func TestMetaValidate(t *testing.T) {
	for name, set := range map[string]func(*Meta){
		"as it is":          func(*Meta) {},
		"no texts":          func(m *Meta) { m.Name, m.Region, m.Client = "", "", "" },
		"letters and marks": func(m *Meta) { m.Name = "Zürich ä́ 東京 ☂ (1)" },
		"not located":       func(m *Meta) { m.Located, m.Lat, m.Lon = false, 1000, math.NaN() },
		"south-west":        func(m *Meta) { m.Lat, m.Lon = -90, -180 },
		"north-east":        func(m *Meta) { m.Lat, m.Lon = 90, 180 },
	} {
		m := largestMeta()
		set(&m)
		if err := m.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, set := range map[string]func(*Meta){
		"zero":               func(m *Meta) { *m = Meta{} },
		"no ID":              func(m *Meta) { m.ID = 0 },
		"no boot":            func(m *Meta) { m.Boot = 0 },
		"long name":          func(m *Meta) { m.Name += "x" },
		"long region":        func(m *Meta) { m.Region += "x" },
		"long client":        func(m *Meta) { m.Client += "x" },
		"huge name":          func(m *Meta) { m.Name = strings.Repeat("\x00", 1<<20) },
		"half a rune":        func(m *Meta) { m.Name = "z\xc3" },
		"line feed":          func(m *Meta) { m.Region = "a\nb" },
		"escape":             func(m *Meta) { m.Name = "\x1b[2J" },
		"C1 control":         func(m *Meta) { m.Name = "\u009b2J" },
		"right-to-left":      func(m *Meta) { m.Name = "a\u202eb" },
		"zero-width space":   func(m *Meta) { m.Name = "a\u200bb" },
		"line separator":     func(m *Meta) { m.Client = "a\u2028b" },
		"over the pole":      func(m *Meta) { m.Lat = 90.0001 },
		"under the pole":     func(m *Meta) { m.Lat = -90.0001 },
		"past the date line": func(m *Meta) { m.Lon = 180.0001 },
		"no number":          func(m *Meta) { m.Lat = math.NaN() },
		"no number either":   func(m *Meta) { m.Lon = math.NaN() },
		"endless":            func(m *Meta) { m.Lon = math.Inf(-1) },
	} {
		m := largestMeta()
		set(&m)
		err := m.Validate()
		if !errors.Is(err, ErrMeta) {
			t.Errorf("%s: %v, want %v", name, err, ErrMeta)
		} else if n := len(err.Error()); n > 500 || strings.ContainsFunc(err.Error(), unprintable) {
			t.Errorf("%s: an error of %d bytes: %q", name, n, err)
		}
	}
}

// Invariant 3.
func TestMetaLimits(t *testing.T) {
	m := largestMeta()
	b := appendMeta(nil, &m)
	if got, err := ParseMeta(b); err != nil || got != m {
		t.Fatalf("at the limits: %+v, %v, want %+v", got, err, m)
	}
	for name, exceed := range map[string]func(*Meta){
		"name":   func(m *Meta) { m.Name += "x" },
		"region": func(m *Meta) { m.Region += "x" },
		"client": func(m *Meta) { m.Client += "x" },
	} {
		m := largestMeta()
		exceed(&m)
		if _, err := ParseMeta(appendMeta(nil, &m)); !errors.Is(err, ErrLimit) {
			t.Errorf("%s over the limit: %v, want %v", name, err, ErrLimit)
		}
	}

	// A later version may append up to MaxMeta.
	later := slices.Insert(b, len(b)-ed25519.SignatureSize, make([]byte, MaxMeta-len(b))...)
	if got, err := ParseMeta(later); err != nil || got != m {
		t.Errorf("%d bytes: %+v, %v, want %+v", len(later), got, err, m)
	}
	if _, err := ParseMeta(append(later, 0)); !errors.Is(err, ErrLimit) {
		t.Errorf("%d bytes: %v, want %v", len(later)+1, err, ErrLimit)
	}
}

func TestMetaMalformed(t *testing.T) {
	const flags = 61 // offset in the vector
	for _, test := range []struct {
		name  string
		spoil func([]byte)
		want  error
	}{
		{"version 0", func(b []byte) { b[0] = 0 }, ErrMalformed},
		{"version 1", func(b []byte) { b[0] = 1 }, ErrMalformed},
		{"unknown flag", func(b []byte) { b[flags] |= 1 << 2 }, ErrMalformed},
		{"all flags", func(b []byte) { b[flags] = 255 }, ErrMalformed},
		{"control in the name", func(b []byte) { b[38] = 7 }, ErrMeta},
		{"half a rune in the name", func(b []byte) { b[39] = 'u' }, ErrMeta},
		{"off the globe", func(b []byte) { b[flags+1] = 0x7f }, ErrMeta},
	} {
		b := golden(t, "meta")
		test.spoil(b)
		if got, err := ParseMeta(b); got != (Meta{}) || !errors.Is(err, test.want) {
			t.Errorf("%s: %+v, %v, want %v", test.name, got, err, test.want)
		}
	}
}

// Places travel to 0.0001° and come back the same when sent again.
func TestMetaPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Meta{
			ID: largestMeta().ID, Boot: 1, Located: true,
			Lat: rapid.Float64Range(-90, 90).Draw(t, "lat"), Lon: rapid.Float64Range(-180, 180).Draw(t, "lon"),
		}
		once, err := ParseMeta(appendMeta(nil, &m))
		if err != nil || math.Abs(once.Lat-m.Lat) > 0.000051 || math.Abs(once.Lon-m.Lon) > 0.000051 {
			t.Fatalf("%g,%g, %v, want %g,%g", once.Lat, once.Lon, err, m.Lat, m.Lon)
		}
		if again, err := ParseMeta(appendMeta(nil, &once)); err != nil || again != once {
			t.Fatalf("%+v, %v, want %+v", again, err, once)
		}
	})
}

// Every byte of a description, and its address, is under the signature.
func TestMetaSignature(t *testing.T) {
	key, addr := testKey(0), netip.MustParseAddrPort("10.0.0.1:7946")
	b := golden(t, "meta of a node that leaves")
	if err := VerifyMeta(b, addr); err != nil {
		t.Fatalf("%v", err)
	}
	if err := VerifyMeta(b, netip.MustParseAddrPort("[::ffff:10.0.0.1]:7946")); err != nil {
		t.Errorf("its address mapped into IPv6: %v", err)
	}
	for i := range b {
		b[i] ^= 1
		if err := VerifyMeta(b, addr); !errors.Is(err, ErrSignature) {
			t.Errorf("byte %d changed: %v, want %v", i, err, ErrSignature)
		}
		b[i] ^= 1
	}
	for n := range b {
		if err := VerifyMeta(b[:n], addr); !errors.Is(err, ErrSignature) {
			t.Errorf("first %d bytes: %v, want %v", n, err, ErrSignature)
		}
	}
	for _, elsewhere := range []string{"10.0.0.1:7947", "10.0.0.2:7946", "[2001:db8::1]:7946"} {
		if err := VerifyMeta(b, netip.MustParseAddrPort(elsewhere)); !errors.Is(err, ErrSignature) {
			t.Errorf("at %s: %v, want %v", elsewhere, err, ErrSignature)
		}
	}
	// What the key has signed as something else is no description.
	b = golden(t, "meta")
	cut := len(b) - ed25519.SignatureSize
	for _, context := range []string{"", recordContext} {
		ip := addr.Addr().As16()
		signed := append([]byte(context), bytes.Join([][]byte{ip[:], {0x1f, 0x0a}, b[:cut]}, nil)...)
		if err := VerifyMeta(append(b[:cut:cut], ed25519.Sign(key, signed)...), addr); !errors.Is(err, ErrSignature) {
			t.Errorf("signed under %q: %v, want %v", context, err, ErrSignature)
		}
	}
}

func TestMetaEdition(t *testing.T) {
	b := golden(t, "meta of a node that leaves")
	for _, huge := range [][]byte{{0x80, 0x80, 0x80, 0x80, 0x10}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}} {
		if got, err := ParseMeta(slices.Concat(b[:34], huge, b[35:])); got != (Meta{}) || !errors.Is(err, ErrMalformed) {
			t.Errorf("edition % x: %+v, %v, want %v", huge, got, err, ErrMalformed)
		}
	}
}
