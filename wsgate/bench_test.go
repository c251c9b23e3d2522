package wsgate

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

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

// crowd is a Hub with 1,000 connections that subscribe to all of the channels, one connection to each, and four more patterns. What they get is lost.
func crowd(b *testing.B, channels int) (h *Hub, names []string) {
	h = NewHub(HubConfig{})
	connections := make([]*subscriber, 1000)
	for i := range connections {
		connections[i] = corkedSubscriber(new(counters))
		connections[i].box.limits.frames = 1
		connections[i].box.slow.since = time.Now().Add(time.Hour)
	}
	names = make([]string, channels)
	for i := range names {
		names[i] = fmt.Sprintf("building.floor%d.room%d.temperature", i%40, i)
		h.subscribe(connections[i%len(connections)], "t", patterns(b, names[i])[0], channels)
	}
	for i, p := range patterns(b, "building.*.*.humidity", "lobby.#", "*.garage.>", "building.cellar.#") {
		h.subscribe(connections[i], "t", p, channels)
	}
	return h, names
}

// BenchmarkManyChannels publishes to random ones of 100,000 channels, from all processors at once: "wants" asks whether somebody would get the message,
// "deliver" puts it into his queue.
func BenchmarkManyChannels(b *testing.B) {
	h, names := crowd(b, 100_000)
	payload := make([]byte, 128)
	for kind, publish := range map[string]func(name string) bool{
		"wants": func(name string) bool { return h.Wants("t", name) },
		"deliver": func(name string) bool {
			return h.Deliver(channel.Message{Tenant: "t", Channel: name, Payload: payload}) == 1
		},
	} {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(len(names)); pb.Next(); i = (i + 7919) % len(names) {
					if !publish(names[i]) {
						b.Error("nobody got it")
						return
					}
				}
			})
		})
	}
}

// BenchmarkWants asks for one channel from all processors at once.
func BenchmarkWants(b *testing.B) {
	h, names := crowd(b, 1000)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !h.Wants("t", names[0]) {
				b.Error("nobody wants it")
				return
			}
		}
	})
}

// BenchmarkSubscriptionMemory is what each of 100,000 subscriptions takes in all, a channel for each or one for all.
func BenchmarkSubscriptionMemory(b *testing.B) {
	const count = 100_000
	for _, channels := range []int{count, 1} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			for b.Loop() {
				empty := heapInUse()
				h := NewHub(HubConfig{})
				for i := range count {
					h.subscribe(&subscriber{}, "t", patterns(b, fmt.Sprintf("building.room%d.temperature", i%channels))[0], 1)
				}
				b.ReportMetric((heapInUse()-empty)/count, "B/subscription")
				runtime.KeepAlive(h)
			}
		})
	}
}

func heapInUse() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// BenchmarkLeave is the end of 10,000 connections that hold one subscription each, all to the same channel.
func BenchmarkLeave(b *testing.B) {
	p := patterns(b, "a")[0]
	for b.Loop() {
		h, all := NewHub(HubConfig{}), make([]*subscriber, 10_000)
		for i := range all {
			all[i] = &subscriber{}
			h.subscribe(all[i], "t", p, 1)
		}
		for _, s := range all {
			h.leave(s, func(string, channel.Pattern, bool) {})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/connection")
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
