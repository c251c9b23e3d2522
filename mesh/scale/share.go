package scale

import "github.com/fastpubsub/fastpubsub/mesh/wire"

// sharedRecords lets all nodes that hold a record hold the same bytes, which nobody changes, and parses a frame that goes to many once.
type sharedRecords struct {
	frames  map[*byte][]wire.Record
	records map[recordOf][]wire.Record // the latest of each origin and kind, the newest last
}

type recordOf struct {
	origin wire.NodeID
	kind   wire.RecordKind
}

const (
	framesKept  = 8192
	recordsKept = 80 // more than a node keeps of one (core)
)

func newSharedRecords() sharedRecords {
	return sharedRecords{frames: map[*byte][]wire.Record{}, records: map[recordOf][]wire.Record{}}
}

// parse is what a Records frame says.
func (s *sharedRecords) parse(frame []byte) ([]wire.Record, error) {
	if records, known := s.frames[&frame[0]]; known {
		return records, nil
	}
	records, err := wire.ParseRecords(frame)
	if err != nil {
		return nil, err
	}
	for i := range records {
		records[i] = s.intern(records[i])
	}
	if len(s.frames) >= framesKept {
		clear(s.frames)
	}
	s.frames[&frame[0]] = records
	return records, nil
}

func (s *sharedRecords) intern(r wire.Record) wire.Record {
	key := recordOf{r.Origin, r.Kind}
	kept := s.records[key]
	for i := len(kept) - 1; i >= 0; i-- {
		if kept[i].Stamp() == r.Stamp() {
			return kept[i]
		}
	}
	if len(kept) >= recordsKept {
		kept = append(kept[:0], kept[recordsKept/2:]...)
	}
	s.records[key] = append(kept, r)
	return r
}
