package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxTextLen bounds the text of a token, in bytes.
const MaxTextLen = 8 << 10

const (
	ownPrefix    = "AT_"
	masterPrefix = "MT_"
)

// Why the text of a token is refused. No error of this package shows any of the text but the token's ID.
var (
	ErrMalformed = errors.New("token: malformed")
	ErrSignature = errors.New("token: signature not by a known key")
	ErrExpired   = errors.New("token: expired")
	ErrNotYet    = errors.New("token: issued in the future")
)

// ID names a token. It is no secret.
type ID [16]byte

// String is the ID as 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what String writes. Errors wrap ErrMalformed.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != hex.EncodedLen(len(id)) || strings.ToLower(text) != text {
		return ID{}, fmt.Errorf("%w: an ID is %d lower-case hexadecimal digits", ErrMalformed, hex.EncodedLen(len(id)))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return ID{}, fmt.Errorf("%w: an ID is %d lower-case hexadecimal digits", ErrMalformed, hex.EncodedLen(len(id)))
	}
	return id, nil
}

// Token is what the text of a token says, once its signature is verified.
type Token struct {
	ID        ID
	Rights    *Rights
	CreatedBy string    // at most MaxCreatedByLen bytes
	Issued    time.Time // in whole seconds, as is
	Expires   time.Time // what the text says; a Ledger may know better
	Plain     bool      // a JWT of someone else's, not one of ours
}

// splitOwn takes AT_<id>_<secret> apart.
func splitOwn(text string) (id ID, secret string, err error) {
	rest, found := strings.CutPrefix(text, ownPrefix)
	if !found {
		return ID{}, "", fmt.Errorf("%w: no %s", ErrMalformed, ownPrefix)
	}
	hexID, secret, found := strings.Cut(rest, "_")
	if !found {
		return ID{}, "", fmt.Errorf("%w: no secret", ErrMalformed)
	}
	id, err = ParseID(hexID)
	return id, secret, err
}

// Redact is the text of a token as it may be logged: AT_<id>_… for one of ours, and nothing of any other.
func Redact(text string) string {
	if id, _, err := splitOwn(text); err == nil {
		return ownPrefix + id.String() + "_…"
	}
	if strings.HasPrefix(text, masterPrefix) {
		return masterPrefix + "…"
	}
	return "…"
}

// MasterHash is the SHA-256 of a master token, which is enough to recognise it. It does not hide a guessable one.
type MasterHash [sha256.Size]byte

// HashMaster is the hash of a master token.
func HashMaster(text string) MasterHash { return sha256.Sum256([]byte(text)) }

// String is the hash as 64 lower-case hexadecimal digits.
func (h MasterHash) String() string { return hex.EncodeToString(h[:]) }

// ParseMasterHash reads 64 hexadecimal digits. Errors wrap ErrMalformed.
func ParseMasterHash(text string) (MasterHash, error) {
	var h MasterHash
	if b, err := hex.DecodeString(text); err != nil || copy(h[:], b) != len(h) || len(b) != len(h) {
		return MasterHash{}, fmt.Errorf("%w: the hash of a master token is %d hexadecimal digits", ErrMalformed, hex.EncodedLen(len(h)))
	}
	return h, nil
}

// Masters are the master tokens of a node.
type Masters []MasterHash

// Match tells whether text is one of the master tokens. The time it takes does not depend on which, nor on how nearly.
func (m Masters) Match(text string) bool {
	if text == "" || len(text) > MaxTextLen {
		return false
	}
	hash, found := HashMaster(text), 0
	for i := range m {
		found |= subtle.ConstantTimeCompare(hash[:], m[i][:])
	}
	return found == 1
}
