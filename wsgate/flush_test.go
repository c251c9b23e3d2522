package wsgate

import (
	"bytes"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// TestBurstBeforeFlush: what comes before anybody flushes goes to a writer before the queue is full, by bytes or by messages.
func TestBurstBeforeFlush(t *testing.T) {
	for name, f := range map[string]frames{
		"bytes":    {bytes: make([]byte, 10<<10), messages: 1},
		"messages": {bytes: make([]byte, 10), messages: 10},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &sink{}
			b := testOutbox(conn)
			b.limits.bytes, b.limits.frames = 100<<10, 100
			for range 30 {
				if taken, _ := b.push(f); !taken {
					t.Fatal("not taken")
				}
				b.writers.Wait() // if one was started
			}
			if drops := b.counts.dropsSlow.Load(); drops != 0 {
				t.Errorf("%d dropped", drops)
			}
		})
	}
}

// TestPromptRecovers: a queue that overflowed and was then emptied by who flushes is not slow any more.
func TestPromptRecovers(t *testing.T) {
	b := testOutbox(&sink{})
	b.conn.prompt = &chopper{c: b.conn}
	b.limits.frames = 10
	b.cork() // nothing goes
	for range 11 {
		b.push(frames{bytes: newFrame(frameBinary, nil), messages: 1})
	}
	b.mu.Lock()
	b.corked = false
	b.mu.Unlock()
	for b.frames.count > 0 { // until the socket takes something
		b.flushed = time.Time{}
		b.mu.Lock()
		b.writeNow()
		b.mu.Unlock()
	}
	if b.counts.dropsSlow.Load() != 1 || !b.slow.since.IsZero() {
		t.Errorf("%d dropped, slow since %v", b.counts.dropsSlow.Load(), b.slow.since)
	}
}

// TestBatchOverMaxFrame: a batch longer than the longest frame reaches a connection message by message.
func TestBatchOverMaxFrame(t *testing.T) {
	h := NewHub(HubConfig{MaxFrame: 4 << 10})
	s := corkedSubscriber(new(counters))
	p, err := channel.ParsePattern("a")
	if err != nil {
		t.Fatal(err)
	}
	h.subscribe(s, "t", p, 1)
	var batch channel.Batch
	for range 8 {
		batch.Add(bytes.Repeat([]byte{'x'}, 1000))
	}
	if n := h.Deliver(channel.Message{Tenant: "t", Channel: "a", Batch: true, Payload: batch.Payload()}); n != 1 || s.box.frames.messages != 8 {
		t.Errorf("reached %d with %d messages", n, s.box.frames.messages)
	}
}
