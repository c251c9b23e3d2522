package wsgate

import (
	"fmt"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// BenchmarkFanout is Deliver to 1,000 connections and the writing of the frames into sinks. "same" is one pattern for
// all, "mixed" has two for every other connection.
func BenchmarkFanout(b *testing.B) {
	const connections = 1000
	for _, kind := range []string{"same", "mixed"} {
		for _, length := range []int{128, 16 << 10} {
			b.Run(fmt.Sprintf("%s/%dB", kind, length), func(b *testing.B) {
				h := NewHub(HubConfig{})
				boxes := make([]*outbox, connections)
				batches := testOutbox(nil).batches
				for i := range boxes {
					boxes[i] = testOutbox(&sink{})
					boxes[i].batches = batches
					s := &subscriber{box: boxes[i]}
					h.subscribe(s, "t", patterns(b, "a.b")[0], 10)
					if kind == "mixed" && i%2 == 0 {
						h.subscribe(s, "t", patterns(b, "a.#")[0], 10)
					}
				}
				m := channel.Message{Tenant: "t", Channel: "a.b", Payload: make([]byte, length)}
				b.ReportAllocs()
				for b.Loop() {
					if n := h.Deliver(m); n != connections {
						b.Fatal(n)
					}
					for _, box := range boxes {
						box.writers.Wait()
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/connections, "ns/delivery")
			})
		}
	}
}

// BenchmarkPush is what a delivery costs the goroutine that delivers, with a writer at work already.
func BenchmarkPush(b *testing.B) {
	box := testOutbox(&sink{})
	frame := frames{bytes: make([]byte, 128), messages: 1}
	b.ReportAllocs()
	for b.Loop() {
		pushNow(box, frame)
	}
	box.writers.Wait()
}

func BenchmarkParsePublish(b *testing.B) {
	frame := publishV1("tenant", "some.channel.name", string(make([]byte, 128)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsePublish(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendDelivery(b *testing.B) {
	m := channel.Message{Tenant: "tenant", Channel: "some.channel.name", Payload: make([]byte, 128)}
	ps := patterns(b, "some.#")
	b.Run("binary", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			appendDelivery(buf, m, m.Payload, ps)
		}
	})
	b.Run("json", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			appendJSONDelivery(buf, m, m.Payload, ps)
		}
	})
}

func BenchmarkParseLine(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseLine("SUB:tenant:some.channel.name"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseJSON(b *testing.B) {
	in := []byte(`{"action":"publish","tenant":"t","channel":"some.channel","payload":"twenty bytes of text","id":1}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseJSON(in); err != nil {
			b.Fatal(err)
		}
	}
}
