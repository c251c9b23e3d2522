package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// Class says what a Message is for.
type Class byte

// The classes of messages.
const (
	ClassPublish Class = 0 // a client's message; tenant, channel and mode are meant
	ClassSWIM    Class = 1 // a SWIM packet for a node without a direct path; the payload is the packet
	ClassControl Class = 2 // a Records or digest frame for a node without a direct link
	ClassAck     Class = 3 // an Ack for the origin of published messages
	ClassShared  Class = 4 // a Share frame for every node, numbered like published messages
	ClassTrace   Class = 5 // travels as a published message does, for nobody to read: its way is what is asked for
	ClassHop     Class = 6 // a Hop for the origin of a traced message
	maxClass           = ClassHop
)

// Marks in bytes that have room: of a batch in the mode, of tags and of a trace in the class, and how many nodes to avoid in the count of relays passed.
const (
	modeBatch   = 0x80
	classSealed = 0x80
	classTraced = 0x40
	avoidShift  = 5
)

// TagSize is the length of what proves to a destination who sent it a message.
const TagSize = 16

// Message is a frame that nodes forward hop by hop.
type Message struct {
	Class        Class
	Mode         byte     // delivery mode as on the client wire
	Batch        bool     // the payload is several messages of the channel, as package channel has it
	HopsLeft     byte     // links it may still cross, this one included
	Origin       NodeID   // node that took it from a client
	Boot         uint64   // boot of the origin
	Age          uint32   // µs since the origin took it, as added up on the way
	Deadline     uint32   // ms of age at which it is dropped
	Via          []NodeID // relays passed so far, in order
	Avoid        []NodeID // relays to go around where there is another way
	Sealed       bool     // destinations have tags
	Trace        uint64   // not 0: each node on the way tells the origin of it, under this number
	Tenant       []byte
	Channel      []byte
	Destinations []Destination
	Payload      []byte
}

// Destination is a node that a message is for, and the message's place in what the origin sends there.
type Destination struct {
	ID    NodeID
	Seq   uint64        // from 1 within the runs of origin and destination; 0: unnumbered, and the rest is 0
	Back  uint64        // sequences since the last message of the same channel; 0: wait for none
	Ahead uint64        // sequences since the least that the origin still keeps
	Boot  uint16        // low bits of the destination's boot
	Tag   [TagSize]byte // of a sealed message; else zero
}

// Aside reports whether the message is one that the mesh itself publishes, on a channel that starts with "$", or only traces the way: it can wait, and is no reason to
// open a link or to watch one closely.
func (m *Message) Aside() bool {
	return m.Class == ClassTrace || len(m.Channel) > 0 && m.Channel[0] == '$'
}

// InMessageLanes reports whether the message travels in message lanes: where there is no room it waits, or is dropped and sent again.
func (m *Message) InMessageLanes() bool { return m.Class == ClassPublish || m.Class == ClassTrace }

// Expired reports whether the message has outlived its deadline.
func (m *Message) Expired() bool { return uint64(m.Age) >= uint64(m.Deadline)*1000 }

// AddAge makes the message older; the age saturates.
func (m *Message) AddAge(d time.Duration) {
	if d <= 0 {
		return
	}
	if sum := uint64(m.Age) + uint64(d/time.Microsecond); sum < 1<<32 {
		m.Age = uint32(sum)
	} else {
		m.Age = 1<<32 - 1
	}
}

// Visited reports whether id is the origin or one of the relays passed.
func (m *Message) Visited(id NodeID) bool { return m.Origin == id || slices.Contains(m.Via, id) }

// AppendMessageHead appends everything of the message but its payload, which follows it on the wire. The destinations are given
// apart, since they are what differs between the copies of one message. The fields must be within the limits of this
// package, or their counts do not fit.
func AppendMessageHead(dst []byte, m *Message, destinations []Destination) []byte {
	mode := m.Mode
	if m.Batch {
		mode |= modeBatch
	}
	class := byte(m.Class)
	if m.Sealed {
		class |= classSealed
	}
	if m.Trace != 0 {
		class |= classTraced
	}
	dst = append(dst, byte(KindMessage), class, mode, m.HopsLeft)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Origin))
	dst = binary.AppendUvarint(dst, m.Boot)
	dst = binary.BigEndian.AppendUint32(dst, m.Age)
	dst = binary.AppendUvarint(dst, uint64(m.Deadline))
	dst = append(dst, byte(len(m.Via)|len(m.Avoid)<<avoidShift))
	dst = appendIDs(dst, m.Via)
	dst = appendIDs(dst, m.Avoid)
	if m.Trace != 0 {
		dst = binary.BigEndian.AppendUint64(dst, m.Trace)
	}
	dst = append(dst, byte(len(m.Tenant)))
	dst = append(dst, m.Tenant...)
	dst = appendText(dst, m.Channel)
	dst = binary.AppendUvarint(dst, uint64(len(destinations)))
	for i := range destinations {
		d := &destinations[i]
		dst = binary.BigEndian.AppendUint64(dst, uint64(d.ID))
		dst = binary.AppendUvarint(dst, d.Seq)
		if d.Seq != 0 {
			dst = binary.AppendUvarint(dst, d.Back)
			dst = binary.AppendUvarint(dst, d.Ahead)
			dst = binary.BigEndian.AppendUint16(dst, d.Boot)
		}
		if m.Sealed {
			dst = append(dst, d.Tag[:]...)
		}
	}
	return dst
}

