package demo

import (
	"bytes"
	"testing"

	"github.com/rs/zerolog"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func TestLinkLog(t *testing.T) {
	var passed bytes.Buffer
	links := &linkLog{out: &passed}
	log := zerolog.New(links).With().Str("node", "Paris").Logger()
	log.Info().Stringer("peer", wire.NodeID(0xab)).Str("detail", "probes unanswered").Msg("link down")
	log.Info().Str("detail", "link down").Msg("member joined")
	log.Info().Stringer("peer", wire.NodeID(0xab)).Str("detail", "srtt 1.0 ms").Msg("link up")
	log.Info().Str("peer", "nobody").Msg("link up")
	got := links.take()
	want := []linkChange{
		{node: "Paris", peer: 0xab, why: "probes unanswered"},
		{node: "Paris", peer: 0xab, up: true, why: "srtt 1.0 ms"},
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
	if links.take() != nil {
		t.Error("taken twice")
	}
	if n := bytes.Count(passed.Bytes(), []byte("\n")); n != 4 {
		t.Errorf("%d lines passed on", n)
	}
	links.out = nil
	for range changesKept + 1 {
		log.Info().Stringer("peer", wire.NodeID(1)).Msg("link up")
	}
	if n := len(links.take()); n != changesKept {
		t.Errorf("%d changes kept", n)
	}
}

func FuzzParseLinkLine(f *testing.F) {
	f.Add([]byte(`{"level":"info","node":"Seoul","peer":"00000000000000ab","detail":"x","message":"link up"}`))
	f.Add([]byte(`"link down"`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if change, ok := parseLinkLine(line); !ok && change != (linkChange{}) {
			t.Fatalf("%+v", change)
		}
	})
}
