package trust

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
)

// ErrSecret reports text that is not a mesh secret. It never shows the text.
var ErrSecret = errors.New("trust: not a mesh secret")

// ErrSeed reports text that is no address of a node.
var ErrSeed = errors.New("trust: want HOST:PORT or fps://SECRET@HOST:PORT")

const (
	secretPrefix = "fps1-"
	secretBytes  = 32
	checkBytes   = 4
	secretText   = len(secretPrefix) + (secretBytes+checkBytes)*4/3
)

// maxSecrets bounds a list: more than the last, the present and the next are a mistake.
const maxSecrets = 4

const (
	infoAuthority = "fastpubsub mesh authority v1"
	infoSWIM      = "fastpubsub mesh swim v1"
	infoTokens    = "fastpubsub mesh tokens v1"
)

// Secret is what all nodes of a mesh have in common and nobody else has.
type Secret struct{ b [secretBytes]byte }

// NewSecret makes a fresh secret.
func NewSecret() Secret {
	var s Secret
	_, _ = rand.Read(s.b[:]) // it never fails
	return s
}

// Text is the secret as text, for a file. It must go nowhere else.
func (s Secret) Text() string {
	return secretPrefix + base64.RawURLEncoding.EncodeToString(append(s.b[:], s.check()...))
}

// String is a fingerprint by which people compare secrets; it tells nothing of the secret itself.
func (s Secret) String() string {
	sum := sha256.Sum256(s.authority().Public().(ed25519.PublicKey))
	return hex.EncodeToString(sum[:4])
}

// Format writes String for every verb, so that none shows the secret.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

func (s Secret) check() []byte {
	sum := sha256.Sum256(append([]byte(secretPrefix), s.b[:]...))
	return sum[:checkBytes]
}

func (s Secret) derive(info string) []byte {
	key, err := hkdf.Key(sha256.New, s.b[:], nil, info, 32)
	if err != nil {
		panic(err) // only for lengths beyond HKDF's limit
	}
	return key
}

// authority is the key that signs the certificates of the mesh's nodes.
func (s Secret) authority() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(s.derive(infoAuthority))
}

// ParseSecret reads what Text wrote. Only made secrets are taken, none that people think of.
func ParseSecret(text string) (Secret, error) {
	encoded, found := strings.CutPrefix(text, secretPrefix)
	if !found || len(text) != secretText {
		return Secret{}, fmt.Errorf("%w: want %q and %d characters, as by fastpubsub keygen", ErrSecret, secretPrefix, secretText-len(secretPrefix))
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != secretBytes+checkBytes { // err would show it; line breaks are skipped, so the length says nothing yet
		return Secret{}, fmt.Errorf("%w: a character that it cannot have", ErrSecret)
	}
	s := Secret{[secretBytes]byte(b[:secretBytes])}
	if subtle.ConstantTimeCompare(b[secretBytes:], s.check()) != 1 {
		return Secret{}, fmt.Errorf("%w: mistyped, since its check does not match", ErrSecret)
	}
	return s, nil
}

// ParseSecrets reads a list of secrets, one a line or separated by white space or commas; what follows a # is a comment. The first is to be shown, all are believed.
func ParseSecrets(text string) ([]Secret, error) {
	var secrets []Secret
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) }) {
			s, err := ParseSecret(word)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			secrets = append(secrets, s)
		}
	}
	return secrets, checkSecrets(secrets)
}

func checkSecrets(secrets []Secret) error {
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return fmt.Errorf("%w: %d of them, want 1 to %d", ErrSecret, len(secrets), maxSecrets)
	}
	for i, s := range secrets {
		if slices.Contains(secrets[:i], s) {
			return fmt.Errorf("%w: %v is there twice", ErrSecret, s)
		}
	}
	return nil
}

// ParseSeed reads the address of a node, host:port or fps://host:port, which may carry the secret of its mesh: fps://secret@host:port. Errors never show what
// stands before the @.
func ParseSeed(text string) (addr string, secret *Secret, err error) {
	addr, isURL := strings.CutPrefix(text, "fps://")
	if isURL {
		addr = strings.TrimSuffix(addr, "/")
	}
	if at := strings.LastIndexByte(addr, '@'); at >= 0 {
		if !isURL {
			return "", nil, ErrSeed
		}
		s, err := ParseSecret(addr[:at])
		if err != nil {
			return "", nil, fmt.Errorf("%w (%.100q): %w", ErrSeed, addr[at+1:], err)
		}
		addr, secret = addr[at+1:], &s
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case strings.HasPrefix(addr, secretPrefix) && len(addr) >= secretText && !strings.Contains(addr, "."):
		return "", nil, ErrSeed // the secret, without an address
	case err != nil || host == "" || port == "" || strings.ContainsAny(addr, "/?# "):
		return "", nil, fmt.Errorf("%w: %.100q", ErrSeed, addr)
	}
	return addr, secret, nil
}
