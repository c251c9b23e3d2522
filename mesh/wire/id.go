package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrNodeID reports text that is not a node ID.
var ErrNodeID = errors.New("wire: a node ID is 16 hexadecimal digits")

// NodeID names a node for good: the first 8 bytes, big-endian, of the SHA-256 of its Ed25519 public key.
// Zero is no node.
type NodeID uint64

// String is the ID as 16 lower-case hexadecimal digits.
func (id NodeID) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return hex.EncodeToString(b[:])
}

// Short is the first 4 digits, for logs and tables that people read.
func (id NodeID) Short() string { return id.String()[:4] }

// MarshalText writes the ID as String does, so that JSON shows it as text.
func (id NodeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *NodeID) UnmarshalText(text []byte) error {
	parsed, err := ParseNodeID(string(text))
	*id = parsed
	return err
}

// ParseNodeID reads 16 hexadecimal digits; anything else is ErrNodeID.
func ParseNodeID(text string) (NodeID, error) {
	var b [8]byte
	if len(text) != 2*len(b) {
		return 0, fmt.Errorf("%w: %.40q", ErrNodeID, text)
	}
	if _, err := hex.Decode(b[:], []byte(text)); err != nil {
		return 0, fmt.Errorf("%w: %q", ErrNodeID, text)
	}
	return NodeID(binary.BigEndian.Uint64(b[:])), nil
}
