package wan

import (
	"bytes"
	"encoding/csv"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Whatever parses can be written and parsed again to the same matrix.
func FuzzParseMatrix(f *testing.F) {
	f.Add([]byte("from,to,rtt_ms,mdev_ms\na,b,1.5,0.2\nb,c,3,0\n"))
	f.Add([]byte("rtt_ms,x,to,from\r\n60000,,\"a,b\",\"c \"\"d\"\"\"\r\n"))
	f.Add([]byte("from,to,rtt_ms\na,b,NaN\n"))
	f.Add([]byte("from,to,rtt_ms\na,a,1e-7\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMatrix(bytes.NewReader(data))
		if err != nil {
			return
		}
		rows := [][]string{{"from", "to", "rtt_ms", "mdev_ms"}}
		for i, from := range m.names {
			for j, to := range m.names {
				if rtt := m.rtt[m.at(i, j)]; i != j && rtt != unmeasured {
					rows = append(rows, []string{from, to, millis(rtt), millis(m.jitter[m.at(i, j)])})
				}
			}
		}
		again, err := ParseMatrix(bytes.NewReader(encode(t, rows)))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%v became %v", m, again)
		}
	})
}

func FuzzParsePlaces(f *testing.F) {
	f.Add([]byte("id,country,lat,lon\na,X,1.5,-2\nb,Y,-90,180\n"))
	f.Add([]byte("lon,lat,country,id\n1e309,0x1p3,X,a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		places, err := ParsePlaces(bytes.NewReader(data))
		if err != nil {
			return
		}
		rows := [][]string{{"id", "country", "lat", "lon"}}
		for _, name := range slices.Sorted(maps.Keys(places)) {
			p := places[name]
			rows = append(rows, []string{p.Name, p.Country, decimal(p.Lat), decimal(p.Lon)})
		}
		again, err := ParsePlaces(bytes.NewReader(encode(t, rows)))
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(places, again) {
			t.Errorf("%v became %v", places, again)
		}
	})
}

func encode(t *testing.T, rows [][]string) []byte {
	var text bytes.Buffer
	if err := csv.NewWriter(&text).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func millis(d time.Duration) string { return decimal(float64(d) / float64(time.Millisecond)) }

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
