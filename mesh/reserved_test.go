package mesh

import (
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// What links take for published by the mesh is what nobody else may publish.
func TestAsideIsReserved(t *testing.T) {
	for _, name := range []string{"", "$", "$mesh.x", "x", "x.$", "mesh"} {
		if m := (wire.Message{Channel: []byte(name)}); m.Aside() != channel.IsReserved(name) {
			t.Errorf("%q: aside %v, reserved %v", name, m.Aside(), channel.IsReserved(name))
		}
	}
}

// TestNodesSpeakForThemselves: what a node publishes on its own reserved channel comes to whoever subscribes it; on another's, or any other reserved one, it goes
// nowhere and is counted as forged.
func TestNodesSpeakForThemselves(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 5 * time.Millisecond}, func(c *cluster) {
		reader, writer := c.start(0, 1), c.start(1, 1, 0)
		c.meshed(10 * time.Second)
		own := channel.MeshPrefix + writer.ID().String()
		if writer.Wanted(channel.DefaultTenant, own) {
			t.Error("wanted before anybody subscribed")
		}
		reader.subscribed.Store(true)
		for _, text := range []string{"$mesh.#", "$other.#"} {
			p, err := channel.ParsePattern(text)
			if err != nil {
				t.Fatal(err)
			}
			reader.SetInterest(channel.DefaultTenant, p, true)
		}
		time.Sleep(time.Second)
		if !writer.Wanted(channel.DefaultTenant, own) {
			t.Error("not wanted though the other node has a subscriber")
		}
		for _, name := range []string{channel.MeshPrefix + reader.ID().String(), "$mesh.x", "$other.x", own} {
			if err := writer.Publish(t.Context(), channel.Message{Tenant: channel.DefaultTenant, Channel: name, Payload: []byte(name)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if got := reader.received(); len(got) != 1 || got[0].payload != own {
			t.Errorf("came: %v, want that of %s", got, own)
		}
		view, _ := reader.View()
		if view.Dropped["forged"] != 3 || view.Faults[writer.ID()]["forged"] != 3 {
			t.Errorf("dropped %v, faults %v", view.Dropped, view.Faults)
		}
	})
}
