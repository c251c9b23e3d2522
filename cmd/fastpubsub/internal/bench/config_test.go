package bench

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no such scenario":       {Scenarios: []string{"speed"}},
		"negative duration":      {Duration: -time.Second},
		"endless warm-up":        {WarmUp: 48 * time.Hour},
		"repetitions":            {Repetitions: -1},
		"patience":               {Patience: -1},
		"too small":              {Load: Load{Sizes: []int{128, minSize - 1}}},
		"too large":              {Load: Load{Sizes: []int{65536}}},
		"rate":                   {Load: Load{Rate: -1}},
		"subscribers":            {Load: Load{Subscribers: -1}},
		"share":                  {Load: Load{Share: 1.5}},
		"share of not a number":  {Load: Load{Share: nan()}},
		"slow":                   {Load: Load{Slow: -1}},
		"backlog":                {Load: Load{Backlog: -1}},
		"connections":            {Load: Load{Connections: -1}},
		"channels":               {Load: Load{Channels: 1e9}},
		"window":                 {Load: Load{InFlight: -1}},
		"uneven":                 {Load: Load{Subscribers: 10, Connections: 3}},
		"more than patterns":     {Load: Load{Subscribers: 1000, Connections: 2}},
		"no node":                {Target: Target{Nodes: -1}},
		"only half an address":   {Target: Target{SubURL: "ws://127.0.0.1:1/ws"}},
		"not a WebSocket":        {Target: Target{URL: "http://127.0.0.1:1/ws"}},
		"no host":                {Target: Target{URL: "ws:///ws"}},
		"no address at all":      {Target: Target{URL: "ws://127.0.0.1:1/ws", SubURL: "%"}},
		"a tenant that is none":  {Target: Target{Tenant: "a/b"}},
		"a rate of not a number": {Load: Load{Rate: nan()}},
	} {
		c.Out, c.Err = io.Discard, io.Discard
		if err := Run(t.Context(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := Config{}.normal()
	if err != nil || !slices.Equal(c.Scenarios, Names()) || c.Target.Tenant != "~" || c.connections("fanout") != 1000 || c.connections("idle") != 2000 {
		t.Errorf("%+v, %v", c, err)
	}
	var names []string
	for _, s := range c.scenarios() {
		names = append(names, s.name)
	}
	if !slices.Equal(names, []string{"latency", "throughput", "throughput", "load", "fanout", "fanout", "slow", "idle", "channels"}) {
		t.Errorf("tour %v", names)
	}
	// Uneven connections do not matter where there is no fanout.
	if _, err := (Config{Scenarios: []string{"idle"}, Load: Load{Subscribers: 10, Connections: 3}}).normal(); err != nil {
		t.Error(err)
	}
}

// The defaults keep what a node queues for a connection under its limits, 1 MiB and 8,192 deliveries.
func TestDefaultWindowIsNotDropped(t *testing.T) {
	c, err := Config{}.normal()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{minSize, 128, 1000, 16 << 10, 65535} {
		limit := c.window(size).limit
		frame := len(appendDelivery(nil, "~", "bench.01234567.0", make([]byte, size), "bench.01234567.0")) + 10
		if limit > 8192 || limit*frame > 1<<20 {
			t.Errorf("%d messages of %d bytes", limit, size)
		}
	}
}