// ParseMessage reads a message frame into m, reusing m's slices of IDs; the byte slices point into b. After an error m is
// fit only to be parsed into again.
func ParseMessage(b []byte, m *Message) error {
	r := reader{b: b}
	r.kind(KindMessage)
	class := r.byte()
	m.Class, m.Sealed = Class(class&^(classSealed|classTraced)), class&classSealed != 0
	mode := r.byte()
	m.Mode, m.Batch = mode&^modeBatch, mode&modeBatch != 0
	m.HopsLeft = r.byte()
	m.Origin = NodeID(r.uint64())
	m.Boot = r.uvarint()
	m.Age = r.uint32()
	deadline := r.uvarint()
	passed := int(r.byte())
	via, avoid := passed&(1<<avoidShift-1), passed>>avoidShift
	if r.err == nil {
		switch {
		case m.Class > maxClass:
			r.fail(fmt.Errorf("%w: class %d", ErrMalformed, m.Class))
		case m.HopsLeft > MaxHops || via > MaxHops:
			r.fail(fmt.Errorf("%w: %d hops left, %d passed, at most %d", ErrLimit, m.HopsLeft, via, MaxHops))
		case deadline > 1<<32-1:
			r.fail(fmt.Errorf("%w: deadline of %d ms", ErrLimit, deadline))
		case m.Origin == 0:
			r.fail(fmt.Errorf("%w: no origin", ErrMalformed))
		}
	}
	m.Deadline = uint32(deadline)
	m.Via = r.ids(m.Via[:0], via)
	m.Avoid = r.ids(m.Avoid[:0], avoid)
	if m.Trace = 0; class&classTraced != 0 {
		if m.Trace = r.uint64(); r.err == nil && m.Trace == 0 {
			r.fail(fmt.Errorf("%w: trace zero", ErrMalformed))
		}
	}
	if n := int(r.byte()); n > MaxTenant {
		r.fail(fmt.Errorf("%w: tenant of %d bytes", ErrLimit, n))
	} else {
		m.Tenant = r.take(n)
	}
	m.Channel = r.text(MaxChannel)
	m.Destinations = r.destinations(m.Destinations[:0], m.Sealed)
	if r.err == nil && len(m.Destinations) == 0 {
		r.fail(fmt.Errorf("%w: no destination", ErrMalformed))
	}
	if r.err == nil && len(r.b) > MaxPayload {
		r.fail(fmt.Errorf("%w: payload of %d bytes", ErrLimit, len(r.b)))
	}
	m.Payload = r.take(len(r.b))
	if r.err != nil {
		return fmt.Errorf("message: %w", r.err)
	}
	return nil
}

func (r *reader) ids(dst []NodeID, n int) []NodeID {
	b := r.take(8 * n)
	for len(b) > 0 {
		id := NodeID(binary.BigEndian.Uint64(b))
		if id == 0 {
			r.fail(fmt.Errorf("%w: node zero", ErrMalformed))
			break
		}
		dst = append(dst, id)
		b = b[8:]
	}
	return dst
}

func appendIDs(dst []byte, ids []NodeID) []byte {
	for _, id := range ids {
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	}
	return dst
}

func (r *reader) destinations(dst []Destination, sealed bool) []Destination {
	size := 9
	if sealed {
		size += TagSize
	}
	for range r.count(MaxDestinations, size) {
		d := Destination{ID: NodeID(r.uint64()), Seq: r.uvarint()}
		if d.Seq != 0 {
			d.Back, d.Ahead = r.uvarint(), r.uvarint()
			if b := r.take(2); b != nil {
				d.Boot = binary.BigEndian.Uint16(b)
			}
		}
		if sealed {
			copy(d.Tag[:], r.take(TagSize))
		}
		if r.err == nil && (d.ID == 0 || d.Seq != 0 && (d.Back >= d.Seq || d.Ahead >= d.Seq)) {
			r.fail(fmt.Errorf("%w: destination %v, sequence %d, back %d, ahead %d", ErrMalformed, d.ID, d.Seq, d.Back, d.Ahead))
		}
		if r.err != nil {
			return dst
		}
		dst = append(dst, d)
	}
	return dst
}
