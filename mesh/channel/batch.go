package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of a batch.
const (
	MaxBatchLen   = 16 << 10 // bytes, lengths included: more would hold up what follows on a link
	MaxBatchCount = 1024     // messages
)

// ErrBatch is wrapped by errors about the payload of a batch.
var ErrBatch = errors.New("channel: malformed batch")

// Batch collects the payloads of successive messages of one channel into the payload of one message that the overlay carries as a whole:
//
//	count uvarint | for each: length uvarint | payload
//
// The zero value is empty.
type Batch struct {
	count int
	body  []byte // of the messages so far
	whole []byte
}

// Add appends a payload, unless the batch would get too large: false.
func (b *Batch) Add(payload []byte) bool {
	if b.count == MaxBatchCount || len(b.body)+len(payload)+2*binary.MaxVarintLen32 > MaxBatchLen {
		return false
	}
	b.count++
	b.body = append(binary.AppendUvarint(b.body, uint64(len(payload))), payload...)
	return true
}

// Len is how many payloads it holds.
func (b *Batch) Len() int { return b.count }

// Payload is the payload of the message for all, valid until the next Add or Reset.
func (b *Batch) Payload() []byte {
	b.whole = append(binary.AppendUvarint(b.whole[:0], uint64(b.count)), b.body...)
	return b.whole
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.count, b.body = 0, b.body[:0] }

// Payloads are the payloads of m, one after the other; they point into m.Payload. It is only to be called if Validate found no fault.
func (m *Message) Payloads(yield func(payload []byte) bool) {
	if !m.Batch {
		yield(m.Payload)
		return
	}
	_, n := binary.Uvarint(m.Payload)
	for rest := m.Payload[n:]; len(rest) > 0; {
		size, n := binary.Uvarint(rest)
		end := n + int(size)
		if !yield(rest[n:end:end]) {
			return
		}
		rest = rest[end:]
	}
}

// Count is how many messages m stands for; like Payloads it trusts Validate.
func (m *Message) Count() int {
	if !m.Batch {
		return 1
	}
	count, _ := binary.Uvarint(m.Payload)
	return int(count)
}

// validateBatch checks the payload of a batch. Errors wrap ErrBatch.
func validateBatch(b []byte) error {
	if len(b) > MaxBatchLen {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrBatch, len(b), MaxBatchLen)
	}
	count, n := binary.Uvarint(b)
	if n <= 0 || count == 0 || count > MaxBatchCount {
		return fmt.Errorf("%w: count %d", ErrBatch, count)
	}
	left := count
	for b = b[n:]; len(b) > 0; left-- {
		size, n := binary.Uvarint(b)
		if left == 0 || n <= 0 || size > uint64(len(b)-n) {
			return fmt.Errorf("%w: message %d of %d is too long", ErrBatch, count-left+1, count)
		}
		b = b[n+int(size):]
	}
	if left != 0 {
		return fmt.Errorf("%w: %d of %d messages missing", ErrBatch, left, count)
	}
	return nil
}
