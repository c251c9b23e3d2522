package token

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	minSecretLen = 16 // bytes of a mesh secret
	minHMACLen   = 32 // bytes of an HS256 secret: RFC 7518, section 3.2

	keyInfo       = "fastpubsub client tokens v1"
	plainNamed    = "fastpubsub plain token, by iss and jti, v1\x00"
	plainUnnamed  = "fastpubsub plain token, by signed text, v1\x00"
	critHeader    = "crit" // RFC 7515, section 4.1.11: extensions that must be understood, and we know none
	pemPublicType = "PUBLIC KEY"
)

// ErrNoSecret reports that tokens cannot be minted for want of a mesh secret.
var ErrNoSecret = errors.New("token: no mesh secret to sign with")

// KeysConfig configures Keys. Empty members mean that there are no such tokens.
type KeysConfig struct {
	Secret []byte   // of the mesh, at least 16 bytes: signs and verifies AT_ tokens
	Former [][]byte // earlier mesh secrets: verify only
	PEM    [][]byte // Ed25519 public keys in PEM, one or more a text: verify plain tokens by EdDSA
	HMAC   [][]byte // secrets of at least 32 bytes: verify plain tokens by HS256
}

// Keys sign and verify tokens. They are immutable and safe for concurrent use.
type Keys struct {
	own   keyRing
	plain keyRing
}

// keyRing holds keys by what they may be used for: the algorithm that a token names only chooses among them.
type keyRing struct {
	hs256 []jwt.VerificationKey // each a []byte
	eddsa []jwt.VerificationKey // each an ed25519.PublicKey
}

// claims are what is signed.
type claims struct {
	jwt.RegisteredClaims
	CreatedBy string          `json:"created_by,omitempty"`
	Right     json.RawMessage `json:"right"`
}

// NewKeys derives and reads keys; errors join all faults of the configuration.
func NewKeys(c KeysConfig) (*Keys, error) {
	k, faults := new(Keys), []error(nil)
	secrets := c.Former
	if len(c.Secret) > 0 {
		secrets = append([][]byte{c.Secret}, c.Former...)
	} else if len(c.Former) > 0 {
		faults = append(faults, errors.New("former mesh secrets without a present one"))
	}
	for _, secret := range secrets {
		if len(secret) < minSecretLen {
			faults = append(faults, fmt.Errorf("a mesh secret of %d bytes, want %d or more", len(secret), minSecretLen))
			continue
		}
		key, err := hkdf.Key(sha256.New, secret, nil, keyInfo, sha256.Size)
		if err != nil {
			faults = append(faults, err)
		}
		k.own.hs256 = append(k.own.hs256, key)
	}
	for _, secret := range c.HMAC {
		if len(secret) < minHMACLen {
			faults = append(faults, fmt.Errorf("an HS256 secret of %d bytes, want %d or more", len(secret), minHMACLen))
		}
		k.plain.hs256 = append(k.plain.hs256, append([]byte(nil), secret...))
	}
	for _, text := range c.PEM {
		keys, err := parsePEM(text)
		if err != nil {
			faults = append(faults, err)
		}
		k.plain.eddsa = append(k.plain.eddsa, keys...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("token: keys: %w", err)
	}
	return k, nil
}

func parsePEM(text []byte) ([]jwt.VerificationKey, error) {
	var keys []jwt.VerificationKey
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != pemPublicType {
			return nil, fmt.Errorf("a PEM block of type %.40q, want %q", block.Type, pemPublicType)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("a public key of type %T, want Ed25519", parsed)
		}
		keys, text = append(keys, key), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block")
	}
	return keys, nil
}

// Mint signs a token. The id must be fresh from a cryptographic source of randomness.
func (k *Keys) Mint(r Request, id ID, now time.Time) (text string, t Token, err error) {
	if len(k.own.hs256) == 0 {
		return "", Token{}, ErrNoSecret
	}
	if id == (ID{}) || r.Rights == nil || len(r.Rights.tenants) == 0 {
		return "", Token{}, fmt.Errorf("%w: no ID or no rights", ErrRequest)
	}
	if err := checkText(r.CreatedBy, MaxCreatedByLen); err != nil {
		return "", Token{}, fmt.Errorf("%w: created_by: %w", ErrRequest, err)
	}
	if err := checkExpiry(r.Expires, now); err != nil {
		return "", Token{}, err
	}
	if !r.Expires.After(now) {
		return "", Token{}, fmt.Errorf("%w: not in the future", ErrExpiry)
	}
	right, err := json.Marshal(r.Rights.statement)
	if err != nil {
		return "", Token{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	t = Token{ID: id, Rights: r.Rights, CreatedBy: r.CreatedBy, Issued: wholeSecond(now), Expires: wholeSecond(r.Expires)}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{ID: id.String(), IssuedAt: jwt.NewNumericDate(t.Issued), ExpiresAt: jwt.NewNumericDate(t.Expires)},
		CreatedBy:        r.CreatedBy,
		Right:            right,
	}).SignedString(k.own.hs256[0])
	if err != nil {
		return "", Token{}, fmt.Errorf("token: sign: %w", err)
	}
	text = ownPrefix + id.String() + "_" + signed
	if len(text) > MaxTextLen {
		return "", Token{}, fmt.Errorf("%w: a token of %d bytes, limit %d", ErrRequest, len(text), MaxTextLen)
	}
	return text, t, nil
}

