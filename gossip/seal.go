package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// ErrOpen reports keys for a node that gossips in the clear.
var ErrOpen = errors.New("gossip: an open mesh has no keys")

// What sealed packets and streams start with. Memberlist would take older forms, too, and panics over some of them.
const (
	sealVersion = 1                                         // AES-GCM without padding
	sealBytes   = 1 + 12 + 16                               // version, nonce and tag
	streamSeal  = 10                                        // memberlist's encryptMsg
	streamHead  = 1 + 4 + 1                                 // that, length of what is sealed, and version
	notOpened   = "[ERR] memberlist: Decrypt packet failed" // how it says that no key opens a packet
)

var errUnsealed = errors.New("gossip: stream is not sealed")

// SetKeys makes others the keys, without a moment in which none works.
func (g *Gossip) SetKeys(keys [][]byte) error {
	if g.keys == nil {
		return ErrOpen
	}
	if len(keys) == 0 {
		return errors.New("gossip: no keys")
	}
	for _, key := range keys {
		if err := g.keys.AddKey(key); err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
	}
	// RemoveKey moves the keys behind the one that goes within a slice that memberlist may be reading, so those that stay go before.
	for _, key := range slices.Backward(keys) {
		if err := g.keys.UseKey(key); err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
	}
	for _, old := range slices.Backward(g.keys.GetKeys()) {
		if !slices.ContainsFunc(keys, func(key []byte) bool { return bytes.Equal(key, old) }) {
			if err := g.keys.RemoveKey(old); err != nil {
				return fmt.Errorf("gossip: %w", err)
			}
		}
	}
	return nil
}

// firstByte reports whether a packet may start so.
func (t *transport) firstByte(b byte) bool {
	if len(t.cfg.Keys) > 0 {
		return b == sealVersion
	}
	return b <= lastMessageType
}

// sealedStream refuses what a stream may not start with.
type sealedStream struct {
	net.Conn
	t    *transport
	head []byte
	bad  bool
}

// seal is a stream as memberlist is to have it.
func (t *transport) seal(conn net.Conn) net.Conn {
	if len(t.cfg.Keys) == 0 {
		return conn
	}
	return &sealedStream{Conn: conn, t: t}
}

// Read reads, and fails where the other end does not seal.
func (s *sealedStream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if missing := streamHead - len(s.head); missing > 0 && n > 0 {
		s.head = append(s.head, p[:min(n, missing)]...)
		s.bad = s.head[0] != streamSeal
		if len(s.head) == streamHead { // an empty message would be one without a type
			s.bad = s.bad || s.head[5] != sealVersion || binary.BigEndian.Uint32(s.head[1:5]) <= sealBytes
		}
		if s.bad {
			s.t.stats.Garbage.Add(1)
		}
	}
	if s.bad {
		return 0, errUnsealed
	}
	return n, err
}

// logWriter passes memberlist's log on. Its warnings are everyday matters on the Internet, so they are debug here.
type logWriter struct{ g *Gossip }

func (w *logWriter) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	if strings.HasPrefix(line, notOpened) {
		n := w.g.stats.Unsealed.Add(1)
		w.g.cfg.Strangers.Warn().Str("from", "memberlist").Uint64("so_far", n).Str("detail", line).Msg("packets are sealed with another secret than this mesh's")
	}
	if strings.HasPrefix(line, "[ERR]") {
		w.g.stats.Problems.Add(1)
	}
	w.g.cfg.Log.Debug().Str("from", "memberlist").Msg(line)
	return len(p), nil
}
