package wsgate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBootstrap: those on the client's network first, then by distance from this node, no more than asked for; none without an address.
func TestBootstrap(t *testing.T) {
	asked := 0
	edges := func() []Edge {
		asked++
		list := []Edge{
			{Host: "192.0.2.3:8080", Name: "far", Cost: 50},
			{Host: clientIP + ":8081", Name: "neighbour", Cost: 80},
			{Host: "192.0.2.1:8080", Name: "self"},
			{Host: "", Name: "hidden"},
			{Host: "192.0.2.2:8080", Name: "near", Region: "eu", Cost: 10},
		}
		for i := range 70 {
			list = append(list, Edge{Host: fmt.Sprintf("203.0.113.%d:1", i), Name: fmt.Sprint(i), Cost: float64(100 + i)})
		}
		return list
	}
	inWorld(t, Config{Edges: edges}, func(t *testing.T, w *world) {
		get := func(query string) (names []string) {
			status, body := w.get("/v1/bootstrap" + query)
			var answer struct {
				Edges   []Edge
				Updated time.Time `json:"updated_at"`
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 || answer.Updated.IsZero() {
				t.Fatalf("%d %q: %v", status, body, err)
			}
			for _, e := range answer.Edges {
				names = append(names, e.Name)
			}
			return names
		}
		if got, want := get(""), []string{"neighbour", "self", "near", "far", "0", "1", "2", "3"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := get("?limit=64"); len(got) != 64 || asked != 1 {
			t.Errorf("%d edges, asked %d times", len(got), asked)
		}
		time.Sleep(edgesFresh)
		get("")
		if asked != 2 {
			t.Errorf("asked %d times, want again after %v", asked, edgesFresh)
		}
		for _, bad := range []string{"0", "65", "x", "-1"} {
			if status, body := w.get("/v1/bootstrap?limit=" + bad); status != 400 || !strings.Contains(body, "limit must be 1 to 64") {
				t.Errorf("%s: %d %q", bad, status, body)
			}
		}
	})
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		if status, body := w.get("/v1/bootstrap"); status != 200 || !strings.HasPrefix(body, `{"edges":[]`) {
			t.Errorf("%d %q", status, body)
		}
	})
}

func TestSameNetwork(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"192.0.2.1:1", "192.0.2.200:2", true},
		{"192.0.2.1:1", "192.0.3.1:1", false},
		{"[::ffff:192.0.2.1]:1", "192.0.2.7:1", true},
		{"[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1", true},
		{"[2001:db8:1::1]:1", "[2001:db8:2::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::2]:1", true},
		{"example.org:1", "192.0.2.1:1", false},
		{"", "", false},
	} {
		if got := sameNetwork(test.a, test.b); got != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}
