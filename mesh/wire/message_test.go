package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

// someIDs are n different IDs.
func someIDs(n int) []NodeID {
	ids := make([]NodeID, n)
	for i := range ids {
		ids[i] = NodeID(i + 1)
	}
	return ids
}

// someDestinations are numbered, every other one.
func someDestinations(n int) []Destination {
	out := make([]Destination, n)
	for i, id := range someIDs(n) {
		out[i].ID = id
		if i%2 == 0 {
			out[i] = Destination{ID: id, Seq: 1<<64 - 1, Back: 1<<64 - 2, Ahead: uint64(i), Boot: uint16(i)}
		}
	}
	return out
}

// largestMessage is at every limit.
func largestMessage() Message {
	return Message{
		Class: ClassControl, Mode: 127, Batch: true, HopsLeft: MaxHops, Origin: 1<<64 - 1, Boot: 1<<64 - 1, Age: 1<<32 - 1, Deadline: 1<<32 - 1,
		Via: someIDs(MaxHops), Tenant: make([]byte, MaxTenant), Channel: make([]byte, MaxChannel),
		Avoid: someIDs(MaxAvoid), Sealed: true, Destinations: someDestinations(MaxDestinations), Payload: make([]byte, MaxPayload),
	}
}

// Invariant 3.
func TestMessageLimits(t *testing.T) {
	largest := largestMessage()
	if got, err := parseMessage(appender(largest)(nil)); err != nil || !reflect.DeepEqual(got, largest) {
		t.Fatalf("at the limits: %v", err)
	}
	for name, exceed := range map[string]func(*Message){
		"hops left":    func(m *Message) { m.HopsLeft++ },
		"via":          func(m *Message) { m.Via = someIDs(MaxHops + 1) },
		"tenant":       func(m *Message) { m.Tenant = make([]byte, MaxTenant+1) },
		"channel":      func(m *Message) { m.Channel = make([]byte, MaxChannel+1) },
		"destinations": func(m *Message) { m.Destinations = someDestinations(MaxDestinations + 1) },
		"payload":      func(m *Message) { m.Payload = make([]byte, MaxPayload+1) },
	} {
		m := largest
		exceed(&m)
		if _, err := parseMessage(appender(m)(nil)); !errors.Is(err, ErrLimit) {
			t.Errorf("%s over the limit: %v, want %v", name, err, ErrLimit)
		}
	}

	m := Message{HopsLeft: 1, Origin: 1, Deadline: 1<<32 - 1, Destinations: someDestinations(1)}
	atLimit, over := unhex(t, "ff ff ff ff 0f"), unhex(t, "80 80 80 80 10")
	b := appender(m)(nil)
	if !bytes.Contains(b, atLimit) {
		t.Fatalf("no deadline in % x", b)
	}
	if _, err := parseMessage(bytes.Replace(b, atLimit, over, 1)); !errors.Is(err, ErrLimit) {
		t.Errorf("deadline of 2^32 ms: %v, want %v", err, ErrLimit)
	}
}

func TestMessageMalformed(t *testing.T) {
	for name, spoil := range map[string]func(*Message){
		"class":            func(m *Message) { m.Class = maxClass + 1 },
		"origin zero":      func(m *Message) { m.Origin = 0 },
		"via zero":         func(m *Message) { m.Via = []NodeID{2, 0} },
		"avoid zero":       func(m *Message) { m.Avoid = []NodeID{0} },
		"destination zero": func(m *Message) { m.Destinations = []Destination{{ID: 3}, {}, {ID: 4}} },
		"back too far":     func(m *Message) { m.Destinations = []Destination{{ID: 3, Seq: 5, Back: 5}} },
		"ahead too far":    func(m *Message) { m.Destinations = []Destination{{ID: 3, Seq: 5, Ahead: 5}} },
		"no destination":   func(m *Message) { m.Destinations = nil },
	} {
		m := Message{HopsLeft: 1, Origin: 1, Boot: 1, Destinations: []Destination{{ID: 2}}}
		spoil(&m)
		if _, err := parseMessage(appender(m)(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want %v", name, err, ErrMalformed)
		}
	}
	b := golden(t, "message")
	for kind := range 256 {
		b[0] = byte(kind)
		if _, err := parseMessage(b); (err == nil) != (Kind(kind) == KindMessage) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
}

// The copies of one message differ in their destinations only.
func TestMessageSplit(t *testing.T) {
	m := largestMessage()
	for n := 1; n <= MaxDestinations; n *= 4 {
		got, err := parseMessage(append(AppendMessageHead(nil, &m, m.Destinations[:n]), m.Payload...))
		want := m
		want.Destinations = m.Destinations[:n]
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d destinations: %v", n, err)
		}
	}
}

// Nothing of the last message, nor of one refused half way, shows in the next.
func TestParseMessageAgain(t *testing.T) {
	var m Message
	largest, bare := appender(largestMessage())(nil), golden(t, "message without payload")
	for _, before := range [][]byte{largest, largest[:200], golden(t, "message")[:60], {9}, nil} {
		_ = ParseMessage(before, &m)
		if err := ParseMessage(bare, &m); err != nil {
			t.Fatal(err)
		}
		if got := appender(m)(nil); !bytes.Equal(got, bare) {
			t.Errorf("after %d bytes: % x, want % x", len(before), got, bare)
		}
	}
}

func TestExpired(t *testing.T) {
	for _, test := range []struct {
		age, deadline uint32
		want          bool
	}{
		{0, 0, true},
		{999, 1, false},
		{1000, 1, true},
		{1001, 1, true},
		{4_999_999, 5000, false},
		{5_000_000, 5000, true},
		{1<<32 - 1, 4_294_967, true},
		{1<<32 - 1, 4_294_968, false},
		{1<<32 - 1, 1<<32 - 1, false},
	} {
		m := Message{Age: test.age, Deadline: test.deadline}
		if got := m.Expired(); got != test.want {
			t.Errorf("%d µs, deadline %d ms: %t, want %t", test.age, test.deadline, got, test.want)
		}
	}
}

func TestAddAge(t *testing.T) {
	for _, test := range []struct {
		age  uint32
		more time.Duration
		want uint32
	}{
		{7, 0, 7},
		{7, -time.Hour, 7},
		{7, math.MinInt64, 7},
		{7, 999 * time.Nanosecond, 7},
		{7, 1999 * time.Nanosecond, 8},
		{7, time.Second, 1_000_007},
		{1<<32 - 2, time.Microsecond, 1<<32 - 1},
		{1<<32 - 1, time.Microsecond, 1<<32 - 1},
		{0, time.Microsecond << 32, 1<<32 - 1},
		{1<<32 - 1, math.MaxInt64, 1<<32 - 1},
	} {
		m := Message{Age: test.age}
		if m.AddAge(test.more); m.Age != test.want {
			t.Errorf("%d µs and %v: %d, want %d", test.age, test.more, m.Age, test.want)
		}
	}
}

func TestVisited(t *testing.T) {
	m := Message{Origin: 1, Via: []NodeID{2, 3}, Destinations: []Destination{{ID: 4}}}
	var visited []NodeID
	for id := range NodeID(6) {
		if m.Visited(id) {
			visited = append(visited, id)
		}
	}
	if !slices.Equal(visited, []NodeID{1, 2, 3}) {
		t.Errorf("%v", visited)
	}
}
