package channel

import (
	"fmt"
	"strconv"
)

// Mode says who gets a message; its values are those of the llps.v1 publish frame.
type Mode uint8

const (
	// Broadcast delivers to every matching subscription on every node.
	Broadcast Mode = 0
	// DeliverLowestLatency delivers to one subscriber, on the node with subscribers that is nearest by latency.
	DeliverLowestLatency Mode = 1
	// DeliverRandom delivers to one subscriber, on a random node with subscribers.
	DeliverRandom Mode = 2
)

// String is the mode's name in llps.v1, or mode(n) for an unknown one.
func (m Mode) String() string {
	switch m {
	case Broadcast:
		return "broadcast"
	case DeliverLowestLatency:
		return "deliver-one-low-latency"
	case DeliverRandom:
		return "deliver-one-random"
	default:
		return "mode(" + strconv.Itoa(int(m)) + ")"
	}
}

// ParseMode reads a mode's name. The error wraps ErrMode.
func ParseMode(name string) (Mode, error) {
	for m := Broadcast; m <= DeliverRandom; m++ {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%w: %.40q, want %v, %v or %v", ErrMode, name, Broadcast, DeliverLowestLatency, DeliverRandom)
}

// Message is one publication. Payload is not copied: whoever makes the message says how long its bytes stay valid.
type Message struct {
	Tenant  string // as NormalizeTenant returns it
	Channel string // a concrete name
	Mode    Mode
	Batch   bool   // Payload is that of a Batch: several broadcast messages, in order
	Payload []byte // at most MaxPayloadLen; may be empty
}

// Validate checks the names, the payload and the mode. Errors wrap ErrTenant (also for an empty tenant, which
// is not normalized), ErrChannel, ErrPayload, ErrBatch or ErrMode.
func (m *Message) Validate() error {
	if err := validateTenant(m.Tenant); err != nil {
		return err
	}
	if err := ValidateChannel(m.Channel); err != nil {
		return err
	}
	if len(m.Payload) > MaxPayloadLen {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrPayload, len(m.Payload), MaxPayloadLen)
	}
	if m.Mode > DeliverRandom {
		return fmt.Errorf("%w: %d", ErrMode, m.Mode)
	}
	if !m.Batch {
		return nil
	}
	if m.Mode != Broadcast {
		return fmt.Errorf("%w: a batch is for all, not %v", ErrMode, m.Mode)
	}
	return validateBatch(m.Payload)
}
