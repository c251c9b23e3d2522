package bench

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
)

// patternTokens is how many tokens of fanout's channel a pattern may have wildcards for: two to that power subscribers a connection.
const patternTokens = 8

// crowd is the audience of fanout: one channel, all connections, and maybe several subscribers on each. Further channels are up to who asks for them.
func (c Config) crowd(r *rig, channels int) *audience {
	connections := c.connections("fanout")
	a := newAudience(r, r.channelNames(channels), connections, c.Load.Subscribers/connections)
	if a.each > 1 {
		for i := range a.channels {
			a.channels[i] += strings.Repeat(".x", patternTokens)
		}
	}
	return a
}

func (c Config) crowdText() string {
	return fmt.Sprintf("%d subscribers on %d connections", c.Load.Subscribers, c.connections("fanout"))
}

func (c Config) crowdLoad(size int) map[string]float64 {
	return map[string]float64{"size_bytes": float64(size), "subscribers": float64(c.Load.Subscribers), "connections": float64(c.connections("fanout"))}
}

// crowdPatterns are the patterns of a connection's subscribers, each a pattern of its own that matches the channel.
func (a *audience) crowdPatterns(name string) (all []string) {
	tokens := strings.Split(name, ".")
	for i := range a.each {
		some := slices.Clone(tokens)
		for bit := range patternTokens {
			if i>>bit&1 == 1 {
				some[len(some)-1-bit] = "*"
			}
		}
		all = append(all, strings.Join(some, "."))
	}
	return all
}

// rollCall tells when all have got a message, of those that are under way at a time. It is safe for concurrent use.
type rollCall struct {
	all     int32
	present []atomic.Int32 // by the low bits of the number
}

// newRollCall is for so many listeners, of which none is so many messages ahead of another. If messages are lost that may not hold, and what it
// tells is of no use, as all figures then.
func newRollCall(apart, all int) *rollCall {
	return &rollCall{all: int32(all), present: make([]atomic.Int32, 1<<bits.Len(uint(apart)))}
}

// complete notes that one has got a message and reports whether it was the last.
func (c *rollCall) complete(number uint64) bool {
	slot := &c.present[number&uint64(len(c.present)-1)]
	if slot.Add(1) < c.all {
		return false
	}
	slot.Store(0)
	return true
}
