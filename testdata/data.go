// Package testdata carries the measured latencies of 36 world cities, which drive the demo's emulated WAN. Where they
// come from and what they are worth is in latency/README.md, beside the larger sets that only tests read.
package testdata

import _ "embed"

//go:embed latency/metro36_2020-07.csv
var metro36CSV string

//go:embed latency/metro36_nodes.csv
var metro36Places string

// Metro36CSV is the measured round trips between the 36 cities, an edge list in CSV with the columns from, to, rtt_ms,
// min_ms and mdev_ms. The caller owns the bytes.
func Metro36CSV() []byte { return []byte(metro36CSV) }

// Metro36Places is where the 36 cities are, in CSV with the columns id, country, lat and lon (degrees). The caller owns
// the bytes.
func Metro36Places() []byte { return []byte(metro36Places) }
