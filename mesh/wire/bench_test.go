package wire

import (
	"fmt"
	"testing"
)

// benchMessage is a usual message: one relay passed, a payload of 256 bytes.
func benchMessage(destinations int) Message {
	return Message{
		Class: ClassPublish, HopsLeft: 15, Origin: 1<<64 - 1, Boot: 1 << 31, Age: 20_000, Deadline: 5000, Via: someIDs(1),
		Tenant: []byte("acme"), Channel: []byte("building.floor3.room12.temperature"),
		Destinations: someDestinations(destinations), Payload: make([]byte, 256),
	}
}

func BenchmarkAppendMessageHead(b *testing.B) {
	for _, destinations := range []int{1, 16, MaxDestinations} {
		b.Run(fmt.Sprintf("destinations=%d", destinations), func(b *testing.B) {
			m := benchMessage(destinations)
			buf := AppendMessageHead(nil, &m, m.Destinations)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendMessageHead(buf[:0], &m, m.Destinations)
			}
		})
	}
}

func BenchmarkParseMessage(b *testing.B) {
	for _, destinations := range []int{1, 16, MaxDestinations} {
		b.Run(fmt.Sprintf("destinations=%d", destinations), func(b *testing.B) {
			frame := appender(benchMessage(destinations))(nil)
			var m Message
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if err := ParseMessage(frame, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSplitFrame(b *testing.B) {
	message := appender(benchMessage(1))(nil)
	stream := AppendFrame(AppendFrame(nil, message, nil), message, nil)
	b.ReportAllocs()
	for b.Loop() {
		if frame, _, _, err := SplitFrame(stream, MaxFrame); err != nil || len(frame) != len(message) {
			b.Fatal(len(frame), err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	r := signed(Record{Boot: 1, Kind: RecordInterest, Version: 1, Body: make([]byte, 1200)})
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Verify(); err != nil {
			b.Fatal(err)
		}
	}
}
