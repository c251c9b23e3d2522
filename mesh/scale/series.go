package scale

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// seriesMost bounds the sites and slices of what is parsed.
const seriesMost = 1024

// ParseSeries reads square matrices of round trips in ms: a header "slice,from,<sites>" and a row for each site of each slice, slices from 1 in order; or
// "from,<sites>" for one alone. What it returns are one-way delays by slice.
func ParseSeries(r io.Reader) ([]*Sites, error) {
	rows := csv.NewReader(r)
	header, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("scale: series: %w", err)
	}
	before := 2
	if len(header) > 0 && header[0] == "from" {
		before = 1
	}
	n := len(header) - before
	if n < 2 || n > seriesMost || header[before-1] != "from" {
		return nil, errors.New("scale: series: the header is not slice,from,<sites>")
	}
	var out []*Sites
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("scale: series: %w", err)
		}
		if len(out) == 0 || len(out[len(out)-1].oneWay) == n {
			if len(out) == seriesMost {
				return nil, errors.New("scale: series: too many slices")
			}
			out = append(out, &Sites{})
		}
		delays, err := parseRow(row[before:])
		if err != nil {
			return nil, fmt.Errorf("scale: series: slice %d: %w", len(out), err)
		}
		last := out[len(out)-1]
		last.oneWay = append(last.oneWay, delays)
	}
	if len(out) == 0 || len(out[len(out)-1].oneWay) != n {
		return nil, errors.New("scale: series: the last slice is not whole")
	}
	return out, nil
}

func parseRow(texts []string) ([]time.Duration, error) {
	out := make([]time.Duration, len(texts))
	for i, text := range texts {
		ms, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(ms) || ms < 0 || ms > 60_000 {
			return nil, fmt.Errorf("round trip %q", text)
		}
		out[i] = time.Duration(ms / 2 * float64(time.Millisecond))
	}
	return out, nil
}

// OneWay is the delay between two sites.
func (s *Sites) OneWay(from, to int) time.Duration { return s.oneWay[from][to] }
