package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	meshSecret = []byte("sixteen bytes...and more")
	hmacSecret = []byte("thirty-two bytes, thirty-two byte")
	edKey      = ed25519.NewKeyFromSeed([]byte("thirty-two bytes, thirty-two byt"))
	testID     = ID{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
)

// rightClaim is a claim "right" as a plain JWT has it.
var rightClaim = map[string]any{"tenant_grants": []any{map[string]any{"tenant_ids": []any{"t"}, "allow_channels_pub": []any{"a"}}}}

func testKeys(t fataler) *Keys {
	return newKeys(t, KeysConfig{Secret: meshSecret, HMAC: [][]byte{hmacSecret}, PEM: [][]byte{publicPEM(t, edKey)}})
}

func newKeys(t fataler, c KeysConfig) *Keys {
	t.Helper()
	k, err := NewKeys(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicPEM(t fataler, key ed25519.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func request(t fataler) Request {
	return Request{
		Rights:    rights(t, Statement{TenantGrants: []Grant{{TenantIDs: []string{"t"}, AllowChannelsPub: []string{"a.#"}, AllowChannelsSub: []string{"a.>"}}}}),
		Expires:   now.Add(time.Hour),
		CreatedBy: "me",
	}
}

func mint(t fataler, k *Keys) (string, Token) {
	t.Helper()
	text, minted, err := k.Mint(request(t), testID, now)
	if err != nil {
		t.Fatal(err)
	}
	return text, minted
}

func TestMintAndVerify(t *testing.T) {
	k := testKeys(t)
	text, minted := mint(t, k)
	if !strings.HasPrefix(text, "AT_00112233445566778899aabbccddeeff_") {
		t.Errorf("text %s", text)
	}
	other := newKeys(t, KeysConfig{Secret: meshSecret}) // another node
	got, err := other.Verify(text, now)
	if err != nil || !reflect.DeepEqual(got, minted) {
		t.Errorf("minted %+v, verified %+v, %v", minted, got, err)
	}
	if got.ID != testID || got.CreatedBy != "me" || got.Plain || !got.Issued.Equal(now.Truncate(time.Second)) || !got.Expires.Equal(now.Truncate(time.Second).Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
	if !got.Rights.MayPublish("t", "a.b") || got.Rights.MaySubscribe("t", pattern(t, "a")) {
		t.Errorf("rights %+v", got.Rights)
	}
}

// TestGolden pins key derivation and claims: what one version mints, the next must verify.
func TestGolden(t *testing.T) {
	const text = "AT_00112233445566778899aabbccddeeff_eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." +
		"eyJleHAiOjE3Nzg5MzY0MDAsImlhdCI6MTc3ODkzMjgwMCwianRpIjoiMDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmYiLCJjcmVhdGVkX2J5Ijoi" +
		"bWUiLCJyaWdodCI6eyJ0ZW5hbnRfZ3JhbnRzIjpbeyJ0ZW5hbnRfaWRzIjpbInQiXSwiYWxsb3dfY2hhbm5lbHNfcHViIjpbImEuIyJdLCJhbGxvd19jaGFu" +
		"bmVsc19zdWIiOlsiYS5cdTAwM2UiXX1dfX0." +
		"AVk5-o2B2MFz2clTmUry97d-eDfwuTOyWjH7a-UX08M"
	k := testKeys(t)
	if got, _ := mint(t, k); got != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
	if _, err := k.Verify(text, now); err != nil {
		t.Error(err)
	}
}

func TestFormerSecret(t *testing.T) {
	old := newKeys(t, KeysConfig{Secret: meshSecret})
	text, _ := mint(t, old)
	renewed := []byte("another secret of the mesh")
	if _, err := newKeys(t, KeysConfig{Secret: renewed}).Verify(text, now); !errors.Is(err, ErrSignature) {
		t.Errorf("by another secret: %v", err)
	}
	both := newKeys(t, KeysConfig{Secret: renewed, Former: [][]byte{meshSecret}})
	if _, err := both.Verify(text, now); err != nil {
		t.Errorf("by a former secret: %v", err)
	}
	if text, _ := mint(t, both); text == "" {
		t.Error("nothing minted")
	} else if _, err := old.Verify(text, now); !errors.Is(err, ErrSignature) {
		t.Errorf("minted by the former secret: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	k := testKeys(t)
	text, minted := mint(t, k)
	if _, err := k.Verify(text, minted.Expires.Add(-time.Millisecond)); err != nil {
		t.Errorf("just before: %v", err)
	}
	got, err := k.Verify(text, minted.Expires)
	if !errors.Is(err, ErrExpired) || !reflect.DeepEqual(got, minted) {
		t.Errorf("at the expiry: %+v, %v", got, err)
	}
	if _, err := k.Verify(text, minted.Issued.Add(-ClockSkew)); err != nil {
		t.Errorf("clock a minute behind: %v", err)
	}
	if got, err := k.Verify(text, minted.Issued.Add(-ClockSkew-time.Millisecond)); !errors.Is(err, ErrNotYet) || got.Rights != nil {
		t.Errorf("clock more than a minute behind: %+v, %v", got, err)
	}
}

// Any change of any byte is noticed, and no error tells the text.
func TestEveryByteCounts(t *testing.T) { // invariant 5
	k := testKeys(t)
	text, _ := mint(t, k)
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(text) {
		others := "A0_.="
		if i == len(text)-1 || text[i+1] == '.' {
			others = base64url // some differ only in bits that no byte is made of
		}
		for _, c := range others {
			if rune(text[i]) == c {
				continue
			}
			bad := text[:i] + string(c) + text[i+1:]
			got, err := k.Verify(bad, now)
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) || got.Rights != nil {
				t.Fatalf("byte %d as %c: %+v, %v", i, c, got, err)
			}
			checkSecrecy(t, bad, err)
		}
		if _, err := k.Verify(text[:i], now); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
}

// checkSecrecy looks for pieces of the text in the error, also decoded ones.
func checkSecrecy(t *testing.T, text string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for part := range strings.SplitSeq(text, ".") {
		decoded, _ := base64.RawURLEncoding.DecodeString(part)
		for _, secret := range []string{part, string(decoded)} {
			for at := 0; at+12 <= len(secret); at++ {
				if strings.Contains(err.Error(), secret[at:at+12]) {
					t.Fatalf("%v tells %q", err, secret[at:at+12])
				}
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) { // invariants 5 and 6
	k := testKeys(t)
	text, _ := mint(t, k)
	own := k.own.hs256[0].([]byte)
	_, secret, _ := splitOwn(text)
	prefix := "AT_" + testID.String() + "_"
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"jti": testID.String(), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "right": rightClaim}
	}
	with := func(name string, value any) jwt.MapClaims {
		c := good()
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	hs256 := func(c jwt.Claims) string { return sign(t, jwt.SigningMethodHS256, c, own) }
	if _, err := k.Verify(prefix+hs256(good()), now); err != nil {
		t.Fatalf("the base of this test: %v", err)
	}
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"empty":                {"", ErrMalformed},
		"prefix only":          {"AT_", ErrMalformed},
		"no secret":            {"AT_" + testID.String(), ErrMalformed},
		"empty secret":         {prefix, ErrMalformed},
		"short ID":             {"AT_0011_" + secret, ErrMalformed},
		"upper-case ID":        {"AT_" + strings.ToUpper(testID.String()) + "_" + secret, ErrMalformed},
		"master":               {"MT_secret", ErrMalformed},
		"too long":             {text + strings.Repeat("A", MaxTextLen), ErrMalformed},
		"blank after":          {text + " ", ErrMalformed},
		"another's ID":         {"AT_" + strings.Repeat("0", 32) + "_" + secret, ErrSignature},
		"without its prefix":   {secret, ErrSignature},
		"none":                 {prefix + sign(t, jwt.SigningMethodNone, good(), jwt.UnsafeAllowNoneSignatureType), ErrSignature},
		"none, plain":          {sign(t, jwt.SigningMethodNone, good(), jwt.UnsafeAllowNoneSignatureType), ErrSignature},
		"HS384, our key":       {prefix + sign(t, jwt.SigningMethodHS384, good(), own), ErrSignature},
		"EdDSA, known key":     {prefix + sign(t, jwt.SigningMethodEdDSA, good(), edKey), ErrSignature},
		"HS256, plain secret":  {prefix + sign(t, jwt.SigningMethodHS256, good(), hmacSecret), ErrSignature},
		"HS256, mesh secret":   {prefix + sign(t, jwt.SigningMethodHS256, good(), meshSecret), ErrSignature},
		"plain, our key":       {hs256(good()), ErrSignature},
		"plain, public as MAC": {sign(t, jwt.SigningMethodHS256, good(), []byte(edKey.Public().(ed25519.PublicKey))), ErrSignature},
		"plain, PEM as MAC":    {sign(t, jwt.SigningMethodHS256, good(), publicPEM(t, edKey)), ErrSignature},
		"plain, other Ed25519": {sign(t, jwt.SigningMethodEdDSA, good(), ed25519.NewKeyFromSeed(make([]byte, 32))), ErrSignature},
		"no exp":               {prefix + hs256(with("exp", nil)), ErrMalformed},
		"no iat":               {prefix + hs256(with("iat", nil)), ErrMalformed},
		"no right":             {prefix + hs256(with("right", nil)), ErrMalformed},
		"right is text":        {prefix + hs256(with("right", "all")), ErrMalformed},
		"right is null":        {prefix + hs256(with("right", struct{}{})), ErrMalformed},
		"right, unknown":       {prefix + hs256(with("right", map[string]any{"all": true})), ErrMalformed},
		"exp is text":          {prefix + hs256(with("exp", "soon")), ErrMalformed},
		"exp is huge":          {prefix + hs256(with("exp", 1e300)), ErrMalformed},
		"iat is huge":          {prefix + hs256(with("iat", 1e300)), ErrMalformed},
		"iat is negative":      {prefix + hs256(with("iat", -1)), ErrMalformed},
		"before 1970":          {prefix + hs256(jwt.MapClaims{"jti": testID.String(), "iat": -1, "exp": 5, "right": rightClaim}), ErrMalformed},
		"lives too long":       {prefix + hs256(with("exp", now.Unix()+24*3600+12)), ErrMalformed},
		"another jti":          {prefix + hs256(with("jti", strings.Repeat("0", 32))), ErrSignature},
		"no jti":               {prefix + hs256(with("jti", nil)), ErrSignature},
		"nbf ahead":            {prefix + hs256(with("nbf", now.Unix()+62)), ErrNotYet},
		"iat ahead":            {prefix + hs256(with("iat", now.Unix()+62)), ErrNotYet},
		"critical extension":   {prefix + signWith(t, good(), own, "crit", []string{"b64"}), ErrMalformed},
		"alg is a number":      {prefix + signWith(t, good(), own, "alg", 5), ErrSignature},
		"alg is unknown":       {prefix + signWith(t, good(), own, "alg", "a-name-of-no-algorithm"), ErrSignature},
		"claims are an array":  {prefix + raw(own, `{"alg":"HS256"}`, `[]`), ErrMalformed},
		"claims are null":      {prefix + raw(own, `{"alg":"HS256"}`, `null`), ErrSignature},
		"header is null":       {prefix + raw(own, `null`, `{}`), ErrSignature},
	} {
		got, err := k.Verify(tc.text, now)
		if !errors.Is(err, tc.want) || got.Rights != nil {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, tc.want)
		}
		checkSecrecy(t, tc.text, err)
	}
}

func TestPlain(t *testing.T) {
	k := testKeys(t)
	c := jwt.MapClaims{"jti": "7", "iss": "idp", "sub": "alice", "aud": []string{"x"}, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "right": rightClaim}
	ids := map[ID]bool{}
	for name, text := range map[string]string{
		"EdDSA": sign(t, jwt.SigningMethodEdDSA, c, edKey),
		"HS256": sign(t, jwt.SigningMethodHS256, c, hmacSecret),
	} {
		got, err := k.Verify(text, now)
		if err != nil || !got.Plain || got.CreatedBy != "alice" || !got.Rights.MayPublish("t", "a") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		ids[got.ID] = true
		if Redact(text) != "…" {
			t.Errorf("%s: redacted to %q", name, Redact(text))
		}
		late, err := k.Verify(text, now.Add(time.Hour))
		if !errors.Is(err, ErrExpired) || late.ID != got.ID {
			t.Errorf("%s: late: %+v, %v", name, late, err)
		}
		if _, err := newKeys(t, KeysConfig{Secret: meshSecret}).Verify(text, now); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: without plain keys: %v", name, err)
		}
	}
	if len(ids) != 1 {
		t.Errorf("one iss and jti, %d IDs", len(ids))
	}
	for i, change := range []jwt.MapClaims{{"jti": "8"}, {"iss": "other"}, {"jti": ""}, {"jti": "", "sub": "bob"}} {
		maps.Copy(c, change)
		got, err := k.Verify(sign(t, jwt.SigningMethodEdDSA, c, edKey), now)
		if err != nil || ids[got.ID] {
			t.Errorf("change %d: ID %v again, %v", i, got.ID, err)
		}
		ids[got.ID] = true
	}
	c["created_by"] = strings.Repeat("x", 65)
	if got, err := k.Verify(sign(t, jwt.SigningMethodEdDSA, c, edKey), now); err != nil || got.CreatedBy != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A plain token of either algorithm is good only if there is a key for that algorithm.
func TestPlainKeysByAlgorithm(t *testing.T) { // invariant 6
	c := jwt.MapClaims{"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "right": rightClaim}
	ed, hs := sign(t, jwt.SigningMethodEdDSA, c, edKey), sign(t, jwt.SigningMethodHS256, c, hmacSecret)
	onlyEd := newKeys(t, KeysConfig{PEM: [][]byte{publicPEM(t, edKey)}})
	onlyHS := newKeys(t, KeysConfig{HMAC: [][]byte{[]byte("another secret, of 32 bytes at least"), hmacSecret}})
	for _, tc := range []struct {
		keys *Keys
		text string
		want error
	}{{onlyEd, ed, nil}, {onlyEd, hs, ErrSignature}, {onlyHS, hs, nil}, {onlyHS, ed, ErrSignature}} {
		if _, err := tc.keys.Verify(tc.text, now); !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
	}
	if _, _, err := onlyEd.Mint(request(t), testID, now); !errors.Is(err, ErrNoSecret) {
		t.Errorf("Mint without a secret: %v", err)
	}
	if _, err := onlyEd.Verify("AT_"+testID.String()+"_"+ed, now); !errors.Is(err, ErrSignature) {
		t.Errorf("AT_ without a secret: %v", err)
	}
}

func TestNewKeysRefuses(t *testing.T) {
	ecKey := "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A\n" +
		"iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==\n-----END PUBLIC KEY-----\n"
	for name, tc := range map[string]struct {
		config KeysConfig
		text   string
	}{
		"short secret": {KeysConfig{Secret: make([]byte, 15)}, "15 bytes, want 16"},
		"short former": {KeysConfig{Secret: meshSecret, Former: [][]byte{nil}}, "0 bytes, want 16"},
		"only former":  {KeysConfig{Former: [][]byte{meshSecret}}, "without a present one"},
		"short HMAC":   {KeysConfig{HMAC: [][]byte{make([]byte, 31)}}, "31 bytes, want 32"},
		"no PEM":       {KeysConfig{PEM: [][]byte{[]byte("x")}}, "no PEM block"},
		"private PEM":  {KeysConfig{PEM: [][]byte{[]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")}}, `"PRIVATE KEY", want "PUBLIC KEY"`},
		"bad DER":      {KeysConfig{PEM: [][]byte{[]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")}}, "asn1"},
		"not Ed25519":  {KeysConfig{PEM: [][]byte{[]byte(ecKey)}}, "ecdsa"},
	} {
		if k, err := NewKeys(tc.config); k != nil || err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	two := append(publicPEM(t, edKey), publicPEM(t, ed25519.NewKeyFromSeed(make([]byte, 32)))...)
	if k := newKeys(t, KeysConfig{PEM: [][]byte{two}}); len(k.plain.eddsa) != 2 {
		t.Errorf("%d keys in two PEM blocks", len(k.plain.eddsa))
	}
}

func TestMintRefuses(t *testing.T) {
	k := testKeys(t)
	for name, tc := range map[string]struct {
		change func(*Request)
		id     ID
		want   error
	}{
		"no ID":           {func(*Request) {}, ID{}, ErrRequest},
		"no rights":       {func(r *Request) { r.Rights = nil }, testID, ErrRequest},
		"zero rights":     {func(r *Request) { r.Rights = new(Rights) }, testID, ErrRequest},
		"long created_by": {func(r *Request) { r.CreatedBy = strings.Repeat("x", 65) }, testID, ErrRequest},
		"past":            {func(r *Request) { r.Expires = now }, testID, ErrExpiry},
		"too far":         {func(r *Request) { r.Expires = now.Add(MaxLife + Skew + 1) }, testID, ErrExpiry},
	} {
		r := request(t)
		tc.change(&r)
		if text, _, err := k.Mint(r, tc.id, now); text != "" || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The largest rights, and the created_by that takes most room in JSON, make a token that can be verified.
func TestLargest(t *testing.T) { // invariant 3
	k := testKeys(t)
	var s Statement
	for n := 1; ; n++ {
		more := Statement{TenantGrants: []Grant{{TenantIDs: []string{"t"}, AllowChannelsPub: make([]string, n)}}}
		for i := range more.TenantGrants[0].AllowChannelsPub {
			more.TenantGrants[0].AllowChannelsPub[i] = "a.>"
		}
		if _, err := NewRights(more); err != nil {
			break
		}
		s = more
	}
	r := Request{Rights: rights(t, s), Expires: now.Add(MaxLife + Skew), CreatedBy: strings.Repeat("<", MaxCreatedByLen)}
	text, _, err := k.Mint(r, testID, now)
	if err != nil || len(text) < 7000 {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	if _, err := k.Verify(text, now); err != nil {
		t.Error(err)
	}
}

func TestID(t *testing.T) {
	if id, err := ParseID(testID.String()); err != nil || id != testID {
		t.Errorf("%v, %v", id, err)
	}
	for _, text := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("A", 32), strings.Repeat("g", 32), strings.Repeat("é", 16)} {
		if id, err := ParseID(text); !errors.Is(err, ErrMalformed) || id != (ID{}) {
			t.Errorf("%q: %v, %v", text, id, err)
		}
	}
}

func TestRedact(t *testing.T) {
	text, _ := mint(t, testKeys(t))
	for in, want := range map[string]string{
		text:                             "AT_00112233445566778899aabbccddeeff_…",
		"AT_secret_secret":               "…",
		"AT_" + strings.Repeat("0", 32):  "…",
		"MT_secret":                      "MT_…",
		"secret":                         "…",
		"":                               "…",
		"at.AT_" + testID.String() + "_": "…",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestMasters(t *testing.T) {
	m := Masters{HashMaster("MT_one"), HashMaster("MT_two")}
	for text, want := range map[string]bool{"MT_one": true, "MT_two": true, "MT_three": false, "": false, "MT_on": false, strings.Repeat("x", MaxTextLen+1): false} {
		if m.Match(text) != want {
			t.Errorf("%.20q: %v", text, !want)
		}
	}
	if (Masters{}).Match("MT_one") || (Masters{HashMaster("")}).Match("") {
		t.Error("no master token, and one matches")
	}
	twice := Masters{m[0], m[0]}
	if !twice.Match("MT_one") {
		t.Error("listed twice, and it does not match")
	}
	if h, err := ParseMasterHash(m[0].String()); err != nil || h != m[0] {
		t.Errorf("%v, %v", h, err)
	}
	for _, text := range []string{"", "00", m[0].String() + "00", strings.Repeat("x", 64)} {
		if h, err := ParseMasterHash(text); !errors.Is(err, ErrMalformed) || h != (MasterHash{}) {
			t.Errorf("%q: %v, %v", text, h, err)
		}
	}
	if want := hex.EncodeToString(sha256.New().Sum(nil)); HashMaster("").String() != want {
		t.Errorf("not SHA-256: %v", HashMaster(""))
	}
}

func FuzzVerify(f *testing.F) {
	k := testKeys(f)
	text, _ := mint(f, k)
	f.Add(text)
	f.Add("AT_" + testID.String() + "_a.b.c")
	f.Add(sign(f, jwt.SigningMethodEdDSA, jwt.MapClaims{"iat": 1, "exp": 2, "right": rightClaim}, edKey))
	f.Add(raw(nil, `{"alg":"none"}`, `{}`))
	f.Fuzz(func(t *testing.T, in string) {
		defer alloc.Bound(t, 256*len(in))()
		got, err := k.Verify(in, now)
		switch {
		case err == nil || errors.Is(err, ErrExpired):
			if got.Rights == nil {
				t.Fatalf("%+v, %v", got, err)
			}
		case !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrNotYet) || got.Rights != nil:
			t.Fatalf("%+v, %v", got, err)
		}
		if _, secret, err := splitOwn(in); err == nil && strings.Contains(Redact(in), secret) && len(secret) > 2*len(ID{}) {
			t.Fatalf("redacted to %q", Redact(in))
		}
	})
}

// FuzzClaims signs any claims by the right key: what a careless issuer writes.
func FuzzClaims(f *testing.F) {
	k := testKeys(f)
	f.Add(`{"iat":1778932800,"exp":1778936400,"right":{"tenant_grants":[{"tenant_ids":["t"]}]}}`)
	f.Add(`{"iat":1e300,"exp":-1e300,"nbf":"1","right":null,"aud":[1]}`)
	f.Fuzz(func(t *testing.T, text string) {
		defer alloc.Bound(t, 256*len(text))()
		in := raw(hmacSecret, `{"alg":"HS256"}`, text)
		got, err := k.Verify(in, now)
		if err == nil && (got.Rights == nil || !got.Expires.After(now) || got.Expires.After(now.Add(lifeLimit+ClockSkew)) || len(got.CreatedBy) > MaxCreatedByLen) {
			t.Fatalf("%+v", got)
		}
		if err != nil && !errors.Is(err, ErrExpired) && got.Rights != nil {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := testKeys(b)
	text, _ := mint(b, k)
	_, wrong, _ := splitOwn(text)
	for name, in := range map[string]string{"good": text, "bad": text[:len(text)-2] + "AA", "unknown": wrong} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Verify(in, now); (err == nil) != (name == "good") {
					b.Fatal(err)
				}
			}
		})
	}
}

func sign(t fataler, method jwt.SigningMethod, c jwt.Claims, key any) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signWith signs by HS256 with one more member in the header.
func signWith(t fataler, c jwt.Claims, key []byte, name string, value any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	token.Header[name] = value
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raw signs any two texts by HS256.
func raw(key []byte, header, payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := jwt.SigningMethodHS256.Sign(text, key)
	if err != nil {
		panic(err)
	}
	return text + "." + encode(signature)
}
