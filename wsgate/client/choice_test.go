package client

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEndpoint(t *testing.T) {
	for raw, want := range map[string]struct{ node, ping string }{
		"ws://h:8080/ws":     {"ws://h:8080/ws", "http://h:8080/ping"},
		"wss://h/":           {"wss://h/", "https://h/ping"},
		"wss://h":            {"wss://h", "https://h/ping"},
		"http://h:8080":      {"ws://h:8080/ws", "http://h:8080/ping"},
		"https://h/":         {"wss://h/ws", "https://h/ping"},
		"https://h/fps/ws?a": {"wss://h/fps/ws?a", "https://h/fps/ping"},
		"ws://[::1]:1/ws":    {"ws://[::1]:1/ws", "http://[::1]:1/ping"},
		"ws:///ws":           {},
		"ftp://h":            {},
		"h:8080":             {},
		"":                   {},
		"ws://h/%zz":         {},
	} {
		node, err := endpoint(raw)
		if node != want.node || (err == nil) != (want.node != "") {
			t.Errorf("%s: %s, %v", raw, node, err)
		}
		if err != nil {
			continue
		}
		if ping, err := pingPage(node); err != nil || ping != want.ping {
			t.Errorf("%s: %s, %v", raw, ping, err)
		}
	}
}

func TestParseBootstrap(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf(`"h%d"`, i)
	}
	for body, want := range map[string]string{
		`{"edges":["a.example.org:8080","b"]}`:                                                    "a.example.org:8080 b",
		`{"edges":[{"host":"a:1","lat":1.5,"priority":2},{"host":"b"}],"source":"x","version":3}`: "a:1 b",
		`["a","b:2"]`:                   "a b:2",
		`[{"host":"a"},"a","[::1]:80"]`: "a [::1]:80",
		`{"edges":["a/b","u@h","a?x","a#x","a b","",":80","%41", "::", "a:b:c", 7, null, {"host":1}, "ok"]}`: "ok",
		`{"edges":[]}`:     "",
		`{}`:               "",
		`[]`:               "",
		`"a"`:              "",
		`{"edges":"a"}`:    "",
		`{"edges":["a"]`:   "",
		``:                 "",
		`{"edges":["\n"]}`: "",
		`{"edges":[` + strings.Join(many, ",") + `]}`: strings.ReplaceAll(strings.Join(many[:maxNodes], " "), `"`, ""),
	} {
		hosts, err := ParseBootstrap([]byte(body))
		if strings.Join(hosts, " ") != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", body, hosts, err)
		}
	}
}

// FuzzParseBootstrap: what is found makes valid addresses, and is found again in a page that is made of it.
func FuzzParseBootstrap(f *testing.F) {
	f.Add([]byte(`{"edges":["a.example.org:8080",{"host":"b"}]}`))
	f.Add([]byte(`["a","[::1]:80"]`))
	f.Add([]byte(`["::"]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		hosts, err := ParseBootstrap(body)
		if err != nil {
			return
		}
		if len(hosts) == 0 || len(hosts) > maxNodes {
			t.Fatalf("%d hosts", len(hosts))
		}
		for _, host := range hosts {
			if node, err := endpoint("http://" + host); err != nil || node != "ws://"+host+"/ws" {
				t.Fatalf("%q: %s, %v", host, node, err)
			}
		}
		page, err := json.Marshal(map[string][]string{"edges": hosts})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseBootstrap(page); err != nil || !slices.Equal(again, hosts) {
			t.Fatalf("%q became %q, %v", hosts, again, err)
		}
	})
}

// TestDecide: each round is a line of node=milliseconds, "-" for no answer, with the node in use first; want is where to move.
func TestDecide(t *testing.T) {
	for name, rounds := range map[string][]struct{ measured, want string }{
		"nearer twice":             {{"a=50 b=5", ""}, {"a=50 b=5", "b"}},
		"nearer once":              {{"a=50 b=5", ""}, {"a=50 b=60", ""}, {"a=50 b=5", ""}},
		"not by 10 ms":             {{"a=15 b=5", ""}, {"a=15 b=5", ""}, {"a=15 b=5", ""}},
		"just by 10 ms":            {{"a=16 b=5", ""}, {"a=16 b=5", "b"}},
		"not by 20 %":              {{"a=100 b=80", ""}, {"a=100 b=80", ""}},
		"just by 20 %":             {{"a=100 b=79", ""}, {"a=100 b=79", "b"}},
		"the nearest of those":     {{"a=100 b=9 c=8", ""}, {"a=100 c=5 b=9", "c"}},
		"another one each time":    {{"a=100 b=9 c=99", ""}, {"a=100 b=99 c=9", ""}},
		"not alive twice":          {{"a=- b=90", ""}, {"a=- b=90", "b"}},
		"not alive once":           {{"a=- b=90", ""}, {"a=80 b=90", ""}},
		"not listed twice":         {{"x b=90", ""}, {"x b=90", "b"}},
		"nobody alive":             {{"a=- b=-", ""}, {"a=- b=-", ""}},
		"anew after a move":        {{"a=50 b=5", ""}, {"b=50 a=5", ""}, {"b=50 a=5", "a"}},
		"anew after a decision":    {{"a=50 b=5", ""}, {"a=50 b=5", "b"}, {"a=50 b=5", ""}, {"a=50 b=5", "b"}},
		"nothing in use, then one": {{" b=5", ""}, {"a=50 b=5", ""}, {"a=50 b=5", "b"}},
	} {
		var c choice
		for i, round := range rounds {
			current := ""
			var nodes []Node
			for j, field := range strings.Split(round.measured, " ") {
				url, rtt, measured := strings.Cut(field, "=")
				if j == 0 {
					current = url
				}
				if measured {
					n := Node{URL: url, Alive: rtt != "-"}
					_, _ = fmt.Sscan(rtt, (*int64)(&n.RTT))
					n.RTT *= time.Millisecond
					nodes = append(nodes, n)
				}
			}
			sortNodes(nodes)
			if target, found := c.decide(current, nodes); target != round.want || found != (round.want != "") {
				t.Errorf("%s: round %d: %q", name, i, target)
			}
		}
	}
}
