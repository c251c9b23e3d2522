package suite

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// delivery is a message as it came.
type delivery struct {
	tenant   string
	channel  string
	payload  string
	patterns []string
}

// String is the delivery, shortened.
func (d delivery) String() string {
	return fmt.Sprintf("%s %s %q by %q", d.tenant, d.channel, short(d.payload), d.patterns)
}

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + fmt.Sprintf("... (%d bytes)", len(s))
	}
	return s
}

// publishV1 is u16 len, tenant, u16 len, channel, payload.
func publishV1(tenant, channel, payload string) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(tenant)))
	b = append(b, tenant...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(channel)))
	b = append(b, channel...)
	return append(b, payload...)
}

// publishV2 is 2, the mode, and v1.
func publishV2(mode byte, tenant, channel, payload string) []byte {
	return append([]byte{2, mode}, publishV1(tenant, channel, payload)...)
}

// parseDelivery reads 1, tenant, channel, u32 len, payload, u16 n, n patterns, as strictly as the SDK.
func parseDelivery(b []byte) (delivery, error) {
	var d delivery
	if len(b) == 0 || b[0] != 1 {
		return d, errors.New("a binary message that does not begin with 1")
	}
	rest := b[1:]
	cut := func(sizeLen int) (field string, ok bool) {
		if len(rest) < sizeLen {
			return "", false
		}
		var n uint64
		for _, x := range rest[:sizeLen] {
			n = n<<8 | uint64(x)
		}
		if rest = rest[sizeLen:]; n > uint64(len(rest)) {
			return "", false
		}
		field, rest = string(rest[:n]), rest[n:]
		return field, true
	}
	var ok [3]bool
	d.tenant, ok[0] = cut(2)
	d.channel, ok[1] = cut(2)
	d.payload, ok[2] = cut(4)
	if ok != [3]bool{true, true, true} || len(rest) < 2 {
		return d, errors.New("a truncated delivery")
	}
	n := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	for range n {
		pattern, ok := cut(2)
		if !ok || pattern == "" {
			return d, errors.New("a delivery with a truncated or empty pattern")
		}
		d.patterns = append(d.patterns, pattern)
	}
	switch {
	case len(rest) > 0:
		return d, fmt.Errorf("a delivery with %d trailing bytes", len(rest))
	case n == 0:
		return d, errors.New("a delivery without patterns")
	case d.tenant == "" || d.channel == "":
		return d, errors.New("a delivery with an empty tenant or channel")
	}
	return d, nil
}
