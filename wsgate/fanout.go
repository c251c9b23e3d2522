package wsgate

import (
	"math/rand/v2"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// Deliver hands a message to each local connection with a matching subscription, or to a random one of them if m.Mode
// says so, as one frame that lists all of its matching patterns, and returns how many connections took it. It never blocks
// and keeps nothing of m.Payload. Messages of one channel reach a connection in the order of the calls.
func (h *Hub) Deliver(m channel.Message) int {
	n := h.Queue(m)
	h.Flush()
	return n
}

// Queue is Deliver for a message that others follow at once: the connections get it at the next Flush, together with what was queued meanwhile.
func (h *Hub) Queue(m channel.Message) int {
	f := h.fanouts.Get().(*fanout)
	defer h.fanouts.Put(f)
	defer f.reset()
	n := h.deliver(m, f)
	h.due.add(f.owed)
	return n
}

// deliver is Queue with an empty fanout to work in, in which it leaves the outboxes that are owed a flush.
func (h *Hub) deliver(m channel.Message, f *fanout) int {
	h.look(m.Tenant, func(t *tenant) { f.collect(t, m.Channel) })

	if m.Batch && f.longest(m) > min(largestBatch, h.maxFrame) {
		return h.deliverSingly(m)
	}
	room := h.maxFrame - maxFrameHeader - deliveryLen(m, len(m.Payload))
	if m.Mode != channel.Broadcast {
		return h.deliverOne(m, f, room)
	}
	reached := 0
	for _, t := range f.targets {
		if f.sets[t.set].bytes > room {
			h.tooLarge.Add(1)
			continue
		}
		if f.push(t, m) {
			reached++
		}
	}
	return reached
}

// push puts a message into the outbox of a target.
func (f *fanout) push(t target, m channel.Message) bool {
	box := t.to.box
	var taken, owes bool
	if t.policy == dropOldest {
		taken, owes = box.push(f.frame(t.set, t.to.json.Load(), m))
	} else {
		taken, owes = f.pushPicky(t, m)
	}
	if owes {
		f.owed = append(f.owed, box)
	}
	return taken
}

// largestBatch is how many bytes a batch may take in an outbox at once. Where it would be more, connections get its messages one by one, as those that match by very many
// patterns do.
const largestBatch = 256 << 10

// longest is the greatest length of m, a batch, as encoded for any of its targets.
func (f *fanout) longest(m channel.Message) (bytes int) {
	for _, set := range f.sets {
		bytes = max(bytes, len(m.Payload)+m.Count()*(maxFrameHeader+deliveryLen(m, 0)+set.bytes))
	}
	return bytes
}

// deliverSingly is deliver for a batch, message by message, and returns the most connections that one of them reached.
func (h *Hub) deliverSingly(m channel.Message) (reached int) {
	for payload := range m.Payloads {
		reached = max(reached, h.Queue(channel.Message{Tenant: m.Tenant, Channel: m.Channel, Payload: payload}))
	}
	return reached
}

// deliverOne hands a message to a random target, if possible to one whose queue has room for it; room is that for the patterns in a frame.
func (h *Hub) deliverOne(m channel.Message, f *fanout, room int) int {
	before := len(f.targets)
	f.targets = slices.DeleteFunc(f.targets, func(t target) bool { return f.sets[t.set].bytes > room })
	h.tooLarge.Add(uint64(before - len(f.targets)))
	for _, spare := range []bool{true, false} { // last at the cost of what the target has not taken yet
		for n := len(f.targets); n > 0; n-- {
			i := rand.IntN(n)
			t := f.targets[i]
			if (!spare || t.to.box.roomy(len(f.frame(t.set, t.to.json.Load(), m).bytes))) && f.push(t, m) {
				return 1
			}
			f.targets[i], f.targets[n-1] = f.targets[n-1], t
		}
	}
	return 0
}

// Wants reports whether a connection has a subscription that matches a channel.
func (h *Hub) Wants(tenantName, name string) (wanted bool) {
	h.look(tenantName, func(t *tenant) {
		wanted = false
		t.interests.Match(name, func(_ channel.Pattern, in *interest) { wanted = wanted || in.roster.live.Load() > 0 })
	})
	return wanted
}

// fanout is the working memory of one Deliver.
//
// Connections that match by the same patterns share one frame. To find them in time linear in the number of matching
// subscriptions, sets of patterns are built like a trie: a set is an earlier one plus one more interest, and each such
// step is made once. All connections go through the interests in the same order, so equal sets get equal numbers.
type fanout struct {
	visit   func(channel.Pattern, *interest) // f.match, made once so that Deliver need not allocate it
	matched []*interest
	targets []target
	index   map[*subscriber]int // position in targets; used only where several interests match
	sets    []patternSet        // sets[0] is empty
	steps   map[step]int
	names   []channel.Pattern
	owed    []*outbox // to be flushed
	tail    *fanout   // for the last message of a batch, or nil
}

// target is a connection that gets the message by the patterns of a set.
type target struct {
	to     *subscriber
	set    int
	policy policy
}

// step is a set and the interest to be added to it.
type step struct {
	set  int
	more *interest
}

// patternSet is another set with one more interest.
type patternSet struct {
	step
	bytes  int // length of the patterns in a binary delivery
	binary frames
	json   frames
}

func newFanout() *fanout {
	f := &fanout{index: map[*subscriber]int{}, sets: make([]patternSet, 1), steps: map[step]int{}}
	f.visit = func(_ channel.Pattern, in *interest) { f.matched = append(f.matched, in) }
	return f
}

// reset forgets the message, and all it points to.
func (f *fanout) reset() {
	clear(f.matched)
	clear(f.targets)
	clear(f.sets)
	clear(f.index)
	clear(f.steps)
	clear(f.owed)
	f.matched, f.targets, f.sets, f.owed = f.matched[:0], f.targets[:0], f.sets[:1], f.owed[:0]
	if f.tail != nil {
		f.tail.reset()
	}
}

// collect finds the targets behind the interests in a channel, in the course of a look.
func (f *fanout) collect(t *tenant, name string) {
	if len(f.matched) > 0 {
		f.reset()
	}
	t.interests.Match(name, f.visit)
	if len(f.matched) == 1 {
		set, places := f.grow(0, f.matched[0]), f.matched[0].roster.all()
		for i := range places {
			if s := places[i].Load(); s != nil {
				f.targets = append(f.targets, target{s.to, set, policy(s.policy.Load())})
			}
		}
		return
	}
	for _, in := range f.matched {
		fresh := -1 // the set of those who match by this interest first
		places := in.roster.all()
		for i := range places {
			s := places[i].Load()
			if s == nil {
				continue
			}
			p := policy(s.policy.Load())
			if at, known := f.index[s.to]; known {
				f.targets[at].set = f.grow(f.targets[at].set, in)
				f.targets[at].policy = max(f.targets[at].policy, p)
				continue
			}
			if fresh < 0 {
				fresh = f.grow(0, in)
			}
			f.index[s.to] = len(f.targets)
			f.targets = append(f.targets, target{s.to, fresh, p})
		}
	}
}

// grow is the set with one more interest.
func (f *fanout) grow(set int, more *interest) int {
	if at, known := f.steps[step{set, more}]; known {
		return at
	}
	f.sets = append(f.sets, patternSet{step: step{set, more}, bytes: f.sets[set].bytes + patternLen(more.pattern)})
	at := len(f.sets) - 1
	f.steps[step{set, more}] = at
	return at
}

// frame is the message for a set in whole WebSocket frames, encoded when first asked for and shared from then on.
func (f *fanout) frame(set int, json bool, m channel.Message) frames {
	s := &f.sets[set]
	switch {
	case json && s.json.bytes == nil:
		patterns := f.patterns(set)
		for payload := range m.Payloads {
			body := appendJSONDelivery(nil, m, payload, patterns)
			s.json.bytes = append(appendFrameHeader(s.json.bytes, frameText, len(body)), body...)
		}
		s.json.messages = m.Count()
	case !json && s.binary.bytes == nil:
		s.binary = frames{bytes: encodeBinary(m, s.bytes, f.patterns(set)), messages: m.Count()}
	}
	if json {
		return s.json
	}
	return s.binary
}

// encodeBinary is the binary frames of a message for patterns that take so many bytes.
func encodeBinary(m channel.Message, patternBytes int, patterns []channel.Pattern) []byte {
	size := len(m.Payload) + m.Count()*(maxFrameHeader+deliveryLen(m, 0)+patternBytes)
	b := make([]byte, 0, size)
	for payload := range m.Payloads {
		b = appendFrameHeader(b, frameBinary, deliveryLen(m, len(payload))+patternBytes)
		b = appendDelivery(b, m, payload, patterns)
	}
	return b
}

// patterns lists a set, valid until the next call.
func (f *fanout) patterns(set int) []channel.Pattern {
	f.names = f.names[:0]
	for ; set != 0; set = f.sets[set].set {
		f.names = append(f.names, f.sets[set].more.pattern)
	}
	slices.Reverse(f.names)
	return f.names
}
