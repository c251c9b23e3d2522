package bench

import (
	"encoding/binary"
	"math"
	"time"
)

const (
	// minSize is the least length of a payload, in bytes.
	minSize = 24
	// probeNumber marks messages that only find out whether interest has spread.
	probeNumber = math.MaxUint64
)

// stamp is what a payload begins with.
type stamp struct {
	repetition uint32
	channel    uint32
	number     uint64
	due        time.Duration // since the repetition began
}

// put writes the stamp over the front of a payload of at least minSize bytes.
func (s stamp) put(payload []byte) {
	binary.BigEndian.PutUint32(payload, s.repetition)
	binary.BigEndian.PutUint32(payload[4:], s.channel)
	binary.BigEndian.PutUint64(payload[8:], s.number)
	binary.BigEndian.PutUint64(payload[16:], uint64(s.due))
}

// parseStamp reads the stamp of a payload; false if it is too short.
func parseStamp(payload []byte) (s stamp, ok bool) {
	if len(payload) < minSize {
		return s, false
	}
	return stamp{
		repetition: binary.BigEndian.Uint32(payload),
		channel:    binary.BigEndian.Uint32(payload[4:]),
		number:     binary.BigEndian.Uint64(payload[8:]),
		due:        time.Duration(binary.BigEndian.Uint64(payload[16:])),
	}, true
}