// Verify checks form, signature and times of a token, ours or plain. Errors wrap ErrMalformed, ErrSignature, ErrNotYet or
// ErrExpired. With ErrExpired, and no other, the token is returned all the same, since a ledger may have moved its expiry.
func (k *Keys) Verify(text string, now time.Time) (Token, error) {
	if len(text) > MaxTextLen {
		return Token{}, fmt.Errorf("%w: %d bytes, limit %d", ErrMalformed, len(text), MaxTextLen)
	}
	if !strings.HasPrefix(text, ownPrefix) {
		return k.verifyPlain(text, now)
	}
	id, secret, err := splitOwn(text)
	if err != nil {
		return Token{}, err
	}
	c, err := k.own.verify(secret)
	if err != nil {
		return Token{}, err
	}
	if c.ID != id.String() {
		return Token{}, fmt.Errorf("%w: the ID is not the signed one", ErrSignature)
	}
	return c.token(Token{ID: id, CreatedBy: c.CreatedBy}, now)
}

func (k *Keys) verifyPlain(text string, now time.Time) (Token, error) {
	c, err := k.plain.verify(text)
	if err != nil {
		return Token{}, err
	}
	name := plainNamed + strconv.Quote(c.Issuer) + c.ID
	if c.ID == "" {
		name = plainUnnamed + text[:strings.LastIndexByte(text, '.')]
	}
	createdBy := c.CreatedBy
	if createdBy == "" {
		createdBy = c.Subject
	}
	if checkText(createdBy, MaxCreatedByLen) != nil {
		createdBy = "" // it is for show only, and whoever made the token knows no limits of ours
	}
	hash := sha256.Sum256([]byte(name))
	return c.token(Token{ID: ID(hash[:len(ID{})]), CreatedBy: createdBy, Plain: true}, now)
}

// verify reads a signed JWT. No error shows anything of it: the library's may.
func (r *keyRing) verify(text string) (*claims, error) {
	var methods []string
	if len(r.hs256) > 0 {
		methods = append(methods, jwt.SigningMethodHS256.Alg())
	}
	if len(r.eddsa) > 0 {
		methods = append(methods, jwt.SigningMethodEdDSA.Alg())
	}
	if len(methods) == 0 {
		return nil, fmt.Errorf("%w: there are none for such tokens", ErrSignature)
	}
	c := new(claims)
	parser := jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	parsed, err := parser.ParseWithClaims(text, c, r.keysFor)
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return nil, fmt.Errorf("%w: no JWT", ErrMalformed)
	case err != nil:
		return nil, ErrSignature
	}
	if _, critical := parsed.Header[critHeader]; critical {
		return nil, fmt.Errorf("%w: critical extensions", ErrMalformed)
	}
	return c, nil
}

// keysFor is the keys of the algorithm that a token names, which is one of ours.
func (r *keyRing) keysFor(t *jwt.Token) (any, error) {
	switch t.Method {
	case jwt.SigningMethodHS256:
		return jwt.VerificationKeySet{Keys: r.hs256}, nil
	case jwt.SigningMethodEdDSA:
		return jwt.VerificationKeySet{Keys: r.eddsa}, nil
	}
	return nil, ErrSignature
}

// token fills in t from the claims and checks its times.
func (c *claims) token(t Token, now time.Time) (Token, error) {
	if c.ExpiresAt == nil || c.IssuedAt == nil {
		return Token{}, fmt.Errorf("%w: no exp or no iat", ErrMalformed)
	}
	t.Issued, t.Expires = wholeSecond(c.IssuedAt.Time), wholeSecond(c.ExpiresAt.Time)
	if life := t.Expires.Sub(t.Issued); t.Issued.Unix() < 0 || t.Expires.Unix() < 0 || life > lifeLimit {
		return Token{}, fmt.Errorf("%w: from iat to exp is more than %v", ErrMalformed, MaxLife)
	}
	latest := now.Add(ClockSkew)
	if t.Issued.After(latest) || c.NotBefore != nil && c.NotBefore.After(latest) {
		return Token{}, ErrNotYet
	}
	var s Statement
	if err := decodeStrictly(c.Right, &s); err != nil {
		return Token{}, fmt.Errorf("%w: claim right is no statement of rights", ErrMalformed)
	}
	rights, err := NewRights(s)
	if err != nil {
		return Token{}, fmt.Errorf("%w: claim right holds invalid rights", ErrMalformed)
	}
	t.Rights = rights
	if !now.Before(t.Expires) {
		return t, ErrExpired
	}
	return t, nil
}

func wholeSecond(t time.Time) time.Time { return time.Unix(t.Unix(), 0).UTC() }
