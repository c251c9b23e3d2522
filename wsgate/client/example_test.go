package client_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// exampleNode starts a node of its own for an example.
func exampleNode() (url string, stop func()) {
	hub := wsgate.NewHub(wsgate.HubConfig{})
	server, err := wsgate.New(wsgate.Config{Hub: hub, Broker: loopback{hub}})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ctx, l)
	}()
	return "http://" + l.Addr().String(), func() { cancel(); <-done }
}

func Example() {
	node, stop := exampleNode()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, client.Config{
		URLs:      []string{node}, // and others: the nearest is used
		Reconnect: true,
		OnError:   func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	sub, err := c.Open(ctx, "", "news.#", client.Queue{Size: 1000, Policy: client.DropOldest})
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"hello", "world"} {
		if err := c.Publish(ctx, "", "news.today", []byte(text)); err != nil {
			log.Fatal(err)
		}
	}
	for range 2 {
		m, err := sub.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s, by %v\n", m.Channel, m.Payload, m.Patterns)
	}
	// Output:
	// news.today: hello, by [news.#]
	// news.today: world, by [news.#]
}

func ExampleCodec() {
	node, stop := exampleNode()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{URL: node, Reconnect: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	type position struct{ X, Y int }
	positions := client.JSON[position]()
	// Only the last position of each player matters.
	sub, err := c.Open(ctx, "game", "player.*.position", client.Queue{Policy: client.Latest})
	if err != nil {
		log.Fatal(err)
	}
	if err := positions.Publish(ctx, c, "game", "player.7.position", position{3, 4}); err != nil {
		log.Fatal(err)
	}
	for p, err := range positions.Values(ctx, sub) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p.Channel, p.Value.X, p.Value.Y)
		break
	}
	// Output: player.7.position 3 4
}
