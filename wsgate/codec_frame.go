package wsgate

import (
	"encoding/binary"
	"math"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// First bytes of the binary messages. A v1 publication starts with the high byte of a tenant's length, always 0.
const (
	tagPublishV1 = 0x00
	tagDelivery  = 0x01
	tagPublishV2 = 0x02
)

// publication is a parsed publish message. Its slices point into the message.
type publication struct {
	mode    channel.Mode
	tenant  []byte // may be empty; the names are not validated yet
	channel []byte
	payload []byte
}

// parsePublish reads a publish message, v1 or v2. The error is a fault with codeBadFrame.
func parsePublish(b []byte) (publication, error) {
	var p publication
	if len(b) == 0 {
		return p, fault{codeBadFrame, "empty"}
	}
	switch b[0] {
	case tagPublishV1:
	case tagPublishV2:
		if len(b) < 2 {
			return p, fault{codeBadFrame, "no mode"}
		}
		if p.mode = channel.Mode(b[1]); p.mode > channel.DeliverRandom {
			return p, fault{codeBadFrame, "unknown mode"}
		}
		b = b[2:]
	default:
		return p, fault{codeBadFrame, "unknown version"}
	}
	var ok bool
	if p.tenant, b, ok = cutString(b); !ok {
		return p, fault{codeBadFrame, "truncated tenant"}
	}
	if p.channel, b, ok = cutString(b); !ok {
		return p, fault{codeBadFrame, "truncated channel"}
	}
	p.payload = b
	return p, nil
}

// cutString cuts a string with its u16 length off the front of b.
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, b, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return nil, b, false
	}
	return b[:n:n], b[n:], true
}

// deliveryLen is the length of a delivery with m's names, apart from its patterns, of which each takes patternLen.
func deliveryLen(m channel.Message, payload int) int {
	return 1 + 2 + len(m.Tenant) + 2 + len(m.Channel) + 4 + payload + 2
}

func patternLen(p channel.Pattern) int { return 2 + len(p.String()) }

// appendDelivery appends the delivery message of a payload with m's names for a connection that it reaches by these patterns.
func appendDelivery(dst []byte, m channel.Message, payload []byte, patterns []channel.Pattern) []byte {
	dst = append(dst, tagDelivery)
	dst = appendString(dst, m.Tenant)
	dst = appendString(dst, m.Channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, payload...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(patterns)))
	for _, p := range patterns {
		dst = appendString(dst, p.String())
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// WebSocket opcodes with the FIN bit set: RFC 6455, section 5.2.
const (
	frameText   = 0x81
	frameBinary = 0x82
	frameClose  = 0x88
	framePing   = 0x89
	framePong   = 0x8a
)

// maxControlPayload is RFC 6455's limit on the payload of a control frame, in bytes.
const maxControlPayload = 125

// maxFrameHeader is the length of the longest header of an unmasked frame.
const maxFrameHeader = 10

// appendFrameHeader appends the header of an unmasked frame with n bytes of payload.
func appendFrameHeader(dst []byte, first byte, n int) []byte {
	switch {
	case n <= maxControlPayload:
		return append(dst, first, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
}

// newFrame is a whole unmasked frame.
func newFrame(first byte, payload []byte) []byte {
	return append(appendFrameHeader(nil, first, len(payload)), payload...)
}

// closeFrame is a whole close frame. The reason must leave room for the status: 123 bytes.
func closeFrame(status uint16, reason string) []byte {
	return newFrame(frameClose, append(binary.BigEndian.AppendUint16(nil, status), reason...))
}

// isControlFrame tells whether b is one whole unmasked control frame and nothing else.
func isControlFrame(b []byte) bool {
	const finControl = 0x88
	return len(b) >= 2 && b[0]&finControl == finControl && b[1] <= maxControlPayload && len(b) == 2+int(b[1])
}
